"""FoldsTraining: one net per fold, trained epoch by epoch together, seen as one training. Draws no folds itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from skorch import NeuralNet

from trainables.objective import Objective
from trainables.plain import to_plain
from trainables.scoring import SECONDS, Metrics
from trainables.tensors import TensorData
from trainables.training import BestEpoch, NetTraining


class FoldsTraining:
    """Cross-validation inside one trial: the same surface as `NetTraining`, its metrics the means over the folds.

    Each metric ``m`` is joined by ``m_std``, its standard deviation over the folds; seconds are summed instead. A fold
    that ends early (EarlyStopping) goes on counting with its last epoch's metrics. No weights are kept as the best: the
    nets of the folds have seen less than all rows.

    Parameters
    ----------
    net : skorch.NeuralNet
        A template, never changed.
    data : TensorData
        With one split a fold.
    params : mapping of str to object
        What ``net.set_params`` takes.
    seed : int
        Of every fold's net: folds differ by their rows alone.
    scorers : mapping of str to str or callable
        Further scorers, recorded as ``valid_<name>``.
    objective : Objective
        Decides which epoch is the best.
    matmul_precision : str, optional
        As `NetTraining` takes it.
    """

    def __init__(
        self,
        net: NeuralNet,
        data: TensorData,
        params: Mapping[str, Any],
        seed: int,
        *,
        scorers: Mapping[str, Any],
        objective: Objective,
        matmul_precision: str | None = None,
    ) -> None:
        folds = range(len(data.source.splits))
        self.objective = objective
        self.best = BestEpoch()
        self.log: list[Metrics] = []
        shared: dict[str, Any] = {"scorers": scorers, "objective": objective, "matmul_precision": matmul_precision}
        self._folds = [NetTraining(net, data, params, seed, split=fold, **shared) for fold in folds]

    @property
    def net(self) -> NeuralNet:
        """The first fold's net, which stands for all in measurements of its cost."""
        return self._folds[0].net

    @property
    def epoch(self) -> int:
        """Epochs trained so far, of the fold that has trained longest."""
        return len(self.log)

    @property
    def max_epochs(self) -> int:
        """Epochs after which the training is finished."""
        return self._folds[0].max_epochs

    @property
    def finished(self) -> bool:
        """Whether every fold is."""
        return all(fold.finished for fold in self._folds)

    def run_epoch(self) -> Metrics:
        """Trains and validates one epoch of every unfinished fold; the means over all folds.

        Raises
        ------
        RuntimeError
            Every fold is finished.
        """
        if self.finished:
            raise RuntimeError(f"all folds are finished after {self.epoch} epochs; make a new training to train again")
        trained = [fold.run_epoch() for fold in self._folds if not fold.finished]
        seconds = {key: sum(row[key] for row in trained) for key in SECONDS}
        metrics = _over_folds([fold.log[-1] for fold in self._folds]) | seconds | {"epoch": self.epoch + 1}
        self.log.append(metrics)
        value = metrics.get(self.objective.metric)
        if value is not None and self.objective.is_better(value, self.best.value):
            self.best = BestEpoch(self.epoch, value)
        return metrics

    def first_batch(self, n_rows: int) -> Any:
        """Up to ``n_rows`` validation rows of the first fold as a batch for ``evaluation_step``."""
        return self._folds[0].first_batch(n_rows)

    def state(self) -> dict[str, Any]:
        """The folds' states, as plain values."""
        folds = [fold.state() for fold in self._folds]
        return {"folds": folds, "log": json.dumps(self.log), "best": to_plain(vars(self.best))}

    def load_state(self, state: Mapping[str, Any], *, keep_options: bool = False) -> None:
        """Goes on from `state` as `NetTraining.load_state` does; call it on a training that has run no epoch."""
        for fold, saved in zip(self._folds, state["folds"], strict=True):
            fold.load_state(saved, keep_options=keep_options)
        self.log = json.loads(state["log"])
        self.best = BestEpoch.of(state)


def _over_folds(rows: list[Metrics]) -> Metrics:
    shared = [key for key in rows[0] if key not in ("epoch", *SECONDS) and all(key in row for row in rows)]
    columns = {key: np.array([row[key] for row in rows]) for key in shared}
    means = {key: float(values.mean()) for key, values in columns.items()}
    return means | {f"{key}_std": float(values.std()) for key, values in columns.items()}
