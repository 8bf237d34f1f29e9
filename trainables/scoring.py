"""Scorers and epochs -> flat Metrics: the one place that names metric keys. Computes no score itself; skorch does."""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Real
from typing import Any

from sklearn.metrics import get_scorer_names
from skorch import NeuralNet
from skorch.callbacks import EpochScoring

Metrics = dict[str, float]
"""Metric key -> value of one epoch; counts and seconds are floats too, except ``epoch``, an int."""

SECONDS = ("train_s", "epoch_s")
"""Keys of an epoch that are durations: no quality of the net."""

# skorch's bookkeeping in an epoch's row that is no metric of the net.
_BOOKKEEPING = ("batches", "epoch", "dur", "train_batch_count", "valid_batch_count")


def scorer_name(metric: str) -> str | None:
    """The scikit-learn scorer behind a metric ``valid_<scorer>``, or None.

    Parameters
    ----------
    metric : str
        A metric key, such as ``"valid_r2"``.

    Returns
    -------
    str or None
        ``"r2"``; None when the key does not begin with ``valid_`` or no such scorer exists.
    """
    name = metric.removeprefix("valid_")
    return name if name != metric and name in get_scorer_names() else None


def add_scorers(net: NeuralNet, scorers: Mapping[str, Any]) -> NeuralNet:
    """Lets ``net`` record ``valid_<name>`` for each scorer, ahead of its own callbacks so that they may monitor it.

    Parameters
    ----------
    net : skorch.NeuralNet
        Changed in place; not yet initialized.
    scorers : mapping of str to str or callable
        Name -> scikit-learn scorer name or ``callable(net, X, y) -> float``, computed once an epoch on the validation
        rows from the predictions that the epoch made anyway.

    Returns
    -------
    skorch.NeuralNet
        The same net.

    Raises
    ------
    ValueError
        The net's callbacks are disabled, so that nothing can be recorded.
    """
    if not scorers:
        return net
    if net.callbacks == "disable":
        raise ValueError(
            f"the net has callbacks='disable', so that {', '.join(scorers)} cannot be scored: give it callbacks=None"
        )
    added = [
        (f"sweep_{name}", EpochScoring(scorer, name=f"valid_{name}", lower_is_better=False))
        for name, scorer in scorers.items()
    ]
    return net.set_params(callbacks=[*added, *(net.callbacks or [])])


def epoch_metrics(row: Mapping[str, Any], *, train_s: float, epoch_s: float) -> Metrics:
    """One epoch's row of skorch's history as flat metrics.

    Parameters
    ----------
    row : mapping
        The epoch's row of ``net.history``.
    train_s, epoch_s : float
        Seconds of the training part and of the whole epoch.

    Returns
    -------
    dict of str to float
        ``epoch`` (1-based int), every number in the row but skorch's bookkeeping, and the two durations.
    """
    metrics: Metrics = {"epoch": int(row["epoch"])}
    metrics |= {key: float(value) for key, value in row.items() if _is_metric(key, value)}
    return metrics | {"train_s": train_s, "epoch_s": epoch_s}


def has_diverged(metrics: Metrics, metric: str) -> bool:
    """Whether a loss or the sweep's metric of this epoch is not a finite number."""
    watched = [metrics[key] for key in ("train_loss", "valid_loss", metric) if key in metrics]
    return not all(map(math.isfinite, watched))


def _is_metric(key: str, value: object) -> bool:
    return key not in _BOOKKEEPING and isinstance(value, Real) and not isinstance(value, bool)
