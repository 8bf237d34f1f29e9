"""A sweep's directory is data: whatever lies in it, reading it and going on with it execute nothing of it."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from sweeps import Sweep
from sweeps.storage import SweepPaths

pytestmark = pytest.mark.faults

SPEC = """
version: 1
name: trapped
net: fault_nets:make_net
data: {type: python, object: "fault_nets:make_data"}
metric: {name: valid_loss, goal: minimize}
parameters:
  lr: {distribution: loguniform, min: 0.01, max: 1.0}
searcher: {name: random, num_samples: 3, seed: 3}
scheduler: {name: fifo}
report_every_s: 0
checkpoint: {every_s: 0, min_free_gb: 0}
"""


class Bomb:
    """Leaves a file where it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.canary}",)


def plain(path: Path, canary: Path) -> None:
    path.write_bytes(pickle.dumps(Bomb(canary)))


def old_torch(path: Path, canary: Path) -> None:
    torch.save({"weights": Bomb(canary)}, path, _use_new_zipfile_serialization=False)


def zipped(path: Path, canary: Path) -> None:
    torch.save({"weights": Bomb(canary)}, path)


def replace_all(pattern: str, write: Callable[[Path, Path], None]) -> Callable[[Path, Path], None]:
    """A trap: every such file is another one, and manifests say that it is right."""

    def trap(root: Path, canary: Path) -> None:
        found = [path for path in root.rglob(pattern) if path.is_file()]
        assert found, pattern
        for path in found:
            path.unlink()  # as it may be linked to another
            write(path, canary)
            agree(path)

    return trap


def agree(path: Path) -> None:
    """Lets the manifest of a checkpoint agree with what lies there."""
    manifest = path.with_name("manifest.json")
    if path == manifest or not path.parent.name.startswith(("checkpoint-", "best")) or not manifest.exists():
        return
    content = path.read_bytes()
    said = json.loads(manifest.read_text())
    said["files"][path.name] = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    manifest.write_text(json.dumps(said))


def add_leftovers(root: Path, canary: Path) -> None:
    """What Ray Tune would have left, and modules where somebody might look for some."""
    attempt = SweepPaths(root).ray(1)
    names = ["tuner.pkl", "trainable.pkl", "searcher-state-2026-01-01_00-00-00.pkl", "search_gen_state-2026.json"]
    names += ["experiment_state-2026-01-01_00-00-00.json", "trial_0/params.pkl", "trial_0/error.pkl"]
    for folder in (attempt, root, root / "trials" / "trial_00000"):
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            plain(folder / name, canary)
    for name in ("conftest", "sitecustomize", "usercustomize", "fault_nets", "nets", "numpy", "torch", "sweeps"):
        for folder in (root, root / "best", root / "trials"):
            (folder / f"{name}.py").write_text(f"import os\nos.system('touch {canary}')\n")


def poison_spec(root: Path, canary: Path) -> None:
    with (root / "sweep.yaml").open("a") as file:
        file.write(f"seed: !!python/object/apply:os.system ['touch {canary}']\n")


def poison_params(root: Path, canary: Path) -> None:
    (root / "best" / "params.yaml").write_text(f"lr: !!python/object/apply:os.system ['touch {canary}']\n")


def poison_tables(root: Path, canary: Path) -> None:
    bomb = pickle.dumps(Bomb(canary))
    extension = {"ARROW:extension:name": "arrow.py_extension_type", "ARROW:extension:metadata": bomb}
    schema = pa.schema([pa.field("trial", pa.int64(), metadata=extension)], metadata={"pandas": bomb})
    for name in ("trials.parquet", "metrics.parquet"):
        pq.write_table(pa.table({"trial": [0]}, schema=schema), root / name)


def poison_journal(root: Path, canary: Path) -> None:
    with (root / "journal" / "events.jsonl").open("ab") as file:
        file.write(pickle.dumps(Bomb(canary)) + b"\n")


TRAPS: dict[str, Callable[[Path, Path], None]] = {
    "nothing": lambda root, canary: None,
    "leftovers": add_leftovers,
    "state as a pickle": replace_all("state.pt", plain),
    "state as an old torch file": replace_all("state.pt", old_torch),
    "state as a torch file": replace_all("state.pt", zipped),
    "weights as a pickle": replace_all("*.safetensors", plain),
    "weights as a torch file": replace_all("*.safetensors", zipped),
    "logs": replace_all("log.json", plain),
    "manifests": replace_all("manifest.json", plain),
    "mark": replace_all("acknowledged.json", plain),
    "journal": poison_journal,
    "holder": lambda root, canary: plain(root / "lock.json", canary),
    "request to stop": lambda root, canary: plain(root / "stop.json", canary),
    "spec": poison_spec,
    "params": poison_params,
    "tables": poison_tables,
}
ERRORS = ("SpecError", "SweepStateError", "SweepNotFoundError", "NoTrialSucceededError", "InfeasibleError")
# What these come to where nothing is wrong with what they need.
FINE = {"ls", "show", "show trial", "best", "trials", "metrics", "export csv", "export parquet", "export json"}


@pytest.fixture(scope="module")
def audited(tmp_path_factory) -> dict[str, Any]:
    """What all verbs came to on all trapped copies of a finished and of an interrupted sweep."""
    folder = tmp_path_factory.mktemp("trapped")
    spec = folder / "spec" / "sweep.yaml"
    spec.parent.mkdir()
    spec.write_text(SPEC)
    canary, roots = folder / "canary", []
    for kind, stop in (("finished", {}), ("interrupted", {"stop.metric_target": 100.0})):
        overrides = [f"{key}={value}" for key, value in {"storage": json.dumps(str(folder / kind)), **stop}.items()]
        original = Sweep.from_yaml(spec, overrides).run(backend="inline", progress=False).paths.root
        for name, trap in TRAPS.items():
            root = folder / f"{kind} {name}" / "trapped"
            shutil.copytree(original, root)
            trap(root, canary)
            roots.append(root)
    answer, exports = folder / "answer.json", folder / "exports"
    command = [sys.executable, Path(__file__).with_name("audited.py"), answer, exports, *roots]
    subprocess.run([*map(str, command)], check=True, timeout=300, cwd=folder, capture_output=True)
    return {**json.loads(answer.read_text()), "canary": canary}


def test_nothing_that_is_stored_in_a_sweep_is_executed_by_whatever_is_done_with_it(audited):
    assert not audited["canary"].exists()
    assert audited["events"] == []
    print(f"{len(audited['outcomes'])} uses of {2 * len(TRAPS)} trapped sweeps: 0 pickles loaded, 0 lines executed")


def test_what_lies_beside_the_data_or_in_the_place_of_what_no_reader_needs_disturbs_nobody(audited):
    for name in ("nothing", "leftovers", "state as a pickle", "tables", "params", "holder", "request to stop", "mark"):
        for kind in ("finished", "interrupted"):
            found = {verb: audited["outcomes"][f"{kind} {name}: {verb}"] for verb in FINE}
            assert set(found.values()) == {"0"}, (name, found)
    for verb in ("gc", "export model", "best net", "resume"):
        assert audited["outcomes"][f"finished leftovers: {verb}"] == "0"
        assert audited["outcomes"][f"interrupted leftovers: {verb}"] == "0"


def test_what_is_no_data_is_refused_with_an_error_that_says_so(audited):
    outcomes = audited["outcomes"]
    texts = {verb: said for verb, said in outcomes.items() if said not in "012345"}
    assert {verb: said for verb, said in texts.items() if not said.startswith(ERRORS)} == {}
    assert "safetensors: cannot be loaded" in outcomes["finished weights as a pickle: best net"]
    assert "events.jsonl" in outcomes["interrupted journal: resume"]
    assert "sweep.yaml" in outcomes["interrupted spec: resume"]


def test_a_trap_works_when_it_is_loaded(tmp_path):
    plain(tmp_path / "trap", tmp_path / "canary")
    pickle.loads((tmp_path / "trap").read_bytes())
    assert (tmp_path / "canary").exists()
