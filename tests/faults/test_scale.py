"""What ten thousand trials cost the driver: seconds until their journal is read, and memory for what it says.

By default a part of them, on the same budgets; all of them with SWEEPS_FAULTS=full.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sweeps.journal import Event, Journal, create

pytestmark = pytest.mark.faults

N_TRIALS = 10_000 if os.environ.get("SWEEPS_FAULTS") == "full" else 1_000
N_REPORTS = 30
MOST_S = 10 * N_TRIALS / 10_000
MOST_BYTES_A_TRIAL = 20_000

# Alone in its process, so that what is measured is the state and nothing else. CPU seconds: a busy machine is no fault.
REPLAY = """
import gc, json, re, sys, time
from pathlib import Path
from sweeps import journal
from sweeps.progress import snapshot
from sweeps.records import SweepState
from trainables.objective import Objective

def memory():
    gc.collect()
    return 1024 * int(re.search(r"VmRSS:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])

def seconds(action):
    began = time.process_time()
    return action(), time.process_time() - began

before = memory()
replay = lambda: SweepState.replay(Objective("valid_acc", maximize=True), journal.read(Path(sys.argv[1])))
state, replay_s = seconds(replay)
grown = memory() - before
_, snapshot_s = seconds(lambda: snapshot(state, len(state.trials), [1, 3, 9, 27], 1.0))
found = {"trials": len(state.trials), "epochs": state.epochs, "best": state.best.best_value}
print(json.dumps({**found, "replay_s": replay_s, "bytes": grown / len(state.trials), "snapshot_s": snapshot_s}))
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> dict[str, Any]:
    """What a fresh process found in the journal of a long sweep, and what was put in."""
    folder = tmp_path_factory.mktemp("scale") / "journal"
    best = write_journal(folder)
    size = sum(path.stat().st_size for path in folder.iterdir())
    run = subprocess.run([sys.executable, "-c", REPLAY, str(folder)], capture_output=True, text=True, check=True)
    measured = json.loads(run.stdout) | {"written_best": best}
    print(f"\n{N_TRIALS} trials of {N_REPORTS} reports, {size / 1e6:.0f} MB: {measured}")
    return measured


def test_a_long_journal_is_read_in_seconds(found):
    assert found["trials"] == N_TRIALS
    assert found["epochs"] == N_TRIALS * (N_REPORTS + N_REPORTS // 5)
    assert found["best"] == found["written_best"]
    assert found["replay_s"] < MOST_S


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_finished_trial_leaves_little_in_memory(found):
    assert found["bytes"] < MOST_BYTES_A_TRIAL


def test_counting_all_trials_takes_no_time_that_one_could_see(found):
    assert found["snapshot_s"] < 0.1 * max(1, N_TRIALS / 2_000)


def write_journal(folder: Path) -> float:
    """Records a sweep in which four trials run at once; returns its best value."""
    create(folder)
    rng, best = random.Random(0), 0.0
    with Journal(folder) as journal:
        journal.append({"type": "attempt", "attempt": 1, "n_trials": N_TRIALS, "rungs": [1, 3, 9, 27], "time": 0.0})
        for first in range(0, N_TRIALS, 4):
            for turn in zip(*(events_of_a_trial(first + more, rng) for more in range(4)), strict=True):
                for event in turn:
                    best = max([best, *(row["valid_acc"] for row in event.get("rows", ()))])
                    journal.append({**event, "time": 1_700_000_000 + rng.random()})
            if first % 400 == 0:
                journal.flush()
    return best


def events_of_a_trial(trial: int, rng: random.Random) -> Iterator[Event]:
    """One trial as the recorder writes it; every fifth report has two epochs."""
    names = [*"abcdefghi", "lr", "max_epochs", "optimizer"]
    yield {"type": "trial", "trial": trial, "params": {f"module__{name}": rng.random() for name in names}}
    yield {"type": "start", "trial": trial}
    epoch = 0
    for report in range(N_REPORTS):
        rows = [metrics(epoch + 1 + more, rng) for more in range(2 if report % 5 == 4 else 1)]
        epoch = rows[-1]["epoch"]
        costs = {"n_parameters": 12_345, "peak_memory_bytes": rng.randrange(10**9), "fit_s": rng.random()}
        costs |= {f"predict_{name}": rng.random() for name in ("ms_p50", "ms_p95", "rows_per_s")}
        costs["stability"] = rng.random() if report else float("nan")
        placement = {"node": "worker-17.example.org", "pid": 31_337, "gpu": "0"}
        saved = f"checkpoint-{epoch:06d}" if report % 7 == 0 else None
        content = {"costs": costs, "checkpoint": saved, "placement": placement}
        yield {"type": "report", "trial": trial, "rows": rows, **content}
    yield {"type": "end", "trial": trial, "status": "COMPLETED"}


def metrics(epoch: int, rng: random.Random) -> dict[str, Any]:
    names = ("train_loss", "valid_loss", "valid_acc", "valid_f1_macro", "train_s", "epoch_s")
    return {"epoch": epoch, **{name: rng.random() for name in names}}
