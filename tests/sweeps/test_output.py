"""Answers in each form."""

from __future__ import annotations

import csv
import io
import json

import pytest
from ruamel.yaml import YAML

from sweeps.output import Answer, Format, as_text, brief, columns, duration, fields, size_text, write

VALUE = {"score": float("nan"), "params": {"lr": 0.1, "layers": [1, 2]}}
ANSWER = Answer(VALUE, [VALUE, {"other": "x,y"}], [fields(VALUE)])


def test_json_has_null_for_what_is_not_a_number():
    assert json.loads(write(ANSWER, Format.JSON, 80), parse_constant=pytest.fail) == {
        "score": None,
        "params": {"lr": 0.1, "layers": [1, 2]},
    }


def test_yaml_says_the_same_as_json():
    plain = YAML(typ="safe").load(write(ANSWER, Format.YAML, 80))
    assert plain == json.loads(write(ANSWER, Format.JSON, 80))


def test_csv_has_a_column_for_every_name_and_dots_for_what_lies_within():
    rows = list(csv.DictReader(io.StringIO(write(ANSWER, Format.CSV, 80))))
    assert rows[0] == {"score": "", "params.lr": "0.1", "params.layers": "[1, 2]", "other": ""}
    assert rows[1]["other"] == "x,y"


def test_a_table_keeps_what_looks_like_markup():
    assert "[red]x[/red]" in as_text([columns([{"a": "[red]x[/red]"}]), fields({"b": "[red]x[/red]"})], 80)


def test_a_narrow_table_folds_and_loses_nothing():
    text = as_text([columns([{"trial": 1, "params": "abcdefghij" * 5}])], 30)
    assert text.count("j") == 5
    assert max(map(len, text.splitlines())) <= 30


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (0.0123456, "0.01235"),
        (1e-12, "1e-12"),
        (2968123.4, "2968123"),
        (float("nan"), "nan"),
        (True, "True"),
        ({"lr": 0.1, "n": [1, 2]}, "lr=0.1 n=1, 2"),
    ],
)
def test_brief(value, text):
    assert brief(value) == text


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (61.9, "1:01"), (3725, "1:02:05"), (200_000, "2 d 7 h")])
def test_duration(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (2_345_678, "2.3 MB"), (5e9, "5.0 GB"), (2e15, "2000.0 TB")],
)
def test_sizes_are_written_for_people(size, text):
    assert size_text(size) == text
