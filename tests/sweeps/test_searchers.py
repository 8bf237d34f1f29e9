"""How configs are handed to Tune: by number, never more at once than asked for, and again for a worker that died."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from typing import Any

import pytest
from ray.tune.search import Searcher

from sweeps.records import SweepState, TrialRecord
from sweeps.searchers import SweepSearcher
from trainables.objective import Objective


class Numbered:
    """Proposes the trial's number, up to the first that does not exist."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.seen: list[int] = []

    def propose(self, trial: int, records: Sequence[TrialRecord]) -> dict[str, Any] | None:
        assert [record.trial for record in records] == list(range(trial))
        self.seen.append(trial)
        return {"n": trial} if trial < self.size else None


def searcher_of(n_trials: int, size: int = 99, max_concurrent: int | None = None) -> SweepSearcher:
    state = SweepState(Objective("valid_acc", maximize=True))

    def announce(trial: int, params: dict[str, Any]) -> None:
        state.apply({"type": "trial", "trial": trial, "params": params})

    return SweepSearcher(Numbered(size), state, n_trials, announce, max_concurrent)


def numbers(searcher: SweepSearcher, *ids: str) -> list[Any]:
    suggested = [searcher.suggest(trial_id) for trial_id in ids]
    return [config["trial"] if isinstance(config, dict) else config for config in suggested]


def test_a_config_is_its_number_and_its_params_and_nothing_else():
    searcher = searcher_of(2)
    assert searcher.suggest("a") == {"trial": 0, "params": {"n": 0}}
    assert searcher.suggest("b") == {"trial": 1, "params": {"n": 1}}


def test_it_is_finished_only_when_no_trial_can_come_back():
    searcher = searcher_of(2)
    assert numbers(searcher, "a") == [0]
    searcher.on_trial_complete("a")
    assert not searcher.is_done
    assert numbers(searcher, "b", "c") == [1, None]
    assert not searcher.is_done
    searcher.on_trial_complete("b", error=True)
    assert searcher.is_done
    assert numbers(searcher, "d") == [Searcher.FINISHED]


def test_a_trial_whose_worker_died_comes_back_with_its_number_before_new_ones():
    searcher = searcher_of(3)
    assert numbers(searcher, "a") == [0]
    searcher.on_trial_complete("a", error=True)
    searcher.try_again(0)
    assert numbers(searcher, "b", "c") == [0, 1]


def test_the_last_trial_may_come_back_too():
    searcher = searcher_of(1)
    assert numbers(searcher, "a", "b") == [0, None]
    searcher.on_trial_complete("a", error=True)
    searcher.try_again(0)
    assert not searcher.is_done
    assert numbers(searcher, "c") == [0]
    searcher.on_trial_complete("c")
    assert numbers(searcher, "d") == [Searcher.FINISHED]


def test_a_space_that_has_run_out_is_asked_once():
    searcher = searcher_of(99, size=2)
    assert numbers(searcher, "a", "b", "c", "d") == [0, 1, None, None]
    assert searcher._proposals.seen == [0, 1, 2]
    searcher.on_trial_complete("a")
    searcher.on_trial_complete("b")
    assert numbers(searcher, "e") == [Searcher.FINISHED]


def test_no_more_trials_run_at_once_than_asked_for():
    searcher = searcher_of(9, max_concurrent=2)
    assert numbers(searcher, "a", "b", "c") == [0, 1, None]
    searcher.on_trial_complete("b")
    searcher.on_trial_complete("never seen")
    assert numbers(searcher, "d", "e") == [2, None]


def test_what_tune_changes_in_a_config_does_not_reach_the_records():
    searcher = searcher_of(1)
    searcher.suggest("a")["params"]["n"] = 7
    assert searcher._state.trials[0].params == {"n": 0}


def test_tune_can_store_it_but_never_bring_it_back(tmp_path):
    searcher = searcher_of(1)
    searcher.save(str(tmp_path / "state"))
    assert (tmp_path / "state").read_text() == ""
    with pytest.raises(NotImplementedError, match="journal"):
        searcher.restore(str(tmp_path / "state"))
    assert b"Numbered" not in pickle.dumps(searcher)
