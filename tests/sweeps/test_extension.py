"""Extending a sweep: what is refused, who goes on, and that the result is that of a sweep made so at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nets
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from inline_sweeps import Told, extend, resume, run, sweep_of
from skorch.callbacks import Callback, EarlyStopping, LRScheduler
from torch import nn

from search_spaces.space import SearchSpace
from sweeps import SpecError, SweepResult, journal
from sweeps.config import SchedulerConfig
from sweeps.extension import Extension, extended, prolonged
from sweeps.records import SweepState
from sweeps.schedulers import make_scheduler
from sweeps.spec import build_config, dump_spec, load_spec
from sweeps.taken import taken
from trainables import checkpoint
from trainables.objective import Objective

MOST = Objective("valid_acc", maximize=True)
FIFO = SchedulerConfig(name="fifo")
ASHA = SchedulerConfig(name="asha", reduction_factor=3)
RANDOM = {"lr": {"distribution": "loguniform", "min": 0.01, "max": 1.0}, "module__nodes": [4, 8, 12]}


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


# What follows runs sweeps in this process.


def configs(result: SweepResult) -> list[dict[str, Any]]:
    return [record.params for record in result.state.trials.values()]


def statuses(result: SweepResult) -> list[str]:
    return [str(record.status) for record in result.state.trials.values()]


def test_more_random_trials_are_those_of_a_sweep_that_asked_for_all_at_once(tmp_path):
    first = run(tmp_path, RANDOM | {"max_epochs": 1}, num_samples=3)
    more = extend(first.paths.root, num_samples=2)
    at_once = run(tmp_path, RANDOM | {"max_epochs": 1}, num_samples=5, name="at_once")
    assert configs(more) == configs(at_once)
    scores = [record.best_value for record in more.state.trials.values()]
    assert scores == [record.best_value for record in at_once.state.trials.values()]
    assert len(configs(extend(first.paths.root, num_samples=1))) == 6


def test_a_grid_gets_further_points_or_a_wider_space_and_repeats_none(tmp_path):
    grid = {"lr": [0.1, 0.2, 0.3], "max_epochs": 1}
    first = run(tmp_path, grid, searcher={"name": "grid", "num_samples": 2})
    assert [params["lr"] for params in configs(extend(first.paths.root, num_samples=1))] == [0.1, 0.2, 0.3]
    whole = run(tmp_path, grid, searcher="grid", name="whole")
    with pytest.raises(SpecError, match="--space"):
        extend(whole.paths.root, num_samples=1)
    wider = extend(whole.paths.root, parameters=grid | {"lr": [0.2, 0.4, 0.5]})
    assert [params["lr"] for params in configs(wider)] == [0.1, 0.2, 0.3, 0.4, 0.5]
    assert set(statuses(wider)) == {"COMPLETED"}


def test_tpe_learns_from_those_trials_only_that_lie_in_the_new_space(tmp_path):
    searcher = {"name": "hyperopt", "num_samples": 4, "n_startup": 2}
    first = run(tmp_path, {"lr": {"min": 0.01, "max": 1.0}, "max_epochs": 1}, searcher=searcher)
    narrow = {"lr": {"min": 0.1, "max": 0.5}, "max_epochs": 1}
    more = extend(first.paths.root, num_samples=3, parameters=narrow)
    assert len(configs(more)) == 7
    assert all(0.1 <= params["lr"] <= 0.5 for params in configs(more)[4:])


def test_nothing_is_changed_by_an_extension_that_is_refused(tmp_path):
    first = run(tmp_path, {"lr": [0.1], "max_epochs": 2}, searcher="grid")
    before = first.paths.spec.read_text(), list(journal.read(first.paths.journal))
    for wrong in ({"max_epochs": 2}, {"num_samples": 1}, {"parameters": {"lrr": [1]}}):
        with pytest.raises(SpecError):
            extend(first.paths.root, **wrong)
    assert (first.paths.spec.read_text(), list(journal.read(first.paths.journal))) == before


class Noisy(nets.Tiny):
    """With dropout."""

    def __init__(self, nodes: int = 8) -> None:
        super().__init__(nodes)
        self.layers.append(nn.Dropout(0.2))


class Blurs(Callback):
    """Spoils the weights when a training ends."""

    def on_train_end(self, net: Any, **kwargs: Any) -> None:
        with torch.no_grad():
            next(net.module_.parameters()).zero_()


LONGER: dict[str, Callable[[], Any]] = {
    "plain": nets.make_net,
    "dropout": lambda: nets.make_net(module=Noisy),
    "step": lambda: nets.make_net(callbacks=[LRScheduler("StepLR", step_size=2, gamma=0.3)]),
    "best": lambda: nets.make_net(callbacks=[EarlyStopping(patience=50, load_best=True)]),
    "blurs": lambda: nets.make_net(callbacks=[Blurs()]),
}


def saved(result: SweepResult, trial: int) -> dict[str, Any]:
    """What the newest checkpoint of a trial holds of its training."""
    found, _ = checkpoint.newest(result.paths.trials / checkpoint.trial_name(trial))
    assert found is not None
    return checkpoint.load(found)


def assert_equal(value: Any, expected: Any) -> None:
    if isinstance(expected, torch.Tensor):
        assert torch.equal(value, expected)
    elif isinstance(expected, Mapping):
        assert value.keys() == expected.keys()
        for key in expected:
            assert_equal(value[key], expected[key])
    elif isinstance(expected, (list, tuple)):
        assert len(value) == len(expected)
        for part, other in zip(value, expected, strict=True):
            assert_equal(part, other)
    else:
        assert value == expected


def without_times(result: SweepResult, trial: int) -> list[dict[str, float]]:
    rows = result.state.trials[trial].rows.values()
    return [{key: value for key, value in row.items() if key not in ("train_s", "epoch_s")} for row in rows]


@pytest.mark.parametrize("name", LONGER)
def test_complete_trials_go_on_as_one_uninterrupted_training(name, tmp_path):
    space = {"lr": [0.05, 0.5], "max_epochs": 3}
    first = run(tmp_path, space, LONGER[name](), searcher="grid")
    extend(first.paths.root, LONGER[name](), max_epochs=5)
    longer = extend(first.paths.root, LONGER[name](), max_epochs=7)
    at_once = run(tmp_path, space | {"max_epochs": 7}, LONGER[name](), searcher="grid", name="at_once")
    assert configs(longer) == configs(at_once)
    assert statuses(longer) == ["COMPLETED", "COMPLETED"]
    for trial in (0, 1):
        assert without_times(longer, trial) == without_times(at_once, trial)
        state, whole = saved(longer, trial), saved(at_once, trial)
        assert_equal(state["net"]["modules"], whole["net"]["modules"])
        assert_equal(state["net"]["optimizers"], whole["net"]["optimizers"])
        assert_equal(state["random"], whole["random"])
    assert (longer.best_trial.trial, longer.best_epoch) == (at_once.best_trial.trial, at_once.best_epoch)
    assert_equal(longer.best_net.module_.state_dict(), at_once.best_net.module_.state_dict())


def test_what_early_stopping_ended_stays_ended(tmp_path):
    net = nets.make_net(callbacks=[EarlyStopping(patience=2, threshold=0.9)])
    first = run(tmp_path, {"lr": [0.1], "max_epochs": 9}, net, searcher="grid")
    reached = first.state.trials[0].epoch
    assert reached < 9
    longer = extend(first.paths.root, net, max_epochs=20)
    assert (longer.state.trials[0].epoch, statuses(longer)) == (reached, ["COMPLETED"])


def test_an_interrupted_sweep_is_finished_on_the_way_and_at_the_new_length(tmp_path):
    space = RANDOM | {"max_epochs": 4}
    first = run(tmp_path, space, num_samples=4, stop={"metric_target": 0.01})
    assert "INTERRUPTED" in statuses(first) or len(configs(first)) < 4
    spec = first.paths.spec
    spec.write_text(spec.read_text().replace("metric_target: 0.01", "metric_target:"))
    longer = extend(first.paths.root, max_epochs=6)
    assert statuses(longer) == ["COMPLETED"] * 4
    assert {record.epoch for record in longer.state.trials.values()} == {6}


def test_under_asha_the_better_go_on_and_later_ones_can_save_one_that_was_stopped(tmp_path):
    space = {"lr": [0.3, 0.2, 0.1, 0.001, 0.0001], "max_epochs": 2}
    asha = {"name": "asha", "reduction_factor": 2}
    first = run(tmp_path, space, searcher="grid", scheduler=asha)
    longer = extend(first.paths.root, max_epochs=8)
    assert longer.state.attempts[-1]["rungs"] == [1, 2, 4]
    [event] = [event for event in journal.read(first.paths.journal) if event["type"] == "extend"]
    assert set(map(int, event["prolonged"])) == set(prolonged(first.state, SchedulerConfig(**asha), 2, 8))
    stayed = {trial for trial in first.state.trials if str(trial) not in event["prolonged"]}
    assert stayed
    assert all(longer.state.trials[trial].epoch == first.state.trials[trial].epoch for trial in stayed)
    saved = [trial for trial, record in first.state.trials.items() if record.status == "STOPPED" and trial not in stayed]
    assert saved
    assert all(longer.state.trials[trial].epoch > first.state.trials[trial].epoch for trial in saved)
    assert max(record.epoch for record in longer.state.trials.values()) == 8


def extension_that_stops_at_its_record(result: SweepResult, **asked: Any) -> None:
    """As a crash leaves it: the journal knows of the extension, sweep.yaml does not."""
    old = result.paths.spec.read_text()
    with taken(result.paths, Told()) as sweep:
        made = sweep_of(result.paths.root.parent, {"lr": [0.1]})
        made.config = extended(load_spec(result.paths.spec), Extension(**asked), sweep.n_trials, sweep.max_epochs)
        made.space = SearchSpace(made.config.parameters)
        sweep.extend(made.plan(list(sweep.state.trials.values())), Extension(**asked), dump_spec(made.config))
    assert result.paths.spec.read_text() != old
    result.paths.spec.write_text(old)


def test_an_extension_that_was_cut_off_after_its_record_is_there_on_resume(tmp_path):
    first = run(tmp_path, RANDOM | {"max_epochs": 2}, num_samples=2)
    extension_that_stops_at_its_record(first, num_samples=1, max_epochs=3)
    result = resume(first.paths.root)
    assert statuses(result) == ["COMPLETED"] * 3
    assert {record.epoch for record in result.state.trials.values()} == {3}
    assert "num_samples: 3" in first.paths.spec.read_text()


def test_an_extension_after_one_that_was_cut_off_adds_to_it(tmp_path):
    first = run(tmp_path, RANDOM | {"max_epochs": 1}, num_samples=2)
    extension_that_stops_at_its_record(first, num_samples=2)
    assert len(configs(extend(first.paths.root, num_samples=1))) == 5
