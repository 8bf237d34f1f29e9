"""How long an epoch takes as a config is, compiled, with CUDA graphs and with TF32. Judges nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from statistics import median
from textwrap import shorten
from typing import Any

import torch

from sweeps.config import ResourcesConfig
from sweeps.probe import Attempt, some_rows, training_device
from sweeps.resources import share_of
from trainables.job import TrialJob
from trainables.tensors import TensorData
from trainables.trial import make_training

AS_IT_IS = "as it is"
"""Name of the variant that changes nothing."""

_EPOCHS = 4
_EPOCH_S = 2.0
_BUDGET_S = 60.0
_COMPILE = {"compile": True}
_GRAPHS = {"compile": True, "compile__mode": "reduce-overhead"}


@dataclass(frozen=True)
class Variant:
    """A way to train a config.

    Attributes
    ----------
    name : str
        For people.
    params : mapping
        What it adds to the config's params.
    matmul_precision : str or None
        Of the job.
    """

    name: str
    params: Mapping[str, Any]
    matmul_precision: str | None


@dataclass(frozen=True)
class Timing:
    """How fast a variant trains.

    Attributes
    ----------
    name : str
        Of the variant.
    epoch_s : float or None
        Seconds of an epoch on all rows: the median of those after the first; None where it did not train.
    first_extra_s : float
        Seconds that the first epoch took longer.
    again_extra_s : float
        The same of another training in the same process, which finds in PyTorch's cache what was compiled before.
    metric : float or None
        The sweep's metric after the same epochs as of the other variants.
    problem : str
        Why there is no ``epoch_s``; empty where there is.
    """

    name: str
    epoch_s: float | None = None
    first_extra_s: float = 0.0
    again_extra_s: float = 0.0
    metric: float | None = None
    problem: str = ""


def time_variants(
    job: TrialJob, params: Mapping[str, Any], resources: ResourcesConfig, epoch_s: float, budget_s: float = _BUDGET_S
) -> tuple[Timing, ...]:
    """Trains a config for a few epochs in each way that may be faster.

    Parameters
    ----------
    job : TrialJob
        What all trials share.
    params : mapping
        The config's.
    resources : ResourcesConfig
        Of the sweep: as many threads, and a GPU if its trials get a share of one.
    epoch_s : float
        Seconds of an epoch, as far as known: of long ones a part of the rows stands for all.
    budget_s : float, default=60
        Seconds after which no further variant is begun; what has begun is not interrupted.

    Returns
    -------
    tuple of Timing
        The first is of the config as it is.
    """
    device = training_device(resources)
    found = variants(job, params, device)
    job, share = _shortened(job.on_device(device), params, epoch_s)
    ends = time.monotonic() + budget_s
    with _threads(share_of(resources, params).cpu):
        return tuple(_timing(job, params, variant, share, ends) for variant in found)


def variants(job: TrialJob, params: Mapping[str, Any], device: str) -> tuple[Variant, ...]:
    """The config as it is, and each way to train it that differs from that.

    Parameters
    ----------
    job : TrialJob
        What all trials share.
    params : mapping
        The config's.
    device : {"cpu", "cuda"}
        CUDA graphs and TF32 are for CUDA alone.
    """
    precision = job.matmul_precision
    on_cuda = [Variant("CUDA graphs", _GRAPHS, precision), Variant("TF32", {}, "high")] if device == "cuda" else []
    present = job.net.get_params(deep=False) | dict(params)
    other = [Variant("compile", _COMPILE, precision), *on_cuda]
    return Variant(AS_IT_IS, {}, precision), *(variant for variant in other if _differs(variant, present, precision))


def _differs(variant: Variant, present: Mapping[str, Any], precision: str | None) -> bool:
    changes = any(name not in present or present[name] != value for name, value in variant.params.items())
    return changes or variant.matmul_precision != precision


def _timing(job: TrialJob, params: Mapping[str, Any], variant: Variant, share: float, ends: float) -> Timing:
    if time.monotonic() > ends:
        return Timing(variant.name, problem="not tried: the time for all of them was over")
    job = replace(job, matmul_precision=variant.matmul_precision)
    params = {**params, **variant.params}
    attempt = Attempt()
    with attempt:
        (first_s, *others_s), metric = _train(job, params, _EPOCHS, ends)
        usual_s = median(others_s or [first_s])
        extra_s = again_s = first_s - usual_s
        if variant.params and time.monotonic() < ends:
            again_s = _train(job, params, 1, ends)[0][0] - usual_s
        return Timing(variant.name, usual_s / share, max(0.0, extra_s), max(0.0, again_s), metric)
    # PyTorch's own errors go on with advice after an empty line.
    return Timing(variant.name, problem=shorten(attempt.error.partition("\n\n")[0], 300))


def _train(job: TrialJob, params: Mapping[str, Any], n_epochs: int, ends: float) -> tuple[list[float], float]:
    """Seconds of each epoch, of two at least if so many are wanted, and the metric after them."""
    training = make_training(job, TensorData(job.data), {"trial": 0, "params": {**params, "max_epochs": n_epochs}})
    while not training.finished and (training.epoch < 2 or time.monotonic() < ends):
        training.run_epoch()
    return [row["epoch_s"] for row in training.log], training.log[-1][job.objective.metric]


def _shortened(job: TrialJob, params: Mapping[str, Any], epoch_s: float) -> tuple[TrialJob, float]:
    """The job with epochs of about two seconds at most, and their share of the training rows."""
    share = min(1.0, _EPOCH_S / epoch_s) if epoch_s else 1.0
    if share == 1:
        return job, share
    split = job.data.splits[0]
    batch_size = params.get("batch_size", job.net.batch_size)
    whole = batch_size if isinstance(batch_size, int) and batch_size > 0 else 1  # -1 is one batch of all rows
    n_train = max(1, round(share * len(split.train) / whole)) * whole
    rows = some_rows(job.data, n_train, max(1, round(share * len(split.valid))))
    return replace(job, data=replace(job.data, splits=rows)), len(rows[0].train) / len(split.train)


@contextmanager
def _threads(cpu: float) -> Iterator[None]:
    outside = torch.get_num_threads()
    torch.set_num_threads(max(1, int(cpu)))
    try:
        yield
    finally:
        torch.set_num_threads(outside)
