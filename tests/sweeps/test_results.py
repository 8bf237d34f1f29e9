"""What a sweep found, read back: without torch, without Ray, and without executing anything that lies there."""

from __future__ import annotations

import json
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import nets
import numpy as np
import pandas as pd
import pytest
import torch
from inline_sweeps import plan_of, run_inline

from sweeps.errors import NoTrialSucceededError, SpecError, SweepNotFoundError, SweepStateError
from sweeps.results import SweepResult
from sweeps.storage import SweepPaths
from trainables.data import TrialData

PARAMETERS = {"lr": [0.01, 0.3], "module__nodes": [4, 16], "max_epochs": 3, "optimizer": ["torch.optim:SGD"]}

READ = """
import json, sys
from sweeps.results import SweepResult
result = SweepResult.load(sys.argv[1])
found = [result.best_params, result.best_score, result.best_epoch, len(result.trials), len(result.metrics)]
print(json.dumps([found, sorted({"torch", "ray", "skorch", "sklearn", "hyperopt"} & set(sys.modules))]))
"""

# Nothing is unpickled and no program started, and in the sweep's folder only data is opened.
WATCH = """
import sys
from pathlib import Path
from sweeps.results import SweepResult
root, target = Path(sys.argv[1]), Path(sys.argv[2])
sys.path.remove("")
def hook(event, args):
    if event in ("pickle.find_class", "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn"):
        found.append(event)
    if event == "open" and str(args[0]).startswith(str(root)) and not str(args[0]).endswith((".json", ".jsonl")):
        found.append(str(args[0]))
found = []
sys.addaudithook(hook)
result = SweepResult.load(root)
result.best_params, result.best_score, result.trials, result.metrics
for ending in ("csv", "json", "parquet"):
    result.export(target / f"trials.{ending}")
sys.exit(str(found) if found else 0)
"""


class Trap:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return (open, (str(self.mark), "w"))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Paths and state of a sweep of four trials."""
    plan = plan_of(PARAMETERS, searcher={"name": "grid"})
    return run_inline(plan, tmp_path_factory.mktemp("results"), "nets:make_net", [Path(nets.__file__).parent])


@pytest.fixture
def copied(made, tmp_path) -> SweepPaths:
    """The same sweep for tests that change it."""
    shutil.copytree(made[0].root, tmp_path / "results" / "inline")
    return SweepPaths(tmp_path / "results" / "inline")


def python(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_score_epoch_params_and_net_belong_together(made):
    paths, state = made
    result = SweepResult.load(paths.root)
    best = max(state.trials.values(), key=lambda record: record.best_value)
    assert result.best_params == best.params
    assert (result.best_score, result.best_epoch) == (best.best_value, best.best_epoch)
    split = TrialData.make(*nets.make_data(), target="classifier").splits[0]
    X, y = nets.make_data()
    assert (result.best_net.predict(X[split.valid]) == y[split.valid]).mean() == pytest.approx(result.best_score)
    assert result.best_net is result.best_net


def test_another_process_reads_it_without_torch_ray_skorch_or_sklearn(made):
    paths, state = made
    done = python(READ, paths.root)
    assert done.returncode == 0, done.stderr
    found, loaded = json.loads(done.stdout)
    assert found == [state.best.best_params, state.best.best_value, state.best.best_epoch, 4, 12]
    assert loaded == []


def test_it_is_loaded_by_uri_and_by_name(made):
    paths, _ = made
    for found in (SweepResult.load(paths.root.as_uri()), SweepResult.load("inline", storage=paths.root.parent)):
        assert found.manifest["name"] == "inline"
    with pytest.raises(SweepNotFoundError):
        SweepResult.load("outline", storage=paths.root.parent)


def test_nothing_that_lies_in_a_sweep_is_executed(copied, tmp_path):
    mark = tmp_path / "sprung"
    trap = pickle.dumps(Trap(mark))
    places = [
        "ray/attempt-01/tuner.pkl",
        "ray/attempt-01/trainable.pkl",
        "trials/trial_00000/checkpoint-000003/state.pt",
    ]
    places += ["best/model.pkl", "nets.py", "sitecustomize.py", "journal/state.pkl"]
    for place in places:
        (copied.root / place).parent.mkdir(parents=True, exist_ok=True)
        text = f"open({str(mark)!r}, 'w')".encode()
        (copied.root / place).write_bytes(text if place.endswith(".py") else trap)
    done = python(WATCH, copied.root, tmp_path)
    assert done.returncode == 0, done.stderr
    assert SweepResult.load(copied.root).best_net.initialized_
    assert not mark.exists()
    with open(copied.root / "best/model.pkl", "rb") as file:
        pickle.load(file).close()
    assert mark.exists()  # the trap works


def test_tables_are_data_frames_with_a_row_a_trial_and_a_row_an_epoch(made):
    result = SweepResult.load(made[0].root)
    assert list(result.trials["trial"]) == [0, 1, 2, 3]
    assert set(result.trials["status"]) == {"COMPLETED"}
    assert result.trials["score"].max() == result.best_score
    assert result.metrics.groupby("trial")["epoch"].apply(list).tolist() == [[1, 2, 3]] * 4


@pytest.mark.parametrize("what", ["trials", "metrics"])
@pytest.mark.parametrize(
    ("ending", "read"), [("csv", pd.read_csv), ("parquet", pd.read_parquet), ("json", pd.read_json)]
)
def test_tables_are_exported_for_other_programs(made, tmp_path, what, ending, read):
    result = SweepResult.load(made[0].root)
    target = result.export(tmp_path / f"table.{ending}", what=what)
    found, expected = read(target), getattr(result, what)
    assert list(found.columns) == list(expected.columns)
    name = "score" if what == "trials" else "valid_acc"
    assert np.allclose(found[name], expected[name])


@pytest.mark.parametrize(("name", "what"), [("table.xlsx", "trials"), ("table", "trials"), ("table.csv", "curves")])
def test_another_table_or_ending_is_refused_with_what_there_is(made, tmp_path, name, what):
    with pytest.raises(ValueError, match=r"trials, metrics; the file ends in \.csv, \.parquet or \.json"):
        SweepResult.load(made[0].root).export(tmp_path / name, what=what)
    assert list(tmp_path.iterdir()) == []


def test_lists_among_the_params_can_be_exported_everywhere(record_sweep, tmp_path):
    trials = [
        {"type": "trial", "trial": n, "params": {"p": value}} for n, value in enumerate([[8, 8], "a", {"k": None}])
    ]
    result = SweepResult(record_sweep(events=[{"type": "attempt", "attempt": 1}, *trials]))
    for ending in ("csv", "parquet", "json"):
        assert result.export(tmp_path / f"t.{ending}").stat().st_size > 0
    assert pd.read_csv(tmp_path / "t.csv")["params.p"].tolist() == ["[8, 8]", "a", '{"k": null}']


def test_a_sweep_without_a_score_says_why(record_sweep):
    events = [{"type": "attempt", "attempt": 1}]
    with pytest.raises(NoTrialSucceededError, match="none of 0 trials"):
        _ = SweepResult(record_sweep("empty", events=events)).best_score
    for trial, error in enumerate(["ValueError: b\ntrace", "OutOfMemoryError: a", "ValueError: b"]):
        events.append({"type": "trial", "trial": trial, "params": {}})
        events.append({"type": "end", "trial": trial, "status": "FAILED", "cause": "user", "error": error})
    result = SweepResult(record_sweep("failed", events=events))
    for name in ("best_params", "best_score", "best_epoch", "best_net"):
        with pytest.raises(NoTrialSucceededError, match=r"none of 3 .*: OutOfMemoryError: a; ValueError: b$"):
            getattr(result, name)


def test_the_net_can_be_given(copied):
    manifest = json.loads(copied.manifest.read_text())
    copied.manifest.write_text(json.dumps({**manifest, "net": None}))
    with pytest.raises(SpecError, match="net=net"):
        _ = SweepResult.load(copied.root).best_net
    net = nets.make_net()
    best = SweepResult.load(copied.root, net=net).best_net
    assert best.module_.layers[0].out_features == SweepResult.load(copied.root).best_params["module__nodes"]
    assert not net.initialized_


@pytest.mark.parametrize("damage", ["missing", "cut", "another net's"])
def test_weights_that_are_missing_or_damaged_are_an_error(copied, damage):
    weights = copied.best / "model.safetensors"
    if damage == "missing":
        weights.unlink()
    elif damage == "cut":
        weights.write_bytes(weights.read_bytes()[:100])
    else:
        from safetensors.torch import save_file

        save_file({"layers.0.weight": torch.zeros(1)}, weights)
    with pytest.raises(SweepStateError, match=r"model\.safetensors: "):
        _ = SweepResult.load(copied.root).best_net


def test_a_damaged_journal_is_an_error_and_no_shorter_sweep(copied):
    file = copied.journal / "events.jsonl"
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join([*lines[:3], *lines[4:]]))
    with pytest.raises(SweepStateError, match=r"events\.jsonl:4"):
        SweepResult.load(copied.root)
