"""What callbacks learn, taken down and given back; that trainings go on with it is in test_training."""

from __future__ import annotations

import itertools
import logging
import random
from collections import defaultdict

import numpy as np
import pytest
import torch
from skorch import NeuralNet
from skorch.callbacks import Callback, EarlyStopping, EpochScoring, LRScheduler
from torch import nn
from torch.optim.lr_scheduler import LRScheduler as TorchSchedule
from torch.optim.lr_scheduler import StepLR

from trainables.callback_state import CallbackState
from trainables.plain import NotPlainError


def begun(*callbacks):
    """A net whose training has just begun, and the state of its callbacks."""
    net = NeuralNet(
        nn.Linear, nn.MSELoss, module__in_features=2, module__out_features=1, callbacks=list(callbacks), verbose=0
    ).initialize()
    net.notify("on_train_begin", X=torch.zeros(3, 2), y=torch.zeros(3, 1))
    return net, CallbackState(net)


def callback_of(net, name):
    return dict(net.callbacks_)[name]


class Keeps(Callback):
    """Holds whatever a test puts into it."""

    def __init__(self, limit=3):
        self.limit = limit

    def on_train_begin(self, net, **kwargs):
        self.values_ = []
        self.logger_ = logging.getLogger("keeps")
        self.net_ = net


def handed_over(change, make=Keeps, name="Keeps"):
    """The callback of a second training after ``change`` was done to the first one's."""
    net, state = begun(make())
    change(callback_of(net, name))
    other, other_state = begun(make())
    other_state.load_state(state.state())
    return callback_of(other, name)


def test_only_what_changed_is_state():
    _, state = begun(Keeps(), EarlyStopping(), EpochScoring("r2"))
    assert all(saved == {"attributes": {}} for saved in state.state().values())


def test_a_list_that_grew_in_place_is_given_back():
    assert handed_over(lambda keeps: keeps.values_.append((1, np.float32(2)))).values_ == [(1, np.float32(2))]


def test_a_new_attribute_is_given_back_even_if_none():
    assert handed_over(lambda keeps: setattr(keeps, "late_", None)).late_ is None


def test_a_parameter_that_the_callback_changed_is_given_back():
    assert handed_over(lambda keeps: setattr(keeps, "limit", 1)).limit == 1


def test_an_own_parameter_outlives_another_training_that_did_not_change_it():
    _, state = begun(Keeps(limit=3))
    other, other_state = begun(Keeps(limit=5))
    other_state.load_state(state.state())
    assert callback_of(other, "Keeps").limit == 5


def test_tensors_are_given_back():
    found = handed_over(lambda keeps: setattr(keeps, "best_", {"w": torch.arange(3)}))
    assert torch.equal(found.best_["w"], torch.arange(3))


def test_loggers_and_the_net_are_left_to_the_fresh_process():
    def use(keeps):
        keeps.logger_.setLevel(logging.CRITICAL)
        keeps.net_.history.new_epoch()

    assert handed_over(use).values_ == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda keeps: setattr(keeps, "late_", open), "'late_': a builtins.builtin_function_or_method"),
        (lambda keeps: keeps.__dict__.update(values_=defaultdict(int)), "'values_': a collections.defaultdict"),
        (lambda keeps: keeps.__dict__.update(logger_=logging.getLogger("other")), "'logger_': a logging.Logger"),
        (lambda keeps: setattr(keeps, "copy_", nn.Linear(1, 1)), "'copy_': a Linear made after on_train_begin"),
    ],
)
def test_what_cannot_be_given_back_is_refused_by_name(change, said):
    net, state = begun(("mine", Keeps()))
    change(callback_of(net, "mine"))
    with pytest.raises(NotPlainError) as error:
        state.state()
    assert "callback 'mine' (Keeps)" in str(error.value)
    assert said in str(error.value)


class Derived(defaultdict):
    pass


class Bag:
    def __init__(self, held):
        self.held = held

    def grow(self):
        self.held.append(1)


def counter():
    counts = [0]
    return lambda: counts.append(1)


class Holds(Callback):
    def __init__(self, held=None):
        self.held = held

    def on_train_begin(self, net, **kwargs):
        self.held_ = self.held()


@pytest.mark.parametrize(
    ("held", "change"),
    [
        (lambda: Derived(int), lambda value: value.update(a=1)),
        (lambda: type("Bag", (), {"n": 0})(), lambda value: setattr(value, "n", 1)),
        (lambda: (len, [1]), lambda value: value[1].append(2)),
        (lambda: Bag(Bag(1)), lambda value: setattr(value.held, "held", 2)),
        (lambda: Bag(np.random.default_rng(0)), lambda value: value.held.random()),
        (lambda: Bag(torch.zeros(2)), lambda value: value.held.add_(1)),
        (counter, lambda value: value()),
        (lambda: Bag([0]).grow, lambda value: value()),
        (lambda: [0].append, lambda value: value(1)),
    ],
    ids=["container", "object", "nested", "deeper", "generator", "tensor", "closure", "method", "builtin method"],
)
def test_a_visible_change_inside_what_cannot_be_stored_is_refused(held, change):
    net, state = begun(Holds(held))
    assert state.state()["Holds"] == {"attributes": {}}
    change(callback_of(net, "Holds").held_)
    with pytest.raises(NotPlainError, match="'held_'"):
        state.state()


@pytest.mark.parametrize(
    "held", [lambda: itertools.cycle([1, 2]), lambda: (n for n in (1, 2)), lambda: Bag(iter([1])), lambda: [iter([1])]]
)
def test_an_iterator_is_refused_as_it_does_not_tell_where_it_is(held):
    _, state = begun(Holds(held))
    with pytest.raises(NotPlainError, match="'held_'"):
        state.state()


def test_what_belongs_to_the_net_or_to_the_fresh_process_is_no_change(tmp_path):
    class Watches(Callback):
        def on_train_begin(self, net, **kwargs):
            self.calls_ = 0
            self.module_ = Bag(net.module_)
            self.count_ = lambda: self.calls_
            self.data_ = Bag(torch.utils.data.TensorDataset(torch.zeros(2)))
            self.mean_ = Bag(torch.zeros(2))
            self.file_ = (tmp_path / "log").open("w")

    net, state = begun(Watches())
    net.module_.train()
    with torch.no_grad():
        net.module_.weight += 1
    watches = callback_of(net, "Watches")
    watches.calls_ = 3
    saved = state.state()["Watches"]
    watches.file_.close()
    assert saved == {"attributes": {"calls_": {"value": 3}}}


@pytest.mark.parametrize(
    ("make", "draw"),
    [
        (np.random.default_rng, lambda drawn: drawn.random()),
        (np.random.RandomState, lambda drawn: drawn.random()),
        (random.Random, lambda drawn: drawn.random()),
        (lambda seed: torch.Generator().manual_seed(seed), lambda drawn: torch.rand(1, generator=drawn).item()),
    ],
    ids=["numpy", "legacy", "python", "torch"],
)
def test_random_numbers_go_on_where_they_were(make, draw):
    net, state = begun(Holds(lambda: [make(3)]))
    (own,) = callback_of(net, "Holds").held_
    first = draw(own)
    other, other_state = begun(Holds(lambda: [make(3)]))
    other_state.load_state(state.state())
    (found,) = callback_of(other, "Holds").held_
    assert draw(found) == draw(own) != first


class OwnState(Callback):
    """Gives its state itself; the rest of it is its own business."""

    def __init__(self):
        self.count_, self.secret_ = 0, None

    def state_dict(self):
        return {"count": self.count_}

    def load_state_dict(self, state):
        self.count_ = state["count"] + 100


def test_a_callback_with_state_dict_is_asked_instead():
    def use(callback):
        callback.count_, callback.secret_ = 5, object()

    found = handed_over(use, OwnState, "OwnState")
    assert (found.count_, found.secret_) == (105, None)


def test_the_object_of_a_skorch_callback_is_left_to_it():
    found = handed_over(lambda callback: setattr(callback, "bar_", object()), EarlyStopping, "EarlyStopping")
    assert not hasattr(found, "bar_")


def test_predictions_of_the_last_epoch_are_no_state():
    def predict(callback):
        callback.y_preds_.append(torch.ones(1000))

    found = handed_over(predict, lambda: EpochScoring("r2"), "EpochScoring")
    assert found.y_preds_ == []


def schedule(**options):
    return lambda: LRScheduler("StepLR", **options)


def test_a_schedule_goes_on_with_its_own_options():
    net, state = begun(schedule(step_size=2, gamma=0.5)())
    for _ in range(3):
        net.optimizer_.step()
        callback_of(net, "LRScheduler").lr_scheduler_.step()
    other, other_state = begun(schedule(step_size=2, gamma=0.1)())
    other_state.load_state(state.state())
    found = callback_of(other, "LRScheduler").lr_scheduler_
    assert (found.last_epoch, found.gamma) == (3, 0.1)
    assert found.optimizer is other.optimizer_


class Warmup(TorchSchedule):
    """Holds another schedule, as warm-up schedules do, and a function."""

    def __init__(self, optimizer, last_epoch=-1):
        self.after, self.factor = StepLR(optimizer, 1), lambda epoch: 0.5
        super().__init__(optimizer, last_epoch)

    def get_lr(self):
        return [rate * self.factor(self.last_epoch) for rate in self.base_lrs]


def test_a_schedule_inside_a_schedule_goes_on():
    def step(callback):
        callback.lr_scheduler_.after.last_epoch = 7

    found = handed_over(step, lambda: LRScheduler(Warmup), "LRScheduler").lr_scheduler_
    assert found.after.last_epoch == 7
    assert found.factor(0) == 0.5


def test_callbacks_that_are_gone_are_passed_over():
    _, state = begun(Keeps())
    other, other_state = begun()
    other_state.load_state(state.state())
    assert "Keeps" not in dict(other.callbacks_)
