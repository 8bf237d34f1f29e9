"""SweepResult: what a sweep found, read back from its journal. Starts no Ray; loads torch only for the best net."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pyarrow.csv
import pyarrow.parquet as pq

from sweeps.errors import NoTrialSucceededError
from sweeps.records import TrialRecord
from sweeps.storage import DEFAULT_STORAGE, SweepPaths, find, read_manifest, write_text
from sweeps.stored import read_state
from sweeps.strict_json import as_json
from sweeps.tables import metrics_table, trials_table

if TYPE_CHECKING:
    import pandas as pd
    from skorch import NeuralNet


class SweepResult:
    """A sweep's trials, metrics and best net.

    Parameters
    ----------
    paths : SweepPaths
        The sweep's directory.
    net : skorch.NeuralNet, optional
        The template that was tuned, for `best_net`. A sweep from a sweep.yaml names it itself.
    objects : mapping of str to mapping of str to object, optional
        Parameter -> label -> object, of what cannot be imported, for `best_net`.

    Attributes
    ----------
    state : SweepState
        All records.
    manifest : dict
        How the sweep was made.

    Raises
    ------
    SweepStateError
        Manifest or journal cannot be read.
    """

    # One method above the budget of eight: what the best is, two tables and their export are one noun's parts.

    def __init__(
        self,
        paths: SweepPaths,
        net: NeuralNet | None = None,
        objects: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        self.paths = paths
        self.manifest = read_manifest(paths)
        self.state = read_state(paths)
        self._net = net
        self._objects = objects or {}

    def __repr__(self) -> str:
        best = self.state.best
        found = f"{self.state.objective.metric} {best.best_value:.6g} in trial {best.trial}" if best else "nothing yet"
        return f"SweepResult({self.paths.location!r}: {len(self.state.trials)} trials, {found})"

    @classmethod
    def load(cls, uri: str | Path, *, storage: str | Path = DEFAULT_STORAGE, net: NeuralNet | None = None) -> Self:
        """Opens a sweep by directory, ``file://`` URI or name below ``storage``.

        Nothing that is stored in the sweep is executed.

        Raises
        ------
        SweepNotFoundError
            There is none.
        SweepStateError
            It cannot be read.
        """
        return cls(find(uri, storage), net)

    @property
    def best_trial(self) -> TrialRecord:
        """The trial whose best epoch is the sweep's.

        Raises
        ------
        NoTrialSucceededError
            No trial reported a finite value.
        """
        if self.state.best is None:
            causes = sorted({record.error.splitlines()[0] for record in self.state.trials.values() if record.error})
            raise NoTrialSucceededError(
                f"none of {len(self.state.trials)} trials of {self.paths.name} has a score"
                + (f"; causes: {'; '.join(causes)}" if causes else "")
            )
        return self.state.best

    @property
    def best_params(self) -> dict[str, Any]:
        """The best trial's config, as ``net.set_params`` takes it; objects by their import strings."""
        return dict(self.best_trial.best_params or {})

    @property
    def best_score(self) -> float:
        """The metric at the best epoch."""
        return float(self.best_trial.best_value or 0.0)

    @property
    def best_epoch(self) -> int:
        """The epoch, from 1, at which the best trial was best; its weights are `best_net`'s."""
        return int(self.best_trial.best_epoch or 0)

    @cached_property
    def best_net(self) -> NeuralNet:
        """The best net with the weights of its best epoch, ready to predict.

        Imports the net that the sweep names, as running its sweep.yaml would; all else here executes nothing.

        Raises
        ------
        NoTrialSucceededError
            No trial has a score.
        SweepStateError
            The weights were not written, or are damaged.
        SpecError
            The sweep was made in Python with a net that cannot be imported: give it to `load` as ``net``. Or one of
            its parameters was an object that cannot be imported.
        """
        from sweeps.best_net import load_best_net  # imports torch

        return load_best_net(self.paths, self.manifest, self.best_trial, self._net, self._objects)

    @property
    def trials(self) -> pd.DataFrame:
        """One row a trial; columns as `sweeps.tables.trials_table` says."""
        return trials_table(self.state).to_pandas()

    @property
    def metrics(self) -> pd.DataFrame:
        """One row a trial and epoch."""
        return metrics_table(self.state).to_pandas()

    def export(self, path: str | Path, *, what: str = "trials") -> Path:
        """Writes a table, or everything about the best trial, to a file.

        Parameters
        ----------
        path : str or Path
            Ends in ``.csv``, ``.parquet`` or ``.json``.
        what : {"trials", "metrics"}, default="trials"
            Which table.

        Returns
        -------
        Path
            The file.

        Raises
        ------
        ValueError
            The ending or the table is none of these.
        """
        target = Path(path)
        tables = {"trials": trials_table, "metrics": metrics_table}
        if what not in tables or target.suffix not in (".csv", ".parquet", ".json"):
            raise ValueError(
                f"cannot export {what!r} to {target.name!r}: what is one of trials, metrics; "
                "the file ends in .csv, .parquet or .json"
            )
        table = tables[what](self.state)
        if target.suffix == ".csv":
            pyarrow.csv.write_csv(table, target)
        elif target.suffix == ".parquet":
            pq.write_table(table, target)
        else:
            write_text(target, as_json(table.to_pylist()))
        return target
