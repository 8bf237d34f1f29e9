"""What extending a sweep means: the config that comes of it, what is refused, and which trials go on."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search_spaces.space import SearchSpace
from sweeps import SpecError
from sweeps.config import SchedulerConfig
from sweeps.extension import Extension, extended, prolonged, space_notes
from sweeps.records import SweepState
from sweeps.schedulers import make_scheduler
from sweeps.spec import build_config
from trainables.objective import Objective

MOST = Objective("valid_acc", maximize=True)
FIFO = SchedulerConfig(name="fifo")
ASHA = SchedulerConfig(name="asha", reduction_factor=3)


def config_of(**sections: Any) -> Any:
    usual = {
        "name": "sweep",
        "metric": {"name": "valid_acc", "goal": "maximize"},
        "parameters": {"lr": {"min": 0.01, "max": 1.0}, "max_epochs": 9},
        "searcher": {"name": "random", "num_samples": 5},
    }
    return build_config(usual | sections)


def state_of(trials: Mapping[int, tuple[dict[int, float], str, dict[str, Any]]]) -> SweepState:
    """Records from trial -> (value of each epoch, status, params)."""
    state = SweepState(MOST)
    for trial, (values, status, params) in trials.items():
        rows = [{"epoch": epoch, "valid_acc": value} for epoch, value in values.items()]
        rung = max(values) if status == "STOPPED" else None
        usual = {"costs": {}, "placement": {}, "checkpoint": None}
        state.apply({"type": "trial", "trial": trial, "params": params})
        state.apply({"type": "start", "trial": trial, "time": 0.0})
        state.apply({"type": "report", "trial": trial, "rows": rows, **usual})
        if status != "RUNNING":
            state.apply({"type": "end", "trial": trial, "status": status, "rung": rung, "time": 1.0})
    return state


def test_more_trials_are_counted_from_those_that_were_planned():
    made = extended(config_of(), Extension(num_samples=4), n_trials=5, max_epochs=9)
    assert made.searcher.num_samples == 9
    assert made == config_of(searcher={"name": "random", "num_samples": 9})


def test_a_longer_training_is_a_constant_of_the_space_also_where_the_net_had_it():
    config = config_of(parameters={"lr": [0.1, 0.2]})
    assert extended(config, Extension(max_epochs=12), 5, 9).parameters == {"lr": [0.1, 0.2], "max_epochs": 12}
    assert config.parameters == {"lr": [0.1, 0.2]}


@pytest.mark.parametrize(
    ("sections", "extension", "where", "said"),
    [
        ({}, Extension(max_epochs=9), "max_epochs", "9 is no more than the 9 epochs"),
        ({"parameters": {"max_epochs": [3, 9]}}, Extension(max_epochs=27), "max_epochs", "varies in this sweep"),
        (
            {"parameters": {"lr": [1, 2], "max_epochs": {"values": [9], "when": {"lr": 1}}}},
            Extension(max_epochs=27),
            "max_epochs",
            "varies in this sweep",
        ),
        ({"scheduler": {"name": "hyperband"}}, Extension(max_epochs=27), "max_epochs", "hyperband cannot"),
        ({"scheduler": {"name": "pbt"}}, Extension(max_epochs=27), "max_epochs", "pbt cannot"),
        ({"searcher": {"name": "grid"}, "parameters": {"lr": [1, 2]}}, Extension(3), "num_samples", "no further"),
        ({}, Extension(max_epochs=27, parameters={"lr": {"min": 2, "max": 1}}), "parameters.lr", ""),
    ],
)
def test_what_cannot_be_is_refused_with_what_to_do(sections, extension, where, said):
    with pytest.raises(SpecError) as caught:
        extended(config_of(**sections), extension, 5, 9)
    [problem] = caught.value.problems
    assert problem.where == where
    assert said in problem.message


@pytest.mark.parametrize("extension", [Extension(), Extension(0), Extension(-2), Extension(1.5), Extension(None, 9.5)])
def test_a_number_that_is_none_and_nothing_at_all_are_refused(extension):
    with pytest.raises(SpecError, match="give"):
        extended(config_of(), extension, 5, 9)


def test_one_length_in_a_list_is_one_that_all_trials_have():
    config = config_of(parameters={"lr": {"min": 0.1, "max": 1}, "max_epochs": [9]})
    assert extended(config, Extension(max_epochs=27), 5, 9).parameters["max_epochs"] == 27


def test_everything_that_is_wrong_is_said_at_once():
    config = config_of(searcher={"name": "grid"}, parameters={"lr": [1, 2], "max_epochs": 9})
    with pytest.raises(SpecError) as caught:
        extended(config, Extension(num_samples=1, max_epochs=3), 2, 9)
    assert [problem.where for problem in caught.value.problems] == ["max_epochs", "num_samples"]


def test_without_early_stopping_whoever_trained_to_its_end_or_has_not_ended_goes_on():
    state = state_of(
        {
            0: ({9: 0.1}, "COMPLETED", {"max_epochs": 9}),
            1: ({4: 0.9}, "COMPLETED", {"max_epochs": 9}),  # ended by itself
            2: ({2: 0.5}, "DIVERGED", {"max_epochs": 9}),
            3: ({2: 0.5}, "FAILED", {"max_epochs": 9}),
            4: ({2: 0.5}, "INTERRUPTED", {"max_epochs": 9}),
            5: ({4: 0.9}, "COMPLETED", {}),  # the net's own length
            6: ({2: 0.5}, "RUNNING", {}),
        }
    )
    assert prolonged(state, FIFO, 4, 27) == {trial: {"max_epochs": 27} for trial in (0, 4, 5, 6)}
    assert prolonged(state, FIFO, 4, None) == {}


def test_a_trial_that_was_left_behind_by_one_extension_may_go_on_with_the_next():
    state = state_of(
        {
            0: ({3: 0.9, 9: 0.1}, "COMPLETED", {"max_epochs": 9}),
            1: ({3: 0.5}, "COMPLETED", {"max_epochs": 3}),
            2: ({3: 0.7}, "COMPLETED", {"max_epochs": 3}),
            **{trial: ({3: 0.1}, "STOPPED", {"max_epochs": 9}) for trial in range(3, 7)},
        }
    )
    assert set(prolonged(state, ASHA, 3, 27)) == {0, 1, 2}


@given(
    st.lists(
        st.tuples(st.floats(0, 1), st.sampled_from(["COMPLETED", "STOPPED", "DIVERGED"]), st.sampled_from([1, 3, 9])),
        min_size=1,
        max_size=12,
    ),
    st.booleans(),
)
@settings(max_examples=60)
def test_under_asha_those_go_on_who_pass_their_rung_by_rays_own_rule(ends, is_at_a_rung):
    whole = 9 if is_at_a_rung else 12

    def reached(value: float, status: str, epoch: int) -> tuple[dict[int, float], str, dict[str, Any]]:
        levels = [level for level in (1, 3, 9) if level <= epoch] if status != "COMPLETED" else [1, 3, 9, whole]
        return {level: value / level for level in levels}, status, {"max_epochs": whole}

    state = state_of({trial: reached(*end) for trial, end in enumerate(ends)})
    scheduler: Any = make_scheduler(ASHA, SearchSpace({}), MOST, max_epochs=27, seed=0)
    scheduler.recall(state)
    expected = set()
    for record in state.trials.values():
        # Another trial that reports the same is told what Ray thinks of it.
        stranger = SimpleNamespace(config={"trial": 1000 + record.trial})
        scheduler.on_trial_add(None, stranger)
        result = {"epoch": record.epoch, "valid_acc": record.rows[record.epoch]["valid_acc"]}
        passes = record.epoch not in (1, 3, 9) or scheduler.on_trial_result(None, stranger, result) == "CONTINUE"
        for _, recorded in scheduler._brackets[0]._rungs:
            recorded.pop(str(1000 + record.trial), None)
        if record.status != "DIVERGED" and passes:
            expected.add(record.trial)
    assert set(prolonged(state, ASHA, 99, 27)) == expected


def test_the_epochs_before_a_trial_diverged_count_as_they_were():
    state = state_of(
        {
            0: ({1: 0.5}, "STOPPED", {}),
            1: ({1: 0.9, 2: float("nan")}, "DIVERGED", {}),
            2: ({1: 0.8, 2: float("nan")}, "DIVERGED", {}),
        }
    )
    assert prolonged(state, ASHA, 9, 27) == {}


def test_what_another_space_drops_or_fixes_otherwise_is_said_and_what_it_varies_is_not():
    before = {"lr": [0.1, 0.2], "module__nodes": 8, "max_epochs": 9, "batch_size": [8, 16]}
    after = {"lr": [0.1, 0.5], "max_epochs": 12, "batch_size": 8}
    assert space_notes(before, after) == [
        "space: module__nodes is not set any more, so the net's own value counts",
        "space: max_epochs is 12 from now on, no more 9",
    ]
