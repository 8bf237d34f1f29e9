"""Probe: one epoch on this machine, before a sweep is created, to learn what it reports and how long it takes."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import sklearn
import skorch
import torch

import trainables
from sweeps.errors import Problem, SpecError
from trainables.job import TrialJob
from trainables.scoring import SECONDS
from trainables.splits import Split
from trainables.tensors import TensorData
from trainables.trial import Training, inference_costs, make_training

_BATCHES = 2
_MOST_ROWS = 4096
# Where an error comes up is rarely where the net went wrong: in these, its own line is further up.
_LIBRARIES = (sklearn, skorch, torch, trainables)
_NOT_THE_USERS = (__file__, *(str(Path(str(library.__file__)).parent) for library in _LIBRARIES))


@dataclass(frozen=True)
class Probe:
    """What one epoch showed.

    Attributes
    ----------
    metrics : tuple of str
        Keys that an epoch reports.
    epoch_s : float
        Seconds that it took.
    rows : int
        Training rows that it had.
    max_epochs : int
        Epochs that the config would train.
    trial : int
        Number of the config that was trained.
    is_faithful : bool, default=True
        Whether a second epoch from the saved state, in a fresh training, gave the same metrics as without saving. True
        where that was not tried: a trial of one epoch, or a probe of all rows.
    """

    metrics: tuple[str, ...]
    epoch_s: float
    rows: int
    max_epochs: int
    trial: int
    is_faithful: bool = True


def probe(job: TrialJob, configs: Sequence[dict[str, Any]], *, whole: bool = False) -> Probe:
    """Trains the first of ``configs`` that works for one epoch.

    Parameters
    ----------
    job : TrialJob
        What all trials share.
    configs : sequence of dict
        Params to try, in order; one that fails may be a bad draw, all of them are the net's or the data's fault.
    whole : bool, default=False
        Use all rows instead of two batches for training and up to 4096 rows for validation.

    Raises
    ------
    SpecError
        Every config failed; the message has the last one's error.
    """
    job = job if torch.cuda.is_available() else job.on_device("cpu")
    attempt = _Attempt()
    for trial, params in enumerate(configs):
        with attempt:
            return _one_epoch(job, {"trial": trial, "params": params}, whole)
    ended = f"the last one, {configs[-1]}, ended with {attempt.error}" if configs else "there is none"
    raise SpecError(Problem(f"none of {len(configs)} configs trains for one epoch; {ended}", "net"))


def _one_epoch(job: TrialJob, config: dict[str, Any], whole: bool) -> Probe:
    if not whole:
        job = replace(job, data=replace(job.data, splits=_few_rows(job, config)))
    data = TensorData(job.data)
    training = make_training(job, data, config)
    metrics = training.run_epoch()
    if whole and not training.finished:
        metrics = training.run_epoch()  # the first one pays for what is done once
    # What cannot be measured or saved is better known now than at the first report or checkpoint.
    inference_costs(training)
    state = training.state()
    is_faithful = whole or training.finished or _goes_on_alike(training, make_training(job, data, config), state)
    rows = sum(len(split.train) for split in job.data.splits)
    return Probe(tuple(metrics), metrics["epoch_s"], rows, training.max_epochs, config["trial"], is_faithful)


def _goes_on_alike(training: Training, fresh: Training, state: dict[str, Any]) -> bool:
    """Whether ``fresh`` with ``state`` trains the next epoch as ``training`` does, from which the state is."""
    fresh.load_state(state)
    expected, found = training.run_epoch(), fresh.run_epoch()
    keys = expected.keys() - {*SECONDS}
    # On a GPU sums may be taken in another order.
    tolerance = 0.0 if torch.device(training.net.device or "cpu").type == "cpu" else 1e-3
    return keys == found.keys() - {*SECONDS} and np.allclose(
        [expected[key] for key in keys], [found[key] for key in keys], rtol=tolerance, atol=0.0, equal_nan=True
    )


def _few_rows(job: TrialJob, config: dict[str, Any]) -> tuple[Split, ...]:
    # Whole batches: BatchNorm cannot train on a single row that is left over.
    batch_size = config["params"].get("batch_size", job.net.batch_size)
    wanted = min(_BATCHES * batch_size, _MOST_ROWS) if isinstance(batch_size, int) and batch_size > 0 else _MOST_ROWS
    y = job.data.y if job.data.classes is not None else None
    # A scorer may need every class, and validation is cheap.
    return tuple(Split(_some(split.train, wanted, y), _some(split.valid, _MOST_ROWS, y)) for split in job.data.splits)


def _some(index: np.ndarray[Any, Any], wanted: int, y: np.ndarray[Any, Any] | None) -> np.ndarray[Any, Any]:
    """Up to ``wanted`` rows with every class among them, as far as there is room."""
    if y is None or len(index) <= wanted:
        return index[:wanted]
    _, first = np.unique(y[index], return_index=True)
    rest = np.setdiff1d(np.arange(len(index)), first)
    chosen: np.ndarray[Any, Any] = index[np.concatenate([first, rest])[:wanted]]
    return chosen


class _Attempt:
    """Catches what user code raises and keeps one line of it."""

    def __init__(self) -> None:
        self.error = ""

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if not isinstance(error, Exception):
            return False
        frames = traceback.extract_tb(trace)
        users = [frame for frame in frames if not frame.filename.startswith(_NOT_THE_USERS)]
        frame = (users or frames)[-1]
        self.error = f"{type(error).__name__}: {error} ({frame.filename}:{frame.lineno})"
        return True
