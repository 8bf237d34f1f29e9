"""Sweeps that were extended in this process: the result is that of a sweep that had been made so at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import nets
import pytest
import torch
from inline_sweeps import Told, extend, resume, run
from skorch.callbacks import Callback, EarlyStopping, LRScheduler
from torch import nn

from sweeps import SpecError, SweepResult, journal
from sweeps.config import SchedulerConfig
from sweeps.extension import Extension, prolonged
from sweeps.prepared import stored
from sweeps.spec import dump_spec
from sweeps.storage import read_manifest
from sweeps.taken import taken
from trainables import checkpoint

RANDOM = {"lr": {"distribution": "loguniform", "min": 0.01, "max": 1.0}, "module__nodes": [4, 8, 12]}


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


def test_trials_over_several_folds_go_on_too(tmp_path):
    space, folds = {"lr": [0.05, 0.5], "max_epochs": 2}, {"searcher": "grid", "validation": 3}
    first = run(tmp_path, space, **folds)
    longer = extend(first.paths.root, max_epochs=4)
    at_once = run(tmp_path, space | {"max_epochs": 4}, name="at_once", **folds)
    assert [without_times(longer, trial) for trial in (0, 1)] == [without_times(at_once, trial) for trial in (0, 1)]


def test_trials_whose_checkpoints_were_not_kept_stay_as_they_are_and_are_counted(tmp_path):
    space, told = {"lr": [0.05, 0.5, 0.2], "max_epochs": 2}, Told()
    keep = {"every_s": 0.0, "keep": {"sweep_best": 1, "trial_latest": 0, "trial_best": 0}}
    first = run(tmp_path, space, searcher="grid", checkpoint=keep)
    best = first.best_trial.trial
    longer = extend(first.paths.root, max_epochs=4, progress=told)
    assert [record.epoch for record in longer.state.trials.values()] == [4 if n == best else 2 for n in range(3)]
    assert [line for line in told.lines if "left them no checkpoint to go on from: 2" in line]
    assert "note: trials that go on to 4 epochs: 1 of 3" in told.lines
    assert longer.state.attempts[-1]["reason"] == "complete"


def test_a_failed_trial_is_as_long_as_all_others_when_it_is_tried_again_after_an_extension(tmp_path):
    space = {"lr": [0.1], "callbacks__misbehave__how": ["", "raise"], "max_epochs": 4}
    mended = {"net": nets.make_net(callbacks=[("misbehave", nets.Mended())]), "accept_changes": True}
    first = run(tmp_path, space, searcher="grid")
    assert sorted(statuses(first)) == ["COMPLETED", "FAILED"]
    longer = extend(first.paths.root, max_epochs=6)
    assert sorted(statuses(longer)) == ["COMPLETED", "FAILED"]
    again = resume(first.paths.root, retry_failed=True, **mended)
    assert statuses(again) == ["COMPLETED", "COMPLETED"]
    assert {record.epoch for record in again.state.trials.values()} == {6}


def test_another_class_in_the_space_is_no_change_of_the_net_and_is_compared_from_then_on(tmp_path):
    space = {"optimizer": ["torch.optim:SGD"], "max_epochs": 1}
    first = run(tmp_path, space, searcher="grid")
    wider = extend(first.paths.root, parameters=space | {"optimizer": ["torch.optim:SGD", "torch.optim:Adam"]})
    assert [params["optimizer"] for params in configs(wider)] == ["torch.optim:SGD", "torch.optim:Adam"]
    assert "optimizer=torch.optim:Adam" in read_manifest(first.paths)["net_description"]


def test_the_best_net_of_an_object_that_only_an_extension_brought_asks_for_it(tmp_path):
    class Local(nets.Tiny):
        """Cannot be imported."""

    first = run(tmp_path, {"lr": [0.001], "max_epochs": 1}, searcher="grid")
    wider = extend(first.paths.root, parameters={"lr": [0.5], "module": [Local], "max_epochs": 1})
    best = wider.best_trial
    assert best.params["module"] in read_manifest(first.paths)["objects"]["module"]
    assert type(wider.best_net.module_) is Local
    with pytest.raises(SpecError, match="module"):
        _ = SweepResult(first.paths, nets.make_net()).best_net


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
    saved = [
        trial for trial, record in first.state.trials.items() if record.status == "STOPPED" and trial not in stayed
    ]
    assert saved
    assert all(longer.state.trials[trial].epoch > first.state.trials[trial].epoch for trial in saved)
    assert max(record.epoch for record in longer.state.trials.values()) == 8


def cut_off_after_its_record(result: SweepResult, **asked: Any) -> None:
    """Extends a sweep as far as a crash may let it: the journal knows of the extension, sweep.yaml does not."""
    old = result.paths.spec.read_text()
    extension = Extension(**asked)
    with taken(result.paths, Told()) as sweep:
        made = stored(result.paths, nets.make_net(), nets.make_data()).extended(sweep, extension)
        sweep.extend(made.plan(list(sweep.state.trials.values())), extension, dump_spec(made.written))
    assert result.paths.spec.read_text() != old
    result.paths.spec.write_text(old)


def test_an_extension_that_was_cut_off_after_its_record_is_there_on_resume(tmp_path):
    first = run(tmp_path, RANDOM | {"max_epochs": 2}, num_samples=2)
    cut_off_after_its_record(first, num_samples=1, max_epochs=3)
    result = resume(first.paths.root)
    assert statuses(result) == ["COMPLETED"] * 3
    assert {record.epoch for record in result.state.trials.values()} == {3}
    assert "num_samples: 3" in first.paths.spec.read_text()


def test_an_extension_after_one_that_was_cut_off_adds_to_it(tmp_path):
    first = run(tmp_path, RANDOM | {"max_epochs": 1}, num_samples=2)
    cut_off_after_its_record(first, num_samples=2)
    assert len(configs(extend(first.paths.root, num_samples=1))) == 5


def test_an_extension_must_be_longer_than_one_that_was_cut_off(tmp_path):
    first = run(tmp_path, RANDOM | {"max_epochs": 1}, num_samples=2)
    cut_off_after_its_record(first, max_epochs=4)
    with pytest.raises(SpecError, match="3 is no more than the 4 epochs"):
        extend(first.paths.root, max_epochs=3)


def test_what_a_person_wrote_into_the_spec_of_an_extension_that_was_cut_off_stays(tmp_path):
    first = run(tmp_path, RANDOM | {"max_epochs": 1}, num_samples=2)
    cut_off_after_its_record(first, num_samples=1)
    with taken(first.paths, Told()):  # by a driver that ends before its attempt begins
        pass
    spec, told = first.paths.spec, Told()
    assert "num_samples: 3" in spec.read_text()
    spec.write_text(spec.read_text().replace("report_every_s: 0.0", "report_every_s: 0.1"))
    resume(first.paths.root, progress=told)
    assert "report_every_s: 0.1" in spec.read_text()
    assert "note: changed: report_every_s: 0.0 -> 0.1" in told.lines
    assert not [line for line in told.lines if "num_samples" in line]
