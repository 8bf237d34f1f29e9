"""One epoch before a sweep is created: small, and without a trace in the process or in the net."""

from __future__ import annotations

import pickle
import random
import re
import signal
from dataclasses import replace

import nets
import numpy as np
import pytest
import torch
from inline_sweeps import plan_of
from skorch.callbacks import Callback

from sweeps.errors import SpecError
from sweeps.probe import probe


@pytest.fixture(scope="module")
def job():
    """Of 3000 rows, most of one class."""
    X, y = nets.make_data(3000)
    y[np.flatnonzero(y == 2)[3:]] = 0
    return plan_of({"lr": [0.1]}, data=(X, y), validation={"type": "holdout", "size": 0.4, "stratified": True}).job


def test_two_batches_are_enough_unless_the_whole_epoch_is_wanted(job):
    few = probe(job, [{"batch_size": 50}])
    assert (few.rows, few.max_epochs, few.trial) == (100, 4, 0)
    assert few.epoch_s > 0
    assert probe(job, [{"batch_size": 50, "max_epochs": 9}], whole=True).rows == 1800
    assert probe(job, [{"batch_size": -1}]).rows == 1800
    assert len(job.data.splits[0].train) == 1800


def test_every_class_is_among_the_few_rows(job):
    seen = probe(replace(job, scorers={"n_classes": lambda net, X, y: float(len(np.unique(y)))}), [{"batch_size": 5}])
    assert seen.rows == 10
    assert "valid_n_classes" in seen.metrics
    scored: list[int] = []
    probe(replace(job, scorers={"n": lambda net, X, y: scored.append(len(np.unique(y))) or 0.0}), [{"batch_size": 5}])
    assert set(scored) == {3}


def test_validation_has_more_rows_than_two_batches(job):
    sizes: list[int] = []
    probe(replace(job, scorers={"n": lambda net, X, y: sizes.append(len(y)) or 0.0}), [{"batch_size": 5}])
    assert set(sizes) == {1200}


class Forgets(Callback):
    """Changes the net as a global of its module says, which no checkpoint holds."""

    def __init__(self, by=0.0):
        self.by = by

    def on_epoch_begin(self, net, **kwargs):
        DRAWN.append(self.by)
        with torch.no_grad():
            next(net.module_.parameters()).add_(sum(DRAWN))


DRAWN: list[float] = []


@pytest.mark.parametrize(("by", "max_epochs", "expected"), [(1.0, 4, False), (0.0, 4, True), (1.0, 1, True)])
def test_a_net_that_goes_on_otherwise_from_its_state_is_not_faithful(job, by, max_epochs, expected):
    DRAWN.clear()
    job = replace(job, net=nets.make_net(callbacks=[Forgets(by)]))
    assert probe(job, [{"max_epochs": max_epochs}]).is_faithful is expected


def test_metrics_that_are_not_numbers_do_not_make_a_net_unfaithful(job):
    assert probe(replace(job, scorers={"nan": lambda net, X, y: float("nan")}), [{}]).is_faithful


def test_folds_go_on_alike_too():
    assert probe(plan_of({"lr": [0.1]}, validation={"type": "cv", "n_splits": 3}).job, [{}]).is_faithful


def test_a_net_that_cannot_be_measured_is_known(job):
    with pytest.raises(SpecError, match="one row is too few"):
        probe(replace(job, net=nets.make_net(module=Pairs)), [{}])


class Pairs(nets.Tiny):
    def forward(self, X):
        if len(X) < 2:
            raise ValueError("one row is too few")
        return super().forward(X)


def test_the_process_and_the_net_stay_as_they_were(job):
    for seed in (random.seed, np.random.seed, torch.manual_seed):
        seed(7)
    states = random.getstate(), pickle.dumps(np.random.get_state()), torch.get_rng_state().tolist()
    params = repr(job.net.get_params(deep=False))
    probe(job, [{"lr": 0.5, "module__nodes": 3}])
    assert (random.getstate(), pickle.dumps(np.random.get_state()), torch.get_rng_state().tolist()) == states
    assert repr(job.net.get_params(deep=False)) == params
    assert not job.net.initialized_


def test_a_net_on_cuda_is_probed_on_a_machine_without_one(job):
    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    job = replace(job, net=nets.make_net(device="cuda"))
    assert "valid_acc" in probe(job, [{}]).metrics
    assert job.net.device == "cuda"


def test_the_first_config_that_trains_counts(job):
    configs = [{"module__nodes": 0}, {"module__nodes": -1}, {"module__nodes": 4}]
    assert probe(job, configs).trial == 2


def test_when_all_fail_the_last_error_is_told_with_the_line_of_the_users_code(job):
    with pytest.raises(SpecError) as error:
        probe(job, [{"module__nodes": 0}, {"module__nodes": -1}])
    message = str(error.value)
    assert "none of 2 configs" in message
    assert "the last one, {'module__nodes': -1}, ended with ValueError: nodes must be positive, not -1" in message
    assert re.search(r"nets\.py:\d+", message)


def test_without_configs_the_message_says_so(job):
    with pytest.raises(SpecError, match=r"none of 0 configs .*; there is none"):
        probe(job, [])


def test_an_error_outside_the_users_code_is_told_where_it_came_up(job):
    with pytest.raises(SpecError, match=r"Invalid momentum value.*optim/sgd\.py:\d+"):
        probe(job, [{"optimizer__momentum": -1.0}])


def test_an_interrupt_is_no_failure_of_a_config(job):
    def interrupt(net, X, y):
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        probe(replace(job, scorers={"s": interrupt}), [{}, {}])


def test_all_folds_of_a_cross_validation_are_probed():
    job = plan_of({"lr": [0.1]}, validation={"type": "cv", "n_splits": 3}).job
    seen = probe(job, [{"batch_size": 16}])
    assert seen.rows == 3 * 32
    assert "valid_acc_std" in seen.metrics
