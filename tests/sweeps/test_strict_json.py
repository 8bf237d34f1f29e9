"""JSON that every other program reads."""

from __future__ import annotations

import json
import math
from datetime import UTC, date, datetime
from pathlib import PurePosixPath

from sweeps.strict_json import as_json


def test_what_json_does_not_know_is_null_at_any_depth():
    value = {"a": math.nan, "b": [math.inf, (1.5, -math.inf)], "c": {"d": math.nan}}
    assert json.loads(as_json(value), parse_constant=lambda text: 1 / 0) == {
        "a": None,
        "b": [None, [1.5, None]],
        "c": {"d": None},
    }


def test_times_are_iso_8601_and_other_objects_their_text():
    value = {"t": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), "d": date(2026, 1, 2), "p": PurePosixPath("/a")}
    assert json.loads(as_json(value)) == {"t": "2026-01-02T03:04:05+00:00", "d": "2026-01-02", "p": "/a"}


def test_text_stays_readable():
    assert as_json({"name": "größer"}) == '{\n "name": "größer"\n}\n'
