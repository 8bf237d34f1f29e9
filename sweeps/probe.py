"""Probe: one epoch on this machine before a sweep is created: what it reports, how long it takes, how much memory."""

from __future__ import annotations

import gc
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import sklearn
import skorch
import torch

import trainables
from sweeps.config import ResourcesConfig
from sweeps.errors import Problem, SpecError
from sweeps.resources import all_shares
from trainables.data import TrialData
from trainables.job import TrialJob
from trainables.measurements import CudaMemory, PeakMemory, cuda_memory, machine_memory_bytes
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


@dataclass(frozen=True)
class MemoryUse:
    """What the heaviest of some configs took.

    Attributes
    ----------
    params : dict
        That config.
    n_compared : int
        How many were compared.
    process_bytes : int
        Peak resident memory of this process, data and libraries included.
    machine_bytes : int
        Memory of this machine.
    cuda : CudaMemory or None
        None where it trained on the CPU.
    notes : tuple of str
        Configs that did not train.
    epoch_s : float
        Seconds of an epoch on all rows.
    """

    params: dict[str, Any]
    n_compared: int
    process_bytes: int
    machine_bytes: int
    cuda: CudaMemory | None
    notes: tuple[str, ...] = ()
    epoch_s: float = 0.0


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
    attempt = Attempt()
    for trial, params in enumerate(configs):
        with attempt:
            return _one_epoch(job, {"trial": trial, "params": params}, whole)
    ended = f"the last one, {configs[-1]}, ended with {attempt.error}" if configs else "there is none"
    raise SpecError(Problem(f"none of {len(configs)} configs trains for one epoch; {ended}", "net"))


def weigh(job: TrialJob, configs: Sequence[dict[str, Any]], resources: ResourcesConfig) -> MemoryUse:
    """Compares what configs take of the memory on few rows, then trains the heaviest on all rows.

    Parameters
    ----------
    job : TrialJob
        What all trials share.
    configs : sequence of dict
        Params to compare; those that fail are told in the notes.
    resources : ResourcesConfig
        Of the sweep: its trials train on a GPU if they get a share of one.

    Raises
    ------
    SpecError
        Every config failed; the message has the last one's error.
    """
    device = training_device(resources)
    on_gpu = device == "cuda"
    job = job.on_device(device)
    if on_gpu:
        torch.cuda.init()  # type: ignore[no-untyped-call]  # before it no peak can be reset
    process = PeakMemory()
    process.reset()
    peaks: dict[int, int] = {}
    attempt = Attempt()
    for trial, params in enumerate(configs):
        with attempt:
            peaks[trial] = _small_peak_bytes(job, {"trial": trial, "params": params}, device)
    for trial in sorted(peaks, key=peaks.__getitem__, reverse=True):
        with attempt:
            _new_peak(device)
            seen = _one_epoch(job, {"trial": trial, "params": configs[trial]}, whole=True)
            cuda = cuda_memory(device) if on_gpu else None
            notes = [f"{attempt.failures} of the configs did not train; the last: {attempt.error}"]
            told = tuple(notes if attempt.failures else [])
            found = (process.read(), machine_memory_bytes(), cuda)
            return MemoryUse(configs[trial], len(configs), *found, notes=told, epoch_s=seen.epoch_s)
    text = f"none of {len(configs)} configs trains on all rows; the last one ended with {attempt.error}"
    raise SpecError(Problem(text, "net"))


def training_device(resources: ResourcesConfig) -> str:
    """Where this machine would train a sweep's trials."""
    on_gpu = torch.cuda.is_available() and any(share.gpu for share in all_shares(resources))
    return "cuda" if on_gpu else "cpu"


def some_rows(data: TrialData, n_train: int, n_valid: int = _MOST_ROWS) -> tuple[Split, ...]:
    """The splits of some data with at most so many rows in each; every class among them, as far as there is room."""
    y = data.y if data.classes is not None else None
    return tuple(Split(_some(split.train, n_train, y), _some(split.valid, n_valid, y)) for split in data.splits)


def _small_peak_bytes(job: TrialJob, config: dict[str, Any], device: str) -> int:
    # Whole batches, however large: their size is what it is about.
    rows = _few_rows(job, config, most=job.data.n_rows)
    small = replace(job, data=replace(job.data, splits=rows))
    memory = _new_peak(device)
    make_training(small, TensorData(small.data), config).run_epoch()
    return memory.read()


def _new_peak(device: str) -> PeakMemory:
    """A peak that begins without what trainings before have left."""
    gc.collect()
    if device == "cuda":
        torch.cuda.empty_cache()
    memory = PeakMemory(device)
    memory.reset()
    return memory


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
    is_faithful = whole or _is_faithful(training, lambda: make_training(job, data, config), state)
    rows = sum(len(split.train) for split in job.data.splits)
    return Probe(tuple(metrics), metrics["epoch_s"], rows, training.max_epochs, config["trial"], is_faithful)


def _is_faithful(training: Training, make: Callable[[], Training], state: dict[str, Any]) -> bool:
    # Ray, which starts meanwhile in another thread, may draw one of Python's random numbers: a second time counts too.
    return (
        training.finished
        or _goes_on_alike(training, make(), state)
        or (not training.finished and _goes_on_alike(training, make(), training.state()))
    )


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


def _few_rows(job: TrialJob, config: dict[str, Any], most: int = _MOST_ROWS) -> tuple[Split, ...]:
    # Whole batches: BatchNorm cannot train on a single row that is left over.
    batch_size = config["params"].get("batch_size", job.net.batch_size)
    wanted = min(_BATCHES * batch_size, most) if isinstance(batch_size, int) and batch_size > 0 else _MOST_ROWS
    # A scorer may need every class, and validation is cheap.
    return some_rows(job.data, wanted)


def _some(index: np.ndarray[Any, Any], wanted: int, y: np.ndarray[Any, Any] | None) -> np.ndarray[Any, Any]:
    """Up to ``wanted`` rows with every class among them, as far as there is room."""
    if y is None or len(index) <= wanted:
        return index[:wanted]
    _, first = np.unique(y[index], return_index=True)
    rest = np.setdiff1d(np.arange(len(index)), first)
    chosen: np.ndarray[Any, Any] = index[np.concatenate([first, rest])[:wanted]]
    return chosen


class Attempt:
    """Catches what user code raises, counts it and keeps the last error's text.

    Attributes
    ----------
    error : str
        The last error, with the line of the user's code that it comes from; empty where there was none.
    failures : int
        How many there were.
    """

    def __init__(self) -> None:
        self.error = ""
        self.failures = 0

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
        self.failures += 1
        self.error = f"{type(error).__name__}: {error} ({frame.filename}:{frame.lineno})"
        return True
