"""A sweep.yaml becomes a config or a list of everything that is wrong with it, line by line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweeps.config import SearcherConfig
from sweeps.errors import SpecError
from sweeps.spec import MAX_FILE_BYTES, build_config, dump_spec, load_spec

ROOT = str(Path(__file__).parents[2])
SPEC = """\
version: 1
name: digits-mlp
net: examples.digits.model:make_net
data: {type: sklearn, name: digits}
metric: {name: valid_acc, goal: maximize}
validation: {type: holdout, size: 0.2, stratified: true}
parameters:
  lr: {distribution: loguniform, min: 1e-4, max: 1e-1}
  batch_size: [32, 64, 128]
  module__layers: {distribution: int_uniform, min: 1, max: 4}
  module__nodes: {distribution: int_loguniform, min: 16, max: 256}
  optimizer: ["torch.optim:SGD", "torch.optim:Adam"]
  optimizer__momentum: {min: 0.0, max: 0.95, when: {optimizer: "torch.optim:SGD"}}
  max_epochs: 27
searcher: {name: hyperopt, num_samples: 64, seed: 0}
scheduler: {name: asha, grace_period: 1, reduction_factor: 3}
stop: {time_budget: 2h, metric_target: 0.99}
resources: {cpu: 1, gpu: 0.25, max_concurrent_trials: 8}
failure: {max_failures: 3}
checkpoint: {every_s: 30, keep: {sweep_best: 3, trial_best: 1, trial_latest: 1}}
storage: ./results
"""


@pytest.fixture
def write(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def write(text):
        (tmp_path / "sweep.yaml").write_text(text, encoding="utf-8")
        return "sweep.yaml"

    return write


def problems_of(path, *overrides):
    with pytest.raises(SpecError) as caught:
        load_spec(path, overrides)
    assert str(caught.value) == "\n".join(map(str, caught.value.problems))
    return [str(problem) for problem in caught.value.problems]


def base(**changes):
    values = {
        "name": "digits",
        "metric": {"name": "valid_loss", "goal": "minimize"},
        "parameters": {"lr": [0.1, 0.2]},
        "searcher": {"name": "random", "num_samples": 4},
    }
    return values | changes


def test_the_documented_spec_is_read_as_it_is_documented(write):
    config = load_spec(write(SPEC))
    assert config.name == "digits-mlp"
    assert config.parameters["lr"] == {"distribution": "loguniform", "min": 1e-4, "max": 0.1}
    assert config.stop.time_budget_s == 7200
    assert (config.resources.gpu, config.searcher.num_samples, config.scheduler.reduction_factor) == (0.25, 64, 3)


def test_every_problem_is_told_with_its_line(write):
    text = (
        SPEC.replace("num_samples: 64", "num_samplez: 64")
        .replace("max: 256", "maxx: 256")
        .replace("goal: maximize", "goal: maximise")
        .replace("type: sklearn", "type: npz")
        .replace("storage:", "storrage:")
    )
    found = problems_of(write(text))
    assert "sweep.yaml:15: searcher.num_samplez: unknown key; did you mean num_samples?" in found
    assert "sweep.yaml:5: metric.goal: 'maximise' is not known; did you mean maximize?" in found
    assert "sweep.yaml:21: storrage: unknown key; did you mean storage?" in found
    assert "sweep.yaml:4: data.path: required, but not given" in found
    assert any(line.startswith("sweep.yaml:11: parameters.module__nodes: ") and "maxx" in line for line in found)
    assert found == sorted(found, key=lambda line: int(line.split(":")[1]))


def test_problems_of_nested_parameters_are_found_in_their_lines(write):
    nested = "  module:\n    layers: [1, 2]\n    nodes: {min: 4, maximum: 8}\n"
    lines = [line for line in SPEC.splitlines(keepends=True) if "module__" not in line]
    found = problems_of(write("".join(lines[:9]) + nested + "".join(lines[9:])))
    assert found
    assert all(line.startswith("sweep.yaml:12: parameters.module__nodes: ") for line in found)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "sweep.yaml: name: required, but not given"),
        ("- a\n", "sweep.yaml:1: must be a mapping; given ['a']"),
        (SPEC + "name: again\n", "sweep.yaml:22: name: given twice, first in line 2; keep one"),
        (SPEC.replace("name: digits-mlp", "name: !!str digits"), "sweep.yaml:2: tags (!...) are not read here"),
        (SPEC.replace("27", "!!python/name:os.system x"), "sweep.yaml:14: tags (!...) are not read here"),
        ("%YAML 1.1\n---\n" + SPEC, "sweep.yaml:1: directives (%...) are not read here"),
        (SPEC.replace("[32, 64, 128]", "[32, 64"), "sweep.yaml:1"),
        (SPEC + "a: *unknown\n", "sweep.yaml:22: not YAML: found undefined alias 'unknown'"),
        (SPEC + "---\nb: 2\n", "sweep.yaml:22: not YAML: but found another document"),
        ("a: " + "[" * 5000, "sweep.yaml: nested too deeply"),
        ("a: &a [*a]\n", "sweep.yaml: nested too deeply, or an alias that contains itself"),
        ("a: \x00\n", "sweep.yaml: not YAML"),
    ],
)
def test_a_text_that_is_no_sweep_yaml_is_an_error_with_a_line(write, text, problem):
    assert problems_of(write(text))[0].startswith(problem)


def test_aliases_of_aliases_do_not_explode(write):
    levels = "".join(f"l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 9)}]\n" for i in range(1, 12))
    assert "values, counting aliases" in problems_of(write("l0: &l0 [a, a]\n" + levels))[0]


def test_files_that_cannot_be_read_say_why(write, tmp_path):
    assert problems_of("missing.yaml") == [
        "missing.yaml: no such file; give the path of a sweep.yaml (`sweeps init` writes one to begin with)"
    ]
    assert "cannot be read" in problems_of(tmp_path)[0]
    assert "larger than" in problems_of(write("#" * (MAX_FILE_BYTES + 1)))[0]
    (tmp_path / "latin.yaml").write_bytes(b"name: \xe9\n")
    assert problems_of("latin.yaml") == ["latin.yaml: not UTF-8 text (byte 6)"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("1E5", 1e5),
        (".5", 0.5),
        ("012", 12),
        ("0x1f", 31),
        ("no", "no"),
        ("on", "on"),
        ("2024-01-01", "2024-01-01"),
        ("1:30", "1:30"),
        ("'1e-4'", "1e-4"),
        ("null", None),
        ("true", True),
    ],
)
def test_scalars_are_those_of_yaml_1_2(write, text, value):
    read = load_spec(write(SPEC), [f"parameters.max_epochs={text}"]).parameters["max_epochs"]
    assert (read, type(read)) == (value, type(value))


def test_overrides_are_yaml_and_later_ones_win(write):
    overrides = [
        "searcher.num_samples=9",
        "searcher.num_samples=8",
        "scheduler={name: fifo}",
        "parameters.lr={min: 1e-4, max: 1e-2, distribution: loguniform}",
        'name="2024"',
        "checkpoint.every_s=7",
        "report_every_s=0",
    ]
    config = load_spec(write(SPEC), overrides)
    assert (config.searcher.num_samples, config.scheduler.name, config.name) == (8, "fifo", "2024")
    assert config.parameters["lr"]["max"] == 0.01
    assert (config.checkpoint.every_s, config.report_every_s) == (7, 0)


def test_an_override_reaches_into_a_section_that_the_file_leaves_out_or_empty(write):
    text = SPEC.replace("stop: {time_budget: 2h, metric_target: 0.99}", "stop:").replace("failure:", "# failure:")
    config = load_spec(write(text), ["stop.metric_target=1", "failure.max_failures=0"])
    assert (config.stop.metric_target, config.failure.max_failures) == (1, 0)


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("searcher.num_samplez=8", "--set searcher.num_samplez: unknown key; did you mean num_samples?"),
        ("searcher.num_samples=many", "--set searcher.num_samples: must be a whole number; given 'many'"),
        ("searcher={name: random}", "--set searcher.num_samples: required by random"),
        ("parameters.lr={min: 1}", "--set parameters.lr: max is missing"),
        ("parameters.module={depth: {min: 1}}", "--set parameters.module__depth: max is missing"),
        ("searcher.num_samples", "--set searcher.num_samples: not of the form key=value"),
        (".a=1", "--set .a=1: not of the form key=value"),
        ("name.first=1", "--set name.first: cannot be set"),
        ("storage=[", "--set storage: not YAML"),
        ("storage=!x y", "--set storage: tags (!...) are not read here"),
    ],
)
def test_a_wrong_override_is_named_as_the_override(write, override, problem):
    assert problems_of(write(SPEC), override)[0].startswith(problem)


def test_a_wrong_override_does_not_hide_what_is_wrong_in_the_file(write):
    found = problems_of(write(SPEC.replace("failure:", "failures:")), "seeed=1")
    assert found == [
        "--set seeed: unknown key; did you mean seed?",
        "sweep.yaml:19: failures: unknown key; did you mean failure?",
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"searcher": {"name": "grid"}, "scheduler": {"name": "pbt", "quantile_fraction": 0.5}},
        {"searcher": {"name": "hyperopt", "num_samples": 3, "n_startup": 2}, "scheduler": {"name": "median"}},
        {"parameters": {"a": None, "b": [None, True, 1e-5, "1e-5", "no", "2024-01-01", ""], "c": {"min": 1, "max": 3}}},
        {"data": {"type": "parquet", "path": "s3://b/x", "target": "y", "columns": ["a", "b"]}},
        {"data": {"type": "sklearn", "name": "digits", "options": {"n_class": None}}, "scoring": ["f1_macro"]},
        {"validation": {"type": "python", "splitter": "a.b:c"}, "stop": {"time_budget": "1h30m"}},
        {"resources": {"gpu": 0.5, "rules": [{"when": {"lr": 0.1}, "gpu": 1}]}, "net": "my.net:make"},
    ],
)
def test_a_dumped_config_is_read_back_equal(write, changes):
    config = build_config(base(**changes))
    text = dump_spec(config)
    assert load_spec(write(text)) == config
    assert dump_spec(load_spec("sweep.yaml")) == text


scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()


@settings(deadline=None)  # the first call compiles
@given(values=st.lists(scalars, min_size=1, unique_by=repr), storage=st.text(min_size=1))
def test_any_value_survives_the_round_trip(tmp_path_factory, values, storage):
    config = build_config(base(storage=storage)).model_copy(update={"parameters": {"x": {"value": values}}})
    path = tmp_path_factory.mktemp("spec") / "sweep.yaml"
    path.write_text(dump_spec(config), encoding="utf-8")
    assert load_spec(path) == config


def test_domains_from_python_are_written_as_mappings(write):
    from scipy.stats import loguniform

    config = build_config(base(parameters={"lr": loguniform(1e-4, 1e-1), "optimizer": [int, float]}))
    parameters = load_spec(write(dump_spec(config))).parameters
    assert parameters["lr"] == {"distribution": "loguniform", "min": 1e-4, "max": 0.1}
    assert parameters["optimizer"] == ["builtins:int", "builtins:float"]


def test_an_object_that_yaml_cannot_hold_is_refused():
    config = build_config(base(data={"type": "sklearn", "name": "digits", "options": {"seed": object()}}))
    with pytest.raises(SpecError, match="data: holds what YAML cannot"):
        dump_spec(config)


def test_python_may_pass_parts_of_a_config():
    config = build_config(base(searcher=SearcherConfig(name="grid")))
    assert config.searcher.name == "grid"
    with pytest.raises(SpecError, match=r"parameters\.lr"):
        build_config(base(searcher=SearcherConfig(name="grid"), parameters={"lr": {"min": 0.1, "max": 0.2}}))


def test_reading_a_spec_imports_no_heavy_library(write):
    write(SPEC)
    code = (
        "import sys, time, sweeps.spec; sweeps.spec.load_spec('sweep.yaml');"
        "heavy = {'torch', 'ray', 'sklearn', 'pandas', 'skorch', 'scipy', 'hyperopt', 'pyarrow'} & set(sys.modules);"
        "sys.exit(f'{heavy} {time.process_time()}' if heavy or time.process_time() > 1.5 else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": ROOT}, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
