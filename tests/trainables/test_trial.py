"""One trial: its reports, checkpoints and end."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import nets
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from trainables import checkpoint
from trainables.claim import Claim
from trainables.data import TrialData
from trainables.folds import FoldsTraining
from trainables.job import TrialJob
from trainables.objective import Objective
from trainables.tensors import TensorData
from trainables.training import NetTraining
from trainables.trial import TrialRun, inference_costs, make_training, resolve_params, trial_seed

ACCURACY = Objective("valid_acc", maximize=True)
NEVER_S = 1e9


@pytest.fixture(scope="module")
def data():
    X, y = nets.make_data(120)
    return TrialData.make(X, y, target="classifier")


@pytest.fixture
def job(data, tmp_path):
    """Reports every epoch; saves at rungs and at the end alone."""
    return TrialJob(
        net=nets.make_net(max_epochs=6),
        data=data,
        objective=Objective(),
        trials=tmp_path / "trials",
        report_every_s=0.0,
        checkpoint_every_s=NEVER_S,
    )


def start(job, *, trial=4, fresh=False, **params):
    return TrialRun(job, TensorData(job.data), {"trial": trial, "params": params}, fresh=fresh)


def run_to_the_end(run):
    reports = [run.step()]
    while reports[-1]["ended"] is None:
        reports.append(run.step())
    return reports


def epochs(reports):
    return [[row["epoch"] for row in report["rows"]] for report in reports]


def saved(job, trial=4):
    folder = job.trials / checkpoint.trial_name(trial)
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def same_weights(run, other):
    states = run.training.net.module_.state_dict(), other.training.net.module_.state_dict()
    return all(torch.equal(states[0][key], states[1][key]) for key in states[0])


@pytest.mark.parametrize(
    ("rungs", "report_every_s", "expected"),
    [
        ((1, 3), NEVER_S, [[1], [2, 3], [4, 5, 6]]),
        ((2, 6), NEVER_S, [[1, 2], [3, 4, 5, 6]]),
        ((), NEVER_S, [[1, 2, 3, 4, 5, 6]]),
        ((1, 3), 0.0, [[1], [2], [3], [4], [5], [6]]),
    ],
)
def test_a_report_holds_each_epoch_once_and_never_passes_a_rung(job, rungs, report_every_s, expected):
    reports = run_to_the_end(start(replace(job, rungs=rungs, report_every_s=report_every_s)))
    assert epochs(reports) == expected
    assert all(report["last"] == report["rows"][-1] for report in reports)
    assert [report["ended"] for report in reports] == [None] * (len(expected) - 1) + ["completed"]


def test_a_trial_that_ended_reports_its_end_again_and_trains_no_more(job):
    run = start(job)
    last = run_to_the_end(run)[-1]
    again = run.step()
    assert (again["ended"], again["rows"], again["last"]) == ("completed", [], last["last"])


def test_checkpoints_are_written_at_rungs_and_at_the_end(job):
    reports = run_to_the_end(start(replace(job, rungs=(1, 3))))
    names = [report["checkpoint"] for report in reports]
    assert names == ["checkpoint-000001", None, "checkpoint-000003", None, None, "checkpoint-000006"]
    assert saved(job) == ["checkpoint-000003", "checkpoint-000006"]


def test_checkpoints_are_written_in_time(job):
    reports = run_to_the_end(start(replace(job, checkpoint_every_s=0.0)))
    assert [report["checkpoint"] for report in reports] == [checkpoint.directory_name(n) for n in range(1, 7)]
    assert saved(job) == ["checkpoint-000005", "checkpoint-000006"]


def test_a_trial_that_goes_on_reports_where_it_is_first(job):
    job = replace(job, rungs=(1, 3))
    run = start(job)
    for _ in range(4):
        run.step()
    written = (job.trials / "trial_00004" / "checkpoint-000003").stat().st_ino
    other = start(job)
    first = other.step()
    assert epochs([first]) == [[1, 2, 3]]
    assert (job.trials / "trial_00004" / "checkpoint-000003").stat().st_ino == written
    assert (first["last"]["epoch"], first["ended"], first["checkpoint"]) == (3, None, "checkpoint-000003")
    assert epochs([other.step()]) == [[4]]


def test_a_trial_that_goes_on_ends_as_if_never_interrupted(job):
    whole = start(job, trial=4)
    run_to_the_end(whole)
    run = start(replace(job, trials=job.trials / "cut"))
    run.step()
    run.step()
    run.close()
    other = start(replace(job, trials=job.trials / "cut"))
    reports = run_to_the_end(other)
    assert epochs(reports) == [[1, 2], [3], [4], [5], [6]]
    assert same_weights(other, whole)
    assert other.training.best.epoch == whole.training.best.epoch


def test_a_trial_that_had_ended_says_so_at_once(job):
    run_to_the_end(start(job))
    report = start(job).step()
    assert report["ended"] == "completed"
    assert epochs([report]) == [[1, 2, 3, 4, 5, 6]]


def test_a_damaged_checkpoint_is_passed_over_with_a_note(job):
    job = replace(job, rungs=(1, 3))
    run_to_the_end(start(job))
    (job.trials / "trial_00004" / "checkpoint-000006" / "state.pt").write_bytes(b"")
    run = start(job)
    report = run.step()
    assert report["last"]["epoch"] == 3
    (note,) = report["notes"]
    assert "checkpoint-000006" in note
    assert run.step()["notes"] == []


def test_a_fresh_run_begins_anew_and_leaves_no_later_checkpoint(job):
    run_to_the_end(start(job))
    run = start(replace(job, rungs=(1, 2)), fresh=True)
    assert epochs([run.step()]) == [[1]]
    assert saved(job) == ["checkpoint-000001"]
    run.step()
    assert saved(job) == ["checkpoint-000001", "checkpoint-000002"]


def test_closing_saves_what_was_reached(job):
    run = start(job)
    run.step()
    run.step()
    assert saved(job) == []
    run.close()
    assert saved(job) == ["checkpoint-000002"]
    before = (job.trials / "trial_00004" / "checkpoint-000002").stat().st_mtime_ns
    run.close()
    assert (job.trials / "trial_00004" / "checkpoint-000002").stat().st_mtime_ns == before


def test_closing_before_the_first_epoch_saves_nothing(job):
    start(job).close()
    assert saved(job) == []


def test_what_a_killed_process_left_unfinished_is_cleared_away(job):
    (job.trials / "trial_00004" / ".checkpoint-000001.4242.part").mkdir(parents=True)
    run_to_the_end(start(job))
    assert saved(job) == ["checkpoint-000006"]


def test_as_many_checkpoints_stay_as_are_asked_for(job):
    run_to_the_end(start(replace(job, checkpoint_every_s=0.0, keep_latest=3)))
    assert saved(job) == ["checkpoint-000004", "checkpoint-000005", "checkpoint-000006"]


def test_a_process_that_outlived_its_attempt_changes_nothing_any_more(job):
    job = replace(job, checkpoint_every_s=0.0)
    run = start(job)
    for _ in range(4):
        run.step()
    job.trials.joinpath("trial_00004", "checkpoint-000004").rename(job.trials / "lost")
    Claim(job.trials, 2).take()
    other = start(replace(job, attempt=2))
    assert epochs([other.step(), other.step()]) == [[1, 2, 3], [4]]
    unfinished = job.trials / "trial_00004" / ".checkpoint-000005.02.4242.part"
    unfinished.mkdir()
    before = saved(job)
    with pytest.raises(RuntimeError, match="attempt 2 of this sweep has taken its trials over"):
        run.step()
    with pytest.raises(RuntimeError, match="attempt 2"):
        run.close()
    assert saved(job) == before
    assert checkpoint.newest(job.trials / "trial_00004")[0].name == "checkpoint-000004"
    run_to_the_end(other)
    assert saved(job) == ["checkpoint-000005", "checkpoint-000006"]


def test_half_an_epoch_is_never_saved(job):
    run = start(job, callbacks__misbehave__how="raise", callbacks__misbehave__at=3)
    run.step()
    run.step()
    with pytest.raises(ArithmeticError):
        run.step()
    run.close()
    assert saved(job) == []


@pytest.mark.parametrize("how", [{"lr": 1e20}, {"callbacks__misbehave__how": "nan", "callbacks__misbehave__at": 2}])
def test_a_loss_that_is_not_finite_ends_the_trial(job, how):
    job = replace(job, report_every_s=NEVER_S)
    reports = run_to_the_end(start(job, **how))
    assert len(reports) == 1
    assert reports[0]["ended"] == "diverged"
    assert reports[0]["last"]["epoch"] < 6
    assert not np.isfinite(reports[0]["last"]["train_loss"])
    assert start(job, **how).step()["ended"] == "diverged"


def test_a_missing_metric_is_an_error_that_says_what_there_is(job):
    run = start(replace(job, objective=Objective("valid_los")))
    with pytest.raises(LookupError) as error:
        run.step()
    message = str(error.value)
    assert message.startswith("epoch 1 reported no 'valid_los'; it reported ")
    assert all(name in message for name in ("train_loss", "valid_acc", "did you mean 'valid_loss'"))


@pytest.mark.parametrize(("how", "found"), [("None", "None, a NoneType"), ("text", "'0.5', a str")])
def test_a_metric_that_is_no_number_is_an_error_that_says_what_it_is(job, how, found):
    run = start(replace(job, objective=ACCURACY), callbacks__misbehave__how=how, callbacks__misbehave__at=1)
    with pytest.raises(LookupError, match=f"epoch 1 reported 'valid_acc' as {found}; give a number"):
        run.step()


def test_an_error_says_how_many_epochs_were_trained_before_it(job):
    job = replace(job, report_every_s=NEVER_S)
    run = start(job, callbacks__misbehave__how="raise", callbacks__misbehave__at=3)
    with pytest.raises(ArithmeticError) as caught:
        run.step()
    (note,) = caught.value.__notes__
    assert re.fullmatch(r"sweeps: epoch 2, peak_memory_bytes \d{6,}", note)


def test_each_epoch_is_told_as_soon_as_it_is_trained(job):
    run = start(replace(job, report_every_s=NEVER_S))
    told = []
    run.on_epoch = lambda epoch, epoch_s: told.append((epoch, epoch_s))
    report = run.step()
    assert told == [(row["epoch"], row["epoch_s"]) for row in report["rows"]]
    assert len(told) == 6


def test_the_best_epochs_weights_stay_beside_worse_later_ones(job):
    best_at_two = {"x": lambda net, X, y: -float(abs(len(net.history) - 2))}
    job = replace(job, objective=Objective("valid_x", maximize=True), scorers=best_at_two, rungs=(2,))
    run = start(job)
    run.step()
    run.step()
    weights = {key: value.clone() for key, value in run.training.net.module_.state_dict().items()}
    run_to_the_end(run)
    directory = job.trials / "trial_00004" / "checkpoint-000006"
    assert checkpoint.verify(directory)["best_epoch"] == 2
    found = load_file(directory / "best.module.safetensors")
    assert found.keys() == weights.keys()
    assert all(torch.equal(found[key], weights[key]) for key in weights)
    assert not torch.equal(run.training.net.module_.layers[0].weight, weights["layers.0.weight"])


def test_costs_are_reported(job):
    run = start(job)
    first, second = run.step(), run.step()
    keys = {"n_parameters", "peak_memory_bytes", "predict_ms_p50", "predict_ms_p95", "predict_rows_per_s"}
    for report in (first, second):
        assert report["costs"].keys() == keys | {"stability", "fit_s"}
        assert all(np.isfinite(value) for value in report["costs"].values())
    assert first["costs"]["n_parameters"] == 9 * 8 + 9 * 3
    assert first["costs"]["stability"] == 0
    assert second["costs"]["fit_s"] == pytest.approx(sum(row["epoch_s"] for row in first["rows"] + second["rows"]))


class Words(torch.utils.data.Dataset):
    """Sequences of several lengths."""

    def __len__(self):
        return 40

    def __getitem__(self, row):
        return torch.full((row % 7 + 1,), row % 5), row % 2


def padded(rows):
    words = torch.nn.utils.rnn.pad_sequence([row[0] for row in rows], batch_first=True)
    return words, torch.tensor([row[1] for row in rows])


class Reader(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.words = torch.nn.EmbeddingBag(5, 2)

    def forward(self, X):
        return self.words(X) + 0 * torch.rand(1)


def test_a_net_that_puts_its_rows_together_itself_is_measured_too(job):
    rows = TrialData.make(Words(), np.arange(40) % 2, target="classifier")
    own = {"iterator_train__collate_fn": padded, "iterator_valid__collate_fn": padded}
    run = start(replace(job, net=nets.make_net(module=Reader, **own), data=rows))
    assert run.step()["costs"]["predict_rows_per_s"] > 0


def test_measuring_draws_no_random_numbers(job):
    training = make_training(job, TensorData(job.data), {"trial": 0, "params": {"module": Noisy}})
    before, state = torch.get_rng_state(), training.state()["random"]
    assert set(inference_costs(training)) > {"n_parameters", "predict_rows_per_s"}
    assert torch.equal(torch.get_rng_state(), before)
    assert str(training.state()["random"]) == str(state)


class Noisy(nets.Tiny):
    def forward(self, X):
        return super().forward(X + torch.rand_like(X))


def test_measuring_does_not_change_the_training(job):
    run, other = start(job), start(replace(job, report_every_s=NEVER_S, trials=job.trials / "other"))
    run_to_the_end(run)
    run_to_the_end(other)
    assert same_weights(run, other)


def handed_over(job, theirs, ours):
    """A trial in its third epoch with ``theirs``, and another that took over from it with ``ours``."""
    run = start(job, trial=5, **theirs)
    for _ in range(3):
        run.step()
    run.save(job.trials / "handed")
    other = start(job, trial=4, fresh=True, **ours)
    other.load(job.trials / "handed")
    return run, other


def test_taking_over_with_equal_params_is_faithful(job):
    params = {"lr": 0.05, "optimizer__momentum": 0.9, "module__nodes": 6}
    run, other = handed_over(job, params, dict(reversed(params.items())))
    assert epochs([other.step()]) == [[4]]
    run_to_the_end(other)
    run_to_the_end(run)
    assert same_weights(other, run)


def test_params_that_are_tuples_are_equal_too(job):
    job = replace(job, net=nets.make_net(optimizer=torch.optim.Adam))
    params = {"optimizer__betas": (0.8, 0.9), "lr": np.float64(0.01)}
    run, other = handed_over(job, params, params)
    run.training.net.optimizer_.param_groups[0]["lr"] = 0.5
    run.save(job.trials / "handed")
    other.load(job.trials / "handed")
    assert other.training.net.optimizer_.param_groups[0]["lr"] == 0.5


def test_taking_over_with_other_params_keeps_the_own_options(job):
    run, other = handed_over(job, {"lr": 0.05, "optimizer__momentum": 0.9}, {"lr": 0.2, "optimizer__momentum": 0.5})
    (group,) = other.training.net.optimizer_.param_groups
    assert (group["lr"], group["momentum"]) == (0.2, 0.5)
    assert same_weights(other, run)
    report = other.step()
    assert epochs([report]) == [[4]]
    assert other.training.best.epoch in (0, 4)
    other.close()
    assert saved(job) == ["checkpoint-000004"]


def test_a_trial_that_takes_over_keeps_its_own_best(job):
    scores = {"x": lambda net, X, y: net.lr if len(net.history) == 1 else 0.0}
    job = replace(job, objective=Objective("valid_x", maximize=True), scorers=scores)
    own = start(job, lr=0.2)
    own.step()
    own.close()
    _, other = handed_over(replace(job, trials=job.trials), {"lr": 0.3}, {"lr": 0.2})
    assert (other.training.best.epoch, other.training.best.value) == (1, 0.2)
    weights = own.training.best.weights["module"]["layers.0.weight"]
    assert torch.equal(other.training.best.weights["module"]["layers.0.weight"], weights)


def test_several_splits_make_one_trial_of_folds(job, data):
    folds = replace(job, data=TrialData.make(data.X, data.y, target="classifier", validation=3), objective=ACCURACY)
    run = start(folds, max_epochs=2)
    reports = run_to_the_end(run)
    assert isinstance(run.training, FoldsTraining)
    assert "valid_acc_std" in reports[-1]["last"]
    assert start(folds, max_epochs=2).step()["ended"] == "completed"


def test_the_config_is_only_read(job):
    config = {"trial": 1, "params": {"lr": 0.1, "optimizer__momentum": 0.5}}
    before = json.dumps(config)
    TrialRun(job, TensorData(job.data), config).step()
    assert json.dumps(config) == before


def test_how_fast_a_net_answers_is_measured_without_compilation(job):
    class Sees(nets.Tiny):
        def forward(self, X):
            compiled.append(torch.compiler.is_compiling())
            return super().forward(X)

    def backend(graph, inputs):
        compiled.append(True)
        return graph

    compiled = []
    params = {"compile": True, "compile__backend": backend}
    seeing = replace(job, net=nets.make_net(module=Sees))
    training = make_training(seeing, TensorData(job.data), {"trial": 0, "params": params})
    training.run_epoch()
    assert any(compiled)
    compiled.clear()
    costs = inference_costs(training)
    assert costs["n_parameters"] == 99
    assert compiled
    assert not any(compiled)


def test_a_trial_multiplies_in_the_precision_of_its_job(job):
    class Precise(nets.Tiny):
        def forward(self, X):
            seen.add(torch.get_float32_matmul_precision())
            return super().forward(X)

    seen = set()
    for splits in (job.data.splits, 2 * job.data.splits):
        precise = replace(job, net=nets.make_net(module=Precise), matmul_precision="high")
        precise = replace(precise, data=replace(job.data, splits=splits))
        make_training(precise, TensorData(precise.data), {"trial": 0, "params": {}}).run_epoch()
    assert seen == {"high"}


def test_labels_stand_for_objects(job):
    objects = {"optimizer": {"Adam": torch.optim.Adam}}
    assert resolve_params({"optimizer": "Adam", "lr": "Adam"}, objects) == {"optimizer": torch.optim.Adam, "lr": "Adam"}
    job = replace(job, objects=objects)
    training = make_training(job, TensorData(job.data), {"trial": 0, "params": {"optimizer": "Adam"}})
    assert isinstance(training, NetTraining)
    assert isinstance(training.net.optimizer_, torch.optim.Adam)


def test_each_trial_has_a_seed_of_its_own_that_stays():
    seeds = {trial_seed(sweep, trial) for sweep in range(3) for trial in range(50)}
    assert len(seeds) == 150
    assert all(0 <= seed < 2**32 for seed in seeds)
    assert trial_seed(0, 0) == 2968811710
    assert trial_seed(7, 3) == trial_seed(7, 3)


def test_a_job_moves_to_another_device_as_a_copy(job):
    moved = job.on_device("meta")
    assert moved.net.device == "meta"
    assert job.net.device == "cpu"
    assert moved.data is job.data
