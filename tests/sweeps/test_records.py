"""What the journal says: the same live and on replay, and the best trial's score, epoch and params belong together."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from typing import Any

import pytest

from sweeps.journal import Event, Journal, create, read
from sweeps.records import SweepState, TrialRecord, TrialStatus
from trainables.objective import Objective

MOST = Objective("valid_acc", maximize=True)


def started(state: SweepState, *trials: int) -> SweepState:
    for trial in trials:
        state.apply({"type": "trial", "trial": trial, "params": {"lr": 0.1 * (trial + 1)}, "time": 1.0})
        state.apply({"type": "start", "trial": trial, "time": 2.0 + trial})
    return state


def report(state: SweepState, trial: int, *values: float, first: int = 1, **more: Any) -> None:
    rows = [{"epoch": epoch, "valid_acc": value} for epoch, value in enumerate(values, start=first)]
    content = {"costs": {"fit_s": 1.0}, "placement": {"node": "n", "pid": 1, "gpu": None}, "checkpoint": None}
    state.apply({"type": "report", "trial": trial, "rows": rows, **content, **more})


def end(state: SweepState, trial: int, status: str, **more: Any) -> None:
    state.apply({"type": "end", "trial": trial, "status": status, "time": 9.0, **more})


def found(state: SweepState) -> tuple[Any, ...] | None:
    best = state.best
    return None if best is None else (best.trial, best.best_epoch, best.best_value, best.best_params)


@pytest.fixture
def state() -> SweepState:
    return started(SweepState(MOST), 0, 1)


def test_the_best_is_the_first_to_reach_the_best_value_with_its_epoch_and_params(state):
    report(state, 0, 0.5, 0.8, 0.7)
    report(state, 1, 0.8, 0.6)
    assert found(state) == (0, 2, 0.8, {"lr": 0.1})
    report(state, 1, 0.9, 0.2, first=3)
    assert found(state) == (1, 3, 0.9, {"lr": 0.2})


def test_what_is_not_finite_is_never_the_best(state):
    report(state, 0, math.nan, math.inf, 0.1, -math.inf)
    assert found(state) == (0, 3, 0.1, {"lr": 0.1})
    assert state.trials[0].epoch == 4


def test_a_smaller_loss_is_better():
    state = started(SweepState(Objective("valid_acc")), 0, 1)
    report(state, 0, 0.5, 0.3)
    report(state, 1, 0.4)
    assert found(state) == (0, 2, 0.3, {"lr": 0.1})


def test_the_best_keeps_the_params_that_it_was_reached_with(state):
    report(state, 0, 0.8)
    state.apply({"type": "exploit", "trial": 0, "donor": 1, "params": {"lr": 0.7}})
    report(state, 0, 0.6, first=2)
    assert found(state) == (0, 1, 0.8, {"lr": 0.1})
    assert (state.trials[0].params, state.trials[0].exploited) == ({"lr": 0.7}, True)
    report(state, 0, 0.9, first=3)
    assert found(state) == (0, 3, 0.9, {"lr": 0.7})


def test_a_best_trial_that_fails_hands_over_to_the_next_best(state):
    started(state, 2)
    report(state, 0, 0.9)
    report(state, 1, 0.7)
    report(state, 2, 0.8)
    end(state, 0, "FAILED", cause="user", error="ValueError: boom")
    assert found(state) == (2, 1, 0.8, pytest.approx({"lr": 0.3}))
    end(state, 2, "DIVERGED")
    assert found(state) == (2, 1, 0.8, pytest.approx({"lr": 0.3}))  # its best epoch's weights are there
    end(state, 1, "FAILED")
    end(state, 2, "FAILED")
    assert found(state) is None


def test_an_epoch_that_is_reported_again_is_counted_once(state):
    report(state, 0, 0.1, 0.2)
    report(state, 0, 0.2, 0.3, first=2)
    assert (state.epochs, sorted(state.trials[0].rows)) == (3, [1, 2, 3])


def test_an_end_has_its_rung_or_its_cause(state):
    report(state, 0, 0.1)
    end(state, 0, "STOPPED", rung=1)
    end(state, 1, "FAILED", cause="oom", error="OutOfMemoryError: CUDA")
    stopped, failed = state.trials.values()
    assert (stopped.status, stopped.rung, stopped.cause, stopped.started, stopped.ended) == (
        "STOPPED",
        1,
        None,
        2.0,
        9.0,
    )
    assert (failed.status, failed.rung, failed.cause, failed.error) == ("FAILED", None, "oom", "OutOfMemoryError: CUDA")
    assert (state.count(TrialStatus.STOPPED, TrialStatus.FAILED), state.count(TrialStatus.RUNNING)) == (2, 0)


def test_a_restart_keeps_the_first_start_and_the_failures(state):
    report(state, 0, 0.1, checkpoint="checkpoint-000001")
    report(state, 0, 0.2, first=2)
    state.apply(
        {"type": "failure", "trial": 0, "cause": "worker_died", "error": "died", "epoch": 2, "seq": 5, "time": 3.0}
    )
    state.apply({"type": "start", "trial": 0, "time": 8.0})
    record = state.trials[0]
    assert (record.status, record.started) == (TrialStatus.RUNNING, 2.0)
    assert record.failures == [{"cause": "worker_died", "error": "died", "epoch": 2}]


def test_a_trial_that_was_interrupted_goes_on_where_it_was(state):
    report(state, 0, 0.5, 0.6, 0.9)
    end(state, 0, "INTERRUPTED")
    record = state.trials[0]
    before = {epoch: {"epoch": epoch, "valid_acc": value} for epoch, value in ((1, 0.5), (2, 0.6), (3, 0.9))}
    assert (record.rows, record.epoch, record.costs) == (before, 3, {"fit_s": 1.0})
    state.apply({"type": "start", "trial": 0, "time": 10.0})
    report(state, 0, resumed_at=2)
    report(state, 0, 0.7, 0.8, first=3)
    assert [record.rows[epoch]["valid_acc"] for epoch in sorted(record.rows)] == [0.5, 0.6, 0.7, 0.8]
    assert (record.best_epoch, record.best_value, state.epochs) == (4, 0.8, 4)


def test_attempts_have_their_ends(state):
    state.apply({"type": "attempt", "attempt": 1, "time": 1.0})
    state.apply({"type": "attempt_end", "reason": "complete", "time": 2.0})
    ending = {"ended": 2.0, "reason": "complete", "signal": None}
    assert state.attempts == [{"type": "attempt", "attempt": 1, "time": 1.0, **ending}]


def test_only_pending_and_running_are_no_ends():
    assert [status for status in TrialStatus if not status.is_end] == ["PENDING", "RUNNING"]


def events_of_a_sweep(rng: random.Random) -> Iterator[Event]:
    """What a driver might record of eight trials, in any order that Tune may come up with."""
    yield {"type": "attempt", "attempt": 1, "rungs": (1, 3), "time": 0.0}
    epochs: dict[int, int] = {}
    for trial in range(8):
        epochs[trial] = 0
        yield {"type": "trial", "trial": trial, "params": {"lr": rng.random(), "sizes": (trial, 2)}, "time": 1.0}
        yield {"type": "start", "trial": trial, "time": 1.5}
    while epochs:
        trial = rng.choice(list(epochs))
        move = rng.random()
        if move < 0.6:
            rows = [
                {"epoch": epochs[trial] + more, "valid_acc": rng.choice([math.nan, rng.random(), 0.5])}
                for more in range(1, rng.randint(2, 4))
            ]
            epochs[trial] = rows[-1]["epoch"]
            content = {"costs": {"fit_s": rng.random()}, "placement": {"pid": 1}, "checkpoint": None, "time": 2.0}
            yield {"type": "report", "trial": trial, "rows": rows, **content}
        elif move < 0.7:
            yield {"type": "exploit", "trial": trial, "donor": 0, "params": {"lr": rng.random()}, "time": 2.0}
        elif move < 0.8:
            yield {"type": "failure", "trial": trial, "cause": "worker_died", "error": "x", "epoch": 1, "time": 2.0}
        else:
            del epochs[trial]
            status = rng.choice([status for status in TrialStatus if status.is_end])
            yield {"type": "end", "trial": trial, "status": status, "time": 3.0}
    yield {"type": "attempt_end", "reason": "complete", "time": 4.0}


@pytest.mark.parametrize("seed", range(25))
def test_replay_gives_what_was_kept_live_and_the_best_of_all_rows(tmp_path, seed):
    live = SweepState(MOST)
    create(tmp_path / "journal")
    with Journal(tmp_path / "journal") as journal:
        for event in events_of_a_sweep(random.Random(seed)):
            live.apply(journal.append(event))
    replayed = SweepState.replay(MOST, read(tmp_path / "journal"))
    assert repr(replayed.trials) == repr(live.trials)  # as text, by which NaN equals NaN
    assert (replayed.attempts, found(replayed)) == (live.attempts, found(live))
    values = [best_row(record) for record in live.trials.values() if record.status is not TrialStatus.FAILED]
    if live.best is None:
        assert set(values) <= {-1}
    else:
        assert live.best.best_value == max(values)
        assert live.best.rows[live.best.best_epoch]["valid_acc"] == live.best.best_value


def best_row(record: TrialRecord) -> float:
    return max((row["valid_acc"] for row in record.rows.values() if math.isfinite(row["valid_acc"])), default=-1)


def test_what_came_after_the_checkpoint_of_a_resumed_trial_is_taken_back():
    state = SweepState(Objective("valid_acc", maximize=True))
    state.apply({"type": "attempt", "attempt": 1, "time": 0.0})
    state.apply({"type": "trial", "trial": 0, "params": {"lr": 0.1}, "time": 0.0})
    state.apply({"type": "trial", "trial": 1, "params": {"lr": 0.2}, "time": 0.0})

    def told(trial, *values, first=1, **more):
        rows = [{"epoch": first + index, "valid_acc": value} for index, value in enumerate(values)]
        about = {"costs": {}, "placement": {}, "checkpoint": None, "time": 1.0}
        state.apply({"type": "report", "trial": trial, "rows": rows, **about, **more})

    told(0, 0.5, 0.6, 0.9)
    told(1, 0.7)
    told(0, resumed_at=2)
    assert (state.trials[0].best_epoch, state.trials[0].best_value, state.trials[0].epoch) == (2, 0.6, 2)
    assert state.best is state.trials[1]
    told(0, 0.8, first=3)
    assert state.best is state.trials[0]
    assert state.trials[0].rows[3]["valid_acc"] == 0.8
