"""Drivers that are killed at random and at aimed moments, and resumed: nothing that was shown is lost or doubled.

A case is named by its seed and says what it did; alone it repeats exactly but for kills by time. By default a sample;
all with SWEEPS_FAULTS=full. The figures are printed at the end, see `conftest`.
"""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from functools import cache, partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from faults.checker import Checker, Figures
from faults.drivers import Place, Setting, drive, warm_up
from faults.supervisor import BOUNDARY, Aim, live

from sweeps.results import SweepResult
from trainables.scoring import SECONDS

pytestmark = pytest.mark.faults

IS_FULL = os.environ.get("SWEEPS_FAULTS") == "full"
KILLS_A_CASE = 5

MEASURED = {
    "predict_ms_p50", "predict_ms_p95", "predict_rows_per_s", "peak_memory_bytes", "fit_s", "node", "pid", "gpu",
    "started", "ended",
}  # fmt: skip

SETTINGS = [
    Setting("grid", "fifo"),
    Setting("random", "asha", 2),
    Setting("hyperopt", "fifo", 3),
    Setting("random", "fifo", 1, 30.0, jitter=True),
    Setting("hyperopt", "asha", 1, 30.0),
    Setting("grid", "asha", 3, latest=0),
    Setting("random", "fifo", 1, latest=0, jitter=True),
    Setting("hyperopt", "asha", 3, 30.0, jitter=True),
]
ASHA = [
    Setting("random", "asha", 1, n_trials=9),
    Setting("hyperopt", "asha", 2, n_trials=9),
    Setting("random", "asha", 3, 30.0, n_trials=9),
    Setting("grid", "asha", 2, 30.0, n_trials=9),
]
# What no random moment would hit often enough: the nth call of this kind is right there.
AIMED = [
    Aim("journal", 1),  # between the making of the directory and its first record
    Aim("rename", 1),
    Aim("table", 1),  # between the last trial's end and the tables
    Aim("table", 2, "within"),
]
AT_STAKE = ["journal", "state", "rmtree", "unlink", "replace"]
SEEDS = range(40) if IS_FULL else range(3)
ASHA_SEEDS = range(100, 120) if IS_FULL else range(100, 101)
# Its journal is written to 15 times. Ended trials keep their best weights only, so an end that is lost would cost most.
SMALL = Setting("grid", "fifo", latest=0, n_trials=3, max_epochs=4)
WRITES = range(1, 16) if IS_FULL else [6]
# Of the 36 epochs that these sweeps train.
KILL_EPOCHS = [1 + round(35 * k / 19) for k in range(20)] if IS_FULL else [3, 18]


@pytest.fixture(scope="module", autouse=True)
def _warm(tmp_path_factory: Any) -> None:
    warm_up(tmp_path_factory.mktemp("warm"))


@pytest.fixture(scope="module")
def lengths(tmp_path_factory: Any) -> Any:
    """How long a life is that nobody ends: its calls at the boundary, and its seconds."""

    @cache
    def of(setting: Setting) -> tuple[Counter[str], float]:
        place = new_place(tmp_path_factory.mktemp("whole"))
        began = time.monotonic()
        live(partial(drive, setting, place), None, place.errors)
        return Counter(place.log("calls").read()[0]), time.monotonic() - began

    return of


def new_place(folder: Path) -> Place:
    place = Place(folder)
    place.storage.mkdir(parents=True)
    return place


def aim_of(rng: random.Random, calls: Counter[str], seconds: float) -> Aim:
    """A random one: by time, at any call, or where much is at stake; rather early, so that there are more to come."""
    kind = rng.choice(["time", "call", "stake"])
    if kind == "time":
        return Aim("time", after_s=rng.uniform(0.2, 0.9) * seconds)
    if kind == "stake" and rng.random() < 0.3:
        return rng.choice(AIMED)
    what = rng.choice([name for name in ("epoch", *BOUNDARY) if calls[name]] if kind == "call" else AT_STAKE)
    n = 1 + int(calls[what] * rng.random() ** 2)
    return Aim(what, n, rng.choice(["before", "after", "within"]))


def kill_again_and_again(setting: Setting, seed: int, folder: Path, lengths: Any, figures: Figures) -> None:
    """Kills and resumes sweeps of a setting until there were enough kills; the last life comes to its end."""
    rng = random.Random(seed)
    mine = Figures()
    for number in range(100):
        if mine.kills >= KILLS_A_CASE:
            break
        place = new_place(folder / str(number))
        checker = Checker(setting, place, mine)
        is_alive = True
        while is_alive:
            aim = aim_of(rng, *lengths(setting)) if mine.kills < KILLS_A_CASE else None
            by_run = rng.random() < 0.5
            print(f"seed {seed}, sweep {number}: {aim or 'to its end'}{' by run' if by_run else ''}")
            mine.lives += 1
            was_killed = live(partial(drive, setting, place, by_run=by_run), aim, place.errors)
            if was_killed:
                checker.after_kill()
            is_alive = was_killed
        checker.at_end()
    figures.add(mine)


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_acknowledged_is_lost_and_nothing_is_doubled_by_kills(seed, tmp_path, lengths, figures):
    kill_again_and_again(SETTINGS[seed % len(SETTINGS)], seed, tmp_path, lengths, figures["any sweep"])


@pytest.mark.parametrize("seed", ASHA_SEEDS)
def test_asha_decides_after_a_kill_as_it_had_decided(seed, tmp_path, lengths, figures):
    kill_again_and_again(ASHA[seed % len(ASHA)], seed, tmp_path, lengths, figures["asha"])


@pytest.mark.parametrize("n", WRITES)
@pytest.mark.parametrize("when", ["before", "within", "after"])
def test_no_write_to_the_journal_is_a_bad_moment_to_die(when, n, tmp_path, figures):
    place = new_place(tmp_path / "killed")
    checker = Checker(SMALL, place, found := Figures(lives=2))
    assert live(partial(drive, SMALL, place), Aim("journal", n, when), place.errors)
    checker.after_kill()
    assert not live(partial(drive, SMALL, place), None, place.errors)
    checker.at_end()
    figures["each write"].add(found)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: Any) -> Any:
    """What a sweep finds that nobody kills."""

    @cache
    def of(setting: Setting) -> dict[str, Any]:
        place = new_place(tmp_path_factory.mktemp("uninterrupted"))
        assert not live(partial(drive, setting, place), None, place.errors)
        return found_in(place)

    return of


def found_in(place: Place) -> dict[str, Any]:
    """All that a sweep found, but for seconds and what else is measured of a machine."""
    metrics = pq.read_table(place.paths.metrics_table).drop_columns([*SECONDS]).to_pydict()
    trials = pq.read_table(place.paths.trials_table).drop_columns([*MEASURED]).to_pydict()
    best = SweepResult.load(place.root).best_trial
    kept = {str(path.relative_to(place.root)): path for path in place.root.rglob("*.safetensors")}
    weights = {name: path.read_bytes() for name, path in kept.items() if "checkpoint-" in name or "best/" in name}
    return {"metrics": metrics, "trials": trials, "best": (best.trial, best.best_epoch), "weights": weights}


@pytest.mark.parametrize("epoch", KILL_EPOCHS)
@pytest.mark.parametrize("searcher", ["grid", "random"])
def test_a_killed_sweep_finds_to_the_bit_what_an_uninterrupted_one_finds(
    searcher, epoch, tmp_path, uninterrupted, figures
):
    setting = Setting(searcher, "fifo", every_s=0.0 if epoch % 2 else 30.0)
    place = new_place(tmp_path / "killed")
    checker = Checker(setting, place, found := Figures(lives=2))
    assert live(partial(drive, setting, place), Aim("epoch", epoch, "after"), place.errors)
    checker.after_kill()
    assert not live(partial(drive, setting, place), None, place.errors)
    assert found_in(place) == uninterrupted(setting)
    checker.at_end()
    figures["to the bit"].add(found)
