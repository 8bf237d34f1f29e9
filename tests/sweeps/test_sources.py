"""The net and the data that a spec names."""

from __future__ import annotations

from pathlib import Path

import nets
import pytest

from sweeps.errors import SpecError
from sweeps.sources import (
    as_submitted,
    from_anywhere,
    import_net,
    load_data,
    make_net,
    read_by_nodes,
)
from sweeps.spec import build_config

SPEC = {
    "name": "x",
    "metric": {"name": "valid_acc", "goal": "maximize"},
    "parameters": {"lr": 0.1},
    "searcher": {"name": "grid"},
}


def test_a_net_is_an_instance_or_what_a_function_returns():
    net = nets.make_net()
    assert make_net(net, "net") is net
    assert make_net(lambda: net, "net") is net
    with pytest.raises(SpecError, match="nets:Tiny gives a Tiny; give a skorch net"):
        make_net(nets.Tiny, "nets:Tiny")


def test_a_net_is_imported_by_its_reference():
    assert type(import_net("nets:make_net", [])).__name__ == "NeuralNetClassifier"


def test_a_problem_with_the_net_names_the_reference_and_the_key():
    with pytest.raises(SpecError) as caught:
        import_net("nets:make_nett", [])
    [problem] = caught.value.problems
    assert (problem.where, problem.message[:15]) == ("net", "nets:make_nett:")
    assert "make_net" in problem.message[15:]


def raising(error):
    raise error


@pytest.mark.parametrize("error", [KeyError("x"), SystemExit("no GPU")])
def test_a_net_function_that_raises_is_a_problem_with_its_line(error):
    with pytest.raises(SpecError) as caught:
        make_net(lambda: raising(error), "nets:broken")
    [problem] = caught.value.problems
    line = raising.__code__.co_firstlineno + 1
    assert (problem.where, problem.message) == (
        "net", f"nets:broken() raised {type(error).__name__}: {error} ({__file__}:{line})",
    )  # fmt: skip


def test_data_that_raise_are_a_problem_of_the_spec():
    data = {"type": "python", "object": f"{__name__}:broken_data"}
    with pytest.raises(SpecError, match=rf"raised KeyError: 'rows' \({__file__}:") as caught:
        load_data(build_config({**SPEC, "data": data}), Path())
    assert [problem.where for problem in caught.value.problems] == ["data"]


def broken_data():
    return {}["rows"]


def test_data_are_loaded_with_their_options_and_a_missing_file_is_a_problem_of_the_spec(tmp_path):
    data = {"type": "sklearn", "name": "make_classification", "options": {"n_samples": 30}}
    X, y = load_data(build_config({**SPEC, "data": data}), tmp_path)
    assert len(X) == len(y) == 30
    with pytest.raises(SpecError, match=r"rows\.npz"):
        load_data(build_config({**SPEC, "data": {"type": "npz", "path": "rows.npz"}}), tmp_path)


@pytest.mark.parametrize(
    ("path", "expected"),
    [("rows.npz", "/there/rows.npz"), ("/abs/rows.npz", "/abs/rows.npz"), ("s3://bucket/rows", "s3://bucket/rows")],
)
def test_a_relative_path_of_the_data_is_made_absolute_for_the_results(path, expected):
    config = build_config({**SPEC, "data": {"type": "parquet", "path": path, "target": "y"}})
    assert from_anywhere(config, Path("/there")).data.path == expected


def test_a_spec_without_a_path_stays_as_it_is():
    config = build_config(SPEC)
    assert from_anywhere(config, Path("/there")) is config


PARQUET = {"type": "parquet", "target": "y"}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("rows.parquet", "/here/rows.parquet"),
        ("/data/rows.parquet", "/data/rows.parquet"),
        ("s3://bucket/rows", "s3://bucket/rows"),
        ("~/rows", "/home/ada/rows"),
    ],
)
def test_files_are_named_alike_for_all_machines(path, found, monkeypatch):
    monkeypatch.setenv("HOME", "/home/ada")
    config = build_config({**SPEC, "data": {**PARQUET, "path": path}})
    assert read_by_nodes(config, Path("/here")) == {**PARQUET, "path": found}
    assert from_anywhere(config, Path("/here")).data.path == found


@pytest.mark.parametrize("data", [None, {"type": "sklearn", "name": "iris"}, {"type": "npz", "path": "rows.npz"}])
def test_other_data_are_sent_by_the_driver(data):
    config = build_config({**SPEC, **({"data": data} if data else {})})
    assert read_by_nodes(config, Path("/here")) is None


def test_what_a_job_was_submitted_with_is_found_where_a_later_job_has_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert as_submitted(Path("/tmp/ray/working_dir_files/_ray_pkg_1f/examples/digits")) == tmp_path / "examples/digits"
    assert as_submitted(Path("/mnt/project/examples")) == Path("/mnt/project/examples")
    config = build_config({**SPEC, "data": {**PARQUET, "path": "/tmp/ray/_ray_pkg_1f/rows.parquet"}})
    assert read_by_nodes(config, Path("/here"))["path"] == str(tmp_path / "rows.parquet")
