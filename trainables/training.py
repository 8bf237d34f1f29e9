"""NetTraining: one net trained epoch by epoch, exactly as one ``fit`` would train it. No Ray, no files."""

from __future__ import annotations

import dis
import json
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import torch
from sklearn.base import clone
from skorch import NeuralNet
from skorch.callbacks import Callback
from skorch.dataset import Dataset

from trainables.acceleration import compile_in_place, float32_matmuls
from trainables.batches import first_batch, make_batches
from trainables.callback_state import CallbackState
from trainables.data import TrialData
from trainables.net_state import learning_modules, load_net_state, net_state
from trainables.objective import Objective
from trainables.passes import run_pass
from trainables.plain import NotPlainError, from_plain, to_plain
from trainables.randomness import OwnRandomness
from trainables.scoring import Metrics, add_scorers, epoch_metrics
from trainables.tensors import TensorData


@dataclass
class BestEpoch:
    """The epoch at which a trial was best: number, value and weights belong together.

    ``weights`` maps module name -> state dict of tensors on the CPU; empty while nothing was best.
    """

    epoch: int = 0
    value: float | None = None
    weights: dict[str, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> Self:
        """The best epoch in the state of a training."""
        return cls(**from_plain(state["best"]))


class NetTraining:
    """One net on one split, trained in steps of an epoch as if by one uninterrupted ``net.fit``.

    skorch fires ``on_train_begin`` once, draws the batches it would draw, and keeps its history. The state can be saved
    after any epoch and loaded in another process: on a CPU the weights, the optimiser, the learning rates, the
    callbacks' decisions and the history are then the same to the bit. The process's own random states are left alone.

    Not part of the state are attributes that a class derived from NeuralNet gives itself.

    Parameters
    ----------
    net : skorch.NeuralNet
        A template, never changed.
    data : TrialData or TensorData
        Rows and splits; give a `TensorData` to share tensors among trainings.
    params : mapping of str to object
        What ``net.set_params`` takes; neither changed nor kept.
    seed : int
        Seed of torch, NumPy and ``random`` before the net is initialized, 0 <= seed < 2**32.
    split : int or None, default=0
        Which split of the data; None trains on all rows and validates on none.
    scorers : mapping of str to str or callable, optional
        Further scorers, recorded as ``valid_<name>``.
    objective : Objective, optional
        Decides which epoch is the best; minimises ``valid_loss`` by default.
    matmul_precision : str, optional
        As `trainables.acceleration.float32_matmuls` takes it, while an epoch runs.

    Raises
    ------
    TypeError
        The net overrides ``fit_loop``, ``partial_fit`` or ``fit``, whose work this class does.
    ValueError
        skorch refuses the parameters, or the data does not fit the net.
    """

    def __init__(
        self,
        net: NeuralNet,
        data: TrialData | TensorData,
        params: Mapping[str, Any],
        seed: int,
        *,
        split: int | None = 0,
        scorers: Mapping[str, Any] | None = None,
        objective: Objective | None = None,
        matmul_precision: str | None = None,
    ) -> None:
        _refuse_own_loops(net)
        self.objective = objective or Objective()
        self._matmul_precision = matmul_precision
        self.log: list[Metrics] = []
        self.best = BestEpoch()
        self.finished = False
        self._ended_itself = False
        self._at_end: dict[str, Any] | None = None
        self.net = _quiet(add_scorers(clone(net), scorers or {}).set_params(**params))
        compile_in_place(self.net)
        self._randomness = OwnRandomness(seed, self.net.device)
        rows = data if isinstance(data, TensorData) else TensorData(data)
        with self._randomness.in_use():
            self._begin(rows, split)

    @property
    def epoch(self) -> int:
        """Epochs trained so far."""
        return len(self.log)

    @property
    def max_epochs(self) -> int:
        """Epochs after which the training is finished."""
        return int(self.net.max_epochs)

    def run_epoch(self) -> Metrics:
        """Trains and validates one epoch.

        Returns
        -------
        dict of str to float
            The epoch's metrics, as `trainables.scoring` names them; those of the epoch before if a callback ended the
            training amid this one.

        Raises
        ------
        RuntimeError
            The training is finished, or a callback ended it before its first epoch was complete.
        """
        if self.finished:
            raise RuntimeError(f"the training is finished after {self.epoch} epochs; make a new one to train again")
        with self._randomness.in_use(), float32_matmuls(self._matmul_precision):
            metrics = self._one_epoch()
        self._ended_itself = self.finished
        self.finished = self.finished or self.epoch >= self.max_epochs
        if self.finished:
            self._end()
        return metrics

    def first_batch(self, n_rows: int) -> Any:
        """Up to ``n_rows`` validation rows (training rows where there are none) as a batch for ``evaluation_step``."""
        return first_batch(self.net, self._train if self._valid is None else self._valid, n_rows)

    def state(self) -> dict[str, Any]:
        """Everything that a fresh `NetTraining` of the same net, data, params and seed needs to go on, as plain values.

        A training that ended by ``max_epochs`` is described as it was before ``on_train_end``, so that one with more
        epochs goes on from it as if it had never ended.

        Raises
        ------
        trainables.plain.NotPlainError
            A callback or the history holds something that cannot be stored.
        """
        if self._at_end is not None:
            return self._at_end
        return {
            "finished": self._ended_itself,
            "net": net_state(self.net),
            "log": json.dumps(self.log),
            "callbacks": self._callbacks.state(),
            "random": to_plain(self._randomness.state()),
            "best": to_plain(vars(self.best)),
        }

    def load_state(self, state: Mapping[str, Any], *, keep_options: bool = False) -> None:
        """Goes on from `state`; call it on a training that has run no epoch.

        Parameters
        ----------
        state : mapping
            What `state` returned.
        keep_options : bool, default=False
            Keep this training's own optimiser options (lr, momentum, ...) and take over weights, momenta and how far a
            learning rate schedule is: for a population that goes on from another member's weights with other
            parameters.
        """
        load_net_state(self.net, state["net"], keep_options=keep_options)
        self.log = json.loads(state["log"])
        self.best = BestEpoch.of(state)
        self._ended_itself = state["finished"]
        self.finished = self._ended_itself or self.epoch >= self.max_epochs
        self._callbacks.load_state(state["callbacks"])
        self._randomness.load_state(from_plain(state["random"]))

    def _begin(self, rows: TensorData, split: int | None) -> None:
        self.net.initialize()
        self.net.check_data(rows.source.X, rows.source.y)
        self._train, self._valid = rows.datasets(self.net, split)
        self.net.notify("on_train_begin", **_as_given(self._train))
        self._callbacks = CallbackState(self.net)
        self._train_batches = make_batches(self.net, self._train, training=True)
        self._valid_batches = None if self._valid is None else make_batches(self.net, self._valid, training=False)

    def _one_epoch(self) -> Metrics:
        start = trained = time.perf_counter()
        interrupted = False
        datasets = {"dataset_train": self._train, "dataset_valid": self._valid}
        try:
            self.net.notify("on_epoch_begin", **datasets)
            run_pass(self.net, self._train_batches, training=True)
            trained = time.perf_counter()
            run_pass(self.net, self._valid_batches, training=False)
            self.net.notify("on_epoch_end", **datasets)
        except KeyboardInterrupt as interrupt:
            if not _raised_by_callback(interrupt.__traceback__):
                raise
            self.finished = interrupted = True
        row = epoch_metrics(self.net.history[-1], train_s=trained - start, epoch_s=time.perf_counter() - start)
        if interrupted and not self._is_complete(row):
            return self._last_complete()
        self._record(row)
        return row

    def _end(self) -> None:
        if not self._ended_itself:
            with suppress(NotPlainError):  # whoever saves will hear of it
                self._at_end = self.state()  # EarlyStopping, say, may put the best weights back
        with self._randomness.in_use():
            self.net.notify("on_train_end", **_as_given(self._train))

    def _is_complete(self, row: Metrics) -> bool:
        # A callback may end the training amid an epoch, or before callbacks behind it have recorded their score.
        watched = {"train_loss", self.objective.metric}
        return (watched & self.log[-1].keys() if self.log else {"train_loss"}) <= row.keys()

    def _last_complete(self) -> Metrics:
        if not self.log:
            raise RuntimeError("a callback ended the training before its first epoch was complete")
        return self.log[-1]

    def _record(self, row: Metrics) -> None:
        self.log.append(row)
        value = row.get(self.objective.metric)
        if value is not None and self.objective.is_better(value, self.best.value):
            weights = {name: _copy(module.state_dict()) for name, module in learning_modules(self.net).items()}
            self.best = BestEpoch(self.epoch, value, {name: part for name, part in weights.items() if part})


def _refuse_own_loops(net: NeuralNet) -> None:
    loops = ("fit", "partial_fit", "fit_loop")
    own = [name for name in loops if not getattr(type(net), name).__module__.startswith("skorch.")]
    if own:
        raise TypeError(
            f"{type(net).__qualname__} overrides {' and '.join(own)}, which a sweep replaces to stop and resume "
            "between epochs: override run_single_epoch, train_step or validation_step, or use a callback, instead"
        )


def _quiet(net: NeuralNet) -> NeuralNet:
    # PrintLog builds its table for every epoch even when nothing is shown.
    has_log = net.callbacks != "disable" and any(name == "print_log" for name, _ in net.get_default_callbacks())
    return net.set_params(verbose=0, **({"callbacks__print_log": None} if has_log else {}))


def _as_given(dataset: Any) -> dict[str, Any]:
    """X and y as ``fit`` would have been given them: callbacks such as InputShapeSetter look at them."""
    return {"X": dataset.X, "y": dataset.y} if isinstance(dataset, Dataset) else {"X": dataset, "y": None}


def _copy(state_dict: Mapping[str, Any]) -> dict[str, Any]:
    tensors = {key: value for key, value in state_dict.items() if isinstance(value, torch.Tensor)}
    return {key: value.detach().to("cpu", copy=True) for key, value in tensors.items()}


def _raised_by_callback(trace: TracebackType | None) -> bool:
    """Whether a callback raised the KeyboardInterrupt, skorch's way to end a training, and not a person.

    A callback, or what it calls, says ``raise``; a person's comes up in the middle of whatever the program does.
    """
    instruction, in_callback = None, False
    while trace is not None:
        frame = trace.tb_frame
        instruction = frame.f_code.co_code[trace.tb_lasti]
        in_callback = in_callback or isinstance(frame.f_locals.get("self"), Callback)
        trace = trace.tb_next
    return in_callback and instruction == dis.opmap["RAISE_VARARGS"]
