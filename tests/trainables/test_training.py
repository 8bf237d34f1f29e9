"""Trained in steps, saved to disk and continued by another process, a net is the one that a single `fit` gives."""

from __future__ import annotations

import inspect
import random
import signal
import subprocess
import sys
from collections import deque
from pathlib import Path
from typing import Any

import faithful_cases as cases
import numpy as np
import pytest
import torch
from faithful_cases import EPOCHS, SEED, SPLIT, classifier
from skorch import NeuralNetClassifier
from skorch.callbacks import Callback, EarlyStopping, EpochScoring, LRScheduler
from skorch.dataset import Dataset
from skorch.helper import predefined_split

from trainables import checkpoint
from trainables.data import TrialData
from trainables.objective import Objective
from trainables.plain import NotPlainError
from trainables.training import NetTraining

SAVED_AFTER = 9
SAVED_AT_ONCE = ("adam", "early_stopping_best", "plateau", "one_cycle", "noise")
CONTINUED = [*((name, SAVED_AFTER) for name in cases.CASES), *((name, 1) for name in SAVED_AT_ONCE)]
STOPS_EARLY = ("early_stopping", "early_stopping_best")


def fit_at_once(name: str) -> NeuralNetClassifier:
    """The net of a case as unmodified skorch trains it."""
    rows, net = cases.rows_of(name), cases.CASES[name]()
    X_valid, y_valid = rows.part(SPLIT.valid)
    valid = X_valid if isinstance(X_valid, torch.utils.data.Dataset) else Dataset(X_valid, y_valid)
    net.set_params(train_split=predefined_split(valid), verbose=0)
    torch.manual_seed(SEED)
    np.random.seed(SEED)
    random.seed(SEED)
    return net.fit(*rows.part(SPLIT.train))


@pytest.fixture(scope="module")
def continued(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with every case's checkpoints, from which another process has gone on to the end."""
    folder = tmp_path_factory.mktemp("continued")
    for name in cases.CASES:
        training = cases.make_training(name)
        while training.epoch < SAVED_AFTER:
            training.run_epoch()
            if (name, training.epoch) in CONTINUED:
                checkpoint.save(training.state(), folder / f"{name}-{training.epoch}", epoch=training.epoch)
    subprocess.run([sys.executable, cases.__file__, folder, *cases.CASES], check=True)
    return folder


@pytest.fixture(scope="module")
def at_once() -> dict[str, NeuralNetClassifier]:
    return {}


@pytest.fixture
def fitted(request: pytest.FixtureRequest, at_once: dict[str, Any]) -> NeuralNetClassifier:
    name = request.node.callspec.params["name"]
    if name not in at_once:
        at_once[name] = fit_at_once(name)
    return at_once[name]


def finished_training(folder: Path, name: str, epoch: int) -> NetTraining:
    training = cases.make_training(name)
    training.load_state(checkpoint.load(folder / f"{name}-{epoch}-end"))
    return training


def without_duration(history: Any) -> list[dict[str, Any]]:
    return [{key: value for key, value in row.items() if key != "dur"} for row in history]


def assert_same(value: Any, expected: Any) -> None:
    """Equal to the bit, tensors and containers alike."""
    if isinstance(expected, torch.Tensor):
        assert torch.equal(value, expected)
    elif isinstance(expected, dict):
        assert value.keys() == expected.keys()
        for key in expected:
            assert_same(value[key], expected[key])
    elif isinstance(expected, (list, tuple)):
        assert len(value) == len(expected)
        for part, other in zip(value, expected, strict=True):
            assert_same(part, other)
    else:
        assert value == expected


@pytest.mark.parametrize(("name", "epoch"), CONTINUED)
def test_another_process_goes_on_as_if_never_interrupted(
    name: str, epoch: int, continued: Path, fitted: NeuralNetClassifier
):
    training = finished_training(continued, name, epoch)
    net = training.net
    assert training.finished
    assert_same(without_duration(net.history), without_duration(fitted.history))
    assert_same(net.module_.state_dict(), fitted.module_.state_dict())
    assert_same(net.criterion_.state_dict(), fitted.criterion_.state_dict())
    assert_same(net.optimizer_.state_dict(), fitted.optimizer_.state_dict())


@pytest.mark.parametrize("name", ["sgd", "early_stopping_best", "plateau", "one_cycle", "dataset"])
def test_a_training_in_steps_equals_one_fit(name: str, fitted: NeuralNetClassifier):
    training = cases.make_training(name)
    while not training.finished:
        training.run_epoch()
    assert_same(without_duration(training.net.history), without_duration(fitted.history))
    assert_same(training.net.module_.state_dict(), fitted.module_.state_dict())


@pytest.mark.parametrize("name", cases.CASES)
def test_a_training_that_ended_goes_on_with_more_epochs_as_if_it_never_had(
    name: str, fitted: NeuralNetClassifier, tmp_path: Path
):
    short = cases.make_training(name, max_epochs=SAVED_AFTER)
    while not short.finished:
        short.run_epoch()
    assert short.epoch == SAVED_AFTER
    checkpoint.save(short.state(), tmp_path / "end", epoch=SAVED_AFTER)
    training = cases.make_training(name)
    training.load_state(checkpoint.load(tmp_path / "end"))
    while not training.finished:
        training.run_epoch()
    assert_same(without_duration(training.net.history), without_duration(fitted.history))
    assert_same(training.net.module_.state_dict(), fitted.module_.state_dict())
    assert_same(training.net.optimizer_.state_dict(), fitted.optimizer_.state_dict())


class Flattens(Callback):
    """Spoils the weights, the random numbers and itself when a training ends."""

    def on_train_end(self, net: Any, **kwargs: Any) -> None:
        self.ended_ = True
        flatten(net)


class FlattensItself(NeuralNetClassifier):
    """As `Flattens`, without any callback."""

    def on_train_end(self, net: Any, **kwargs: Any) -> None:
        flatten(net)


def flatten(net: Any) -> None:
    torch.rand(3)
    with torch.no_grad():
        next(net.module_.parameters()).zero_()


@pytest.mark.parametrize(
    "net",
    [classifier(Flattens(), max_epochs=6), classifier(kind=FlattensItself, max_epochs=6, callbacks="disable")],
    ids=["callback", "net"],
)
def test_what_the_end_of_a_training_does_is_in_its_net_and_not_in_what_goes_on_from_it(net: NeuralNetClassifier):
    def train(max_epochs: int, state: Any = None) -> NetTraining:
        rows = cases.rows_of("sgd")
        data = TrialData.make(rows.X, rows.y, target="classifier", validation=[(SPLIT.train, SPLIT.valid)])
        training = NetTraining(net, data, {"max_epochs": max_epochs}, SEED)
        if state is not None:
            training.load_state(state)
        while not training.finished:
            training.run_epoch()
        return training

    short, whole = train(2), train(6)
    assert not next(short.net.module_.parameters()).any()
    longer = train(6, short.state())
    assert_same(without_duration(longer.net.history), without_duration(whole.net.history))
    assert_same(longer.state()["net"]["modules"], whole.state()["net"]["modules"])
    assert_same(longer.state()["random"], whole.state()["random"])


@pytest.mark.parametrize("name", STOPS_EARLY)
def test_a_training_that_early_stopping_ended_has_ended_for_any_number_of_epochs(name: str):
    short = cases.make_training(name)
    while not short.finished:
        short.run_epoch()
    longer = cases.make_training(name, max_epochs=10 * EPOCHS)
    longer.load_state(short.state())
    assert longer.finished
    assert_same(longer.net.module_.state_dict(), short.net.module_.state_dict())


@pytest.mark.parametrize("name", STOPS_EARLY)
def test_early_stopping_really_stopped(name: str, fitted: NeuralNetClassifier):
    assert SAVED_AFTER < len(fitted.history) < EPOCHS


@pytest.mark.parametrize("name", ["early_stopping_best"])
def test_the_best_weights_came_back(name: str, fitted: NeuralNetClassifier, at_once: dict[str, Any]):
    latest = at_once.setdefault("early_stopping", fit_at_once("early_stopping"))
    assert not torch.equal(fitted.module_.a.weight, latest.module_.a.weight)


@pytest.mark.parametrize("name", ["step", "plateau", "warm_restart", "lambda", "cosine"])
def test_the_learning_rate_really_changed_after_the_checkpoint(name: str, fitted: NeuralNetClassifier):
    assert len(set(fitted.history[SAVED_AFTER:, "event_lr"])) > 1


@pytest.mark.parametrize("name", ["two_optimizers"])
def test_every_module_and_optimizer_goes_on(name: str, continued: Path, fitted: NeuralNetClassifier):
    net = finished_training(continued, name, 9).net
    assert_same(net.second_.state_dict(), fitted.second_.state_dict())
    assert_same(net.rival_.state_dict(), fitted.rival_.state_dict())


def test_a_finished_training_stays_finished(continued: Path):
    training = finished_training(continued, "early_stopping", 9)
    with pytest.raises(RuntimeError, match="finished after"):
        training.run_epoch()


def test_trainings_by_turns_equal_one_after_the_other():
    names = ("sgd", "noise")
    alone = [cases.make_training(name) for name in names]
    for training in alone:
        for _ in range(3):
            training.run_epoch()
    turns = [cases.make_training(name) for name in names]
    for _ in range(3):
        for training in turns:
            training.run_epoch()
    for training, other in zip(turns, alone, strict=True):
        assert_same(training.net.module_.state_dict(), other.net.module_.state_dict())
        assert_same(without_duration(training.net.history), without_duration(other.net.history))


def test_the_random_numbers_of_the_process_are_untouched():
    def peek() -> list[Any]:
        return [torch.get_rng_state().tolist(), str(np.random.get_state()), random.getstate()]

    before = peek()
    training = cases.make_training("noise")
    training.run_epoch()
    other = cases.make_training("noise")
    other.load_state(training.state())
    assert peek() == before


def data(n_rows: int = 60) -> TrialData:
    rng = np.random.default_rng(1)
    X = rng.standard_normal((n_rows, cases.N_FEATURES)).astype("float32")
    return TrialData.make(X, (X[:, 0] > 0).astype("int64"), target="classifier")


def train(*callbacks: Any, epochs: int = 2, **params: Any) -> NetTraining:
    training = NetTraining(classifier(*callbacks), data(), {"max_epochs": 5} | params, SEED)
    for _ in range(epochs):
        training.run_epoch()
    return training


def continued_from(training: NetTraining, *callbacks: Any, **params: Any) -> NetTraining:
    other = NetTraining(classifier(*callbacks), data(), {"max_epochs": 5} | params, SEED)
    other.load_state(training.state())
    return other


class Holder(Callback):
    """Holds `first` from the start and `later` from the second epoch on."""

    def __init__(self, first: Any = None, later: Any = None, change: Any = None) -> None:
        self.first = first
        self.later = later
        self.change = change

    def on_train_begin(self, net, **kwargs):
        self.first_ = self.first() if self.first else None

    def on_epoch_begin(self, net, **kwargs):
        if self.later:
            self.later_ = self.later()
        if self.change:
            self.change(self.first_)


class Tally:
    def __init__(self) -> None:
        self.n = 0


def grow(tally: Tally) -> None:
    tally.n += 1


@pytest.mark.parametrize(
    ("holder", "kind"),
    [
        (Holder(later=object), "builtins.object"),
        (Holder(first=deque, change=lambda held: held.append(1)), "collections.deque"),
        (Holder(first=Tally, change=grow), "Tally"),
        (Holder(later=lambda: torch.nn.Linear(1, 1)), "Linear made after on_train_begin"),
        (Holder(later=lambda: np.array([object()])), "NumPy array of objects"),
        (Holder(first=lambda: torch.zeros(1), later=lambda: torch.zeros(1, requires_grad=True)), "requires a gradient"),
    ],
)
def test_a_callback_that_cannot_be_stored_is_named_with_its_attribute(holder: Holder, kind: str):
    training = train(("mine", holder))
    with pytest.raises(NotPlainError) as error:
        training.state()
    message = str(error.value)
    assert "'mine'" in message
    assert "Holder" in message
    assert "first_" in message or "later_" in message
    assert kind in message
    assert "state_dict()" in message


@pytest.mark.parametrize("first", [object, Tally, deque, lambda: print, lambda: torch.device("cpu")])
def test_what_a_fresh_process_makes_anew_is_left_to_it(first: Any):
    other = continued_from(train(Holder(first=first)), Holder(first=first))
    assert other.epoch == 2


def test_a_history_that_cannot_be_stored_is_refused():
    class Records(Callback):
        def on_epoch_end(self, net, **kwargs):
            net.history.record("what", object())

    with pytest.raises(NotPlainError, match="history holds a object"):
        train(Records()).state()


class Ends(Callback):
    """Ends the training as EarlyStopping does, in its ``at``-th call of ``when``."""

    def __init__(self, when: str = "on_epoch_end", at: int = 2) -> None:
        self.when = when
        self.at = at

    def initialize(self):
        self.calls_ = 0
        return self

    def count(self, when: str) -> None:
        self.calls_ += when == self.when
        if self.calls_ == self.at:
            raise KeyboardInterrupt

    def on_epoch_begin(self, net, **kwargs):
        self.count("on_epoch_begin")

    def on_batch_end(self, net, **kwargs):
        self.count("on_batch_end")

    def on_epoch_end(self, net, **kwargs):
        self.count("on_epoch_end")

    def on_train_end(self, net, **kwargs):
        self.ended_ = True


@pytest.mark.parametrize(
    ("when", "at", "complete"), [("on_epoch_end", 2, 2), ("on_epoch_begin", 2, 1), ("on_batch_end", 6, 1)]
)
def test_an_interrupt_by_a_callback_ends_the_training_with_its_last_whole_epoch(when: str, at: int, complete: int):
    training = train(Ends(when, at), epochs=2)
    assert training.finished
    assert training.epoch == len(training.log) == complete
    assert dict(training.net.callbacks_)["Ends"].ended_
    assert continued_from(training, Ends(when, at)).finished


def test_a_training_that_ends_before_its_first_epoch_says_so():
    with pytest.raises(RuntimeError, match="before its first epoch"):
        train(Ends("on_batch_end", 1), epochs=1)


def test_an_interrupt_ahead_of_a_score_leaves_out_the_epoch_without_it():
    score = EpochScoring("accuracy", name="valid_mine", lower_is_better=False)
    net = classifier(Ends(at=3), score)
    training = NetTraining(net, data(), {}, SEED, objective=Objective("valid_mine", maximize=True))
    while not training.finished:
        training.run_epoch()
    assert [row["epoch"] for row in training.log] == [1, 2]
    assert "valid_mine" in training.log[-1]


def end() -> None:
    raise KeyboardInterrupt


def test_an_interrupt_that_a_helper_of_a_callback_raises_ends_the_training_too():
    class Delegates(Callback):
        def on_epoch_end(self, net, **kwargs):
            if len(net.history) == 2:
                end()

    training = train(Delegates())
    assert training.finished
    assert training.epoch == 2


def press(*args: Any, **kwargs: Any) -> Any:
    """Ctrl-C in the middle of something."""
    signal.raise_signal(signal.SIGINT)


class Slow(Callback):
    def on_epoch_end(self, net, **kwargs):
        press()


class Tidies(Callback):
    """Passes on what comes up."""

    def on_epoch_end(self, net, **kwargs):
        try:
            press()
        except KeyboardInterrupt:
            self.seen_ = True
            raise


@pytest.mark.parametrize("callback", [EpochScoring(press, name="x"), Slow(), Tidies(), None])
def test_an_interrupt_by_a_person_is_passed_on(callback: Callback | None, monkeypatch: pytest.MonkeyPatch):
    training = train(*[callback] if callback else [], epochs=0)
    if callback is None:
        monkeypatch.setattr(training.net.module_, "forward", press)
    with pytest.raises(KeyboardInterrupt):
        training.run_epoch()
    assert not training.finished


def test_a_net_with_a_loop_of_its_own_is_refused():
    class Loop(NeuralNetClassifier):
        def fit_loop(self, X, y=None, epochs=None, **fit_params):
            return super().fit_loop(X, y, epochs, **fit_params)

        def fit(self, X, y, **fit_params):
            return super().fit(X, y, **fit_params)

    with pytest.raises(TypeError, match=r"Loop overrides fit and fit_loop.*override run_single_epoch"):
        NetTraining(classifier(kind=Loop), data(), {}, SEED)


def own_params(net: NeuralNetClassifier) -> dict[str, Any]:
    """Without those of the callbacks that skorch makes anew at each call."""
    return {key: value for key, value in net.get_params().items() if not key.startswith("callbacks__")}


def test_template_and_params_are_left_alone():
    net, params = classifier(EarlyStopping()), {"lr": 0.3, "module__n_out": 3, "max_epochs": 1}
    before, given = own_params(net), dict(params)
    training = NetTraining(net, data(), params, SEED)
    training.run_epoch()
    assert own_params(net) == before
    assert params == given
    assert not net.initialized_
    assert training.net.lr == 0.3
    assert training.finished


def test_nothing_is_printed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    # A Ray that ran in this process leaves another print behind, and skorch compares its sink with the builtin.
    monkeypatch.setattr("builtins.print", inspect.signature(EarlyStopping).parameters["sink"].default)
    train(EarlyStopping(patience=1, threshold=10.0, load_best=True), epochs=2, verbose=1)
    assert capsys.readouterr().out == ""


def test_the_data_survive_a_module_that_works_in_place():
    rows = data()
    before = rows.X.copy()
    training = NetTraining(classifier(iterator_train__shuffle=False), rows, {"max_epochs": 1}, SEED)
    training.run_epoch()
    training.net.evaluation_step(training.first_batch(5))
    np.testing.assert_array_equal(rows.X, before)
    assert torch.equal(training.first_batch(5)[0], torch.from_numpy(before[rows.splits[0].valid[:5]]))


def test_the_best_epoch_keeps_its_own_weights():
    class Spoil(Callback):
        """Makes every epoch after the second one worse."""

        def on_epoch_begin(self, net, **kwargs):
            if len(net.history) > 2:
                with torch.no_grad():
                    net.module_.b.weight *= -20

    training = train(Spoil(), epochs=2)
    weights = {key: value.clone() for key, value in training.net.module_.state_dict().items()}
    for _ in range(3):
        training.run_epoch()
    assert training.best.epoch == 2
    assert training.best.value == training.log[1]["valid_loss"]
    assert_same(training.best.weights, {"module": weights})
    assert_same(continued_from(training, Spoil()).best.weights, {"module": weights})


def test_without_a_split_all_rows_are_trained_on_and_none_validated():
    training = NetTraining(classifier(), data(), {"max_epochs": 1}, SEED, split=None)
    metrics = training.run_epoch()
    assert sum(row["train_batch_size"] for row in training.net.history[-1]["batches"]) == 60
    assert "valid_loss" not in metrics
    assert len(training.first_batch(100)[0]) == 60


def test_other_options_keep_their_own_rate_and_take_over_the_momenta():
    training = train(epochs=3, lr=0.05)
    other = NetTraining(classifier(), data(), {"max_epochs": 5, "lr": 0.2, "optimizer__momentum": 0.5}, SEED)
    other.load_state(training.state(), keep_options=True)
    (group,) = other.net.optimizer_.param_groups
    assert (group["lr"], group["momentum"]) == (0.2, 0.5)
    assert_same(other.net.module_.state_dict(), training.net.module_.state_dict())
    assert_same(other.net.optimizer_.state_dict()["state"], training.net.optimizer_.state_dict()["state"])


@pytest.mark.parametrize(
    ("policy", "options", "expected"),
    [
        ("StepLR", {"step_size": 2, "gamma": 0.1}, [0.02, 0.002, 0.002]),
        ("LambdaLR", {"lr_lambda": cases.halve}, [0.2, 0.1, 0.1]),
    ],
)
def test_with_other_options_a_schedule_goes_on_from_the_own_rate(policy: str, options: Any, expected: list[float]):
    training = train(LRScheduler(policy, **options), epochs=3, lr=0.05)
    other = NetTraining(classifier(LRScheduler(policy, **options)), data(), {"max_epochs": 6, "lr": 0.2}, SEED)
    other.load_state(training.state(), keep_options=True)
    rates = []
    while not other.finished:
        rates.append(other.net.optimizer_.param_groups[0]["lr"])
        other.run_epoch()
    assert rates == pytest.approx(expected)


def test_scorers_and_callbacks_fill_the_metrics():
    training = NetTraining(classifier(), data(), {"max_epochs": 1}, SEED, scorers={"f1": "f1_macro"})
    metrics = training.run_epoch()
    assert metrics.keys() >= {"epoch", "train_loss", "valid_loss", "valid_acc", "valid_f1", "train_s", "epoch_s"}
    assert 0 < metrics["train_s"] <= metrics["epoch_s"]
