"""TrialJob: what all trials of a sweep share, and how it travels to the workers. Trains nothing."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import cloudpickle  # type: ignore[import-untyped]  # comes without hints
import numpy as np
from sklearn.base import clone
from skorch import NeuralNet
from torch.utils.data import Dataset

from trainables.data import TrialData, target_kind
from trainables.node_data import FileRows
from trainables.objective import Objective
from trainables.remote import RemoteFolder


@dataclass(frozen=True)
class TrialJob:
    """What all trials of a sweep share.

    Attributes
    ----------
    net : skorch.NeuralNet
        Template, not initialized.
    data : TrialData
        Rows and splits.
    objective : Objective
        The sweep's metric and its goal.
    trials : Path
        Folder in which each trial has a folder of its own for checkpoints.
    seed : int
        The sweep's seed; trial ``n`` trains with a seed made of both.
    scorers : mapping of str to str or callable
        Further scorers.
    objects : mapping of str to mapping of str to object
        Parameter -> label in the config -> the object that the net gets.
    rungs : tuple of int
        Epochs at which the scheduler compares; a report never passes one.
    report_every_s : float
        Epochs are reported together for this long.
    checkpoint_every_s : float
        A running trial is saved this often, and at every rung and at its end.
    keep_latest : int
        A running trial's newest checkpoints that stay: with two it goes on even where the newest is damaged.
    attempt : int
        The sweep's attempt, from 1, whose claim to ``trials`` its workers check.
    exploits : bool
        Whether trials go on from each other's weights, with params that change.
    hang_s : float
        Least seconds without an epoch before a worker ends itself.
    epoch_estimate_s : float
        Seconds that an epoch may take as far as is known before the first one.
    matmul_precision : str or None
        Of float32 matrices while an epoch runs; None leaves it as the process has it.
    mirror : RemoteFolder or None
        The folder of the trials on the sweep's object store, to and from which checkpoints go; ``trials`` is then a
        folder on each worker's own machine.
    source : mapping or None
        Description of the files that ``data`` was read from, with an absolute path or a URI, where each node is to read
        them for itself; None where the rows travel.
    """

    net: NeuralNet
    data: TrialData
    objective: Objective
    trials: Path
    seed: int = 0
    scorers: Mapping[str, Any] = field(default_factory=dict)
    objects: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    rungs: tuple[int, ...] = ()
    report_every_s: float = 0.5
    checkpoint_every_s: float = 30.0
    keep_latest: int = 2
    attempt: int = 1
    exploits: bool = False
    hang_s: float = 300.0
    epoch_estimate_s: float = 0.0
    matmul_precision: str | None = None
    mirror: RemoteFolder | None = None
    source: Mapping[str, Any] | None = None

    def on_device(self, device: str) -> TrialJob:
        """The same job with the net on another device."""
        return replace(self, net=clone(self.net).set_params(device=device))


@dataclass(frozen=True)
class PackedJob:
    """A job on its way to a worker; what user code defines is opened only once its folders can be imported from.

    Attributes
    ----------
    search_path : tuple of str
        Folders of user modules.
    data : TrialData, FileRows or None
        Arrays, which workers of one node then share in Ray's object store; or what each node reads for itself. None for
        a torch dataset, which is user code and may write to what it holds, so each worker has its own.
    content : bytes
        The rest, pickled.
    """

    search_path: tuple[str, ...]
    data: TrialData | FileRows | None
    content: bytes

    @classmethod
    def pack(cls, job: TrialJob, search_path: Sequence[Path]) -> Self:
        """Packs a job; rows that each node reads for itself are left for the workers of this one.

        Parameters
        ----------
        job : TrialJob
            What to pack.
        search_path : sequence of Path
            Folders from which its net, data and scorers were imported.
        """
        folders = tuple(str(folder) for folder in search_path)
        if isinstance(job.data.X, Dataset):
            return cls(folders, None, cloudpickle.dumps(job))
        content = cloudpickle.dumps(replace(job, data=None))  # type: ignore[arg-type]  # on its way
        if job.source is None:
            return cls(folders, _in_one_piece(job.data), content)
        rows = FileRows.of(job.data, job.source, target_kind(job.net))
        rows.keep_here(job.data)
        return cls(folders, rows, content)

    def unpack(self) -> TrialJob:
        """The job; its folders are importable in this process from now on.

        Raises
        ------
        RuntimeError
            Data that each node reads for itself cannot be read here, or are not those of the driver.
        """
        sys.path[:] = dict.fromkeys([*self.search_path, *sys.path])  # in this order, as on the driver
        job: TrialJob = cloudpickle.loads(self.content)
        if self.data is None:
            return job
        return replace(job, data=self.data.open() if isinstance(self.data, FileRows) else self.data)


def _in_one_piece(data: TrialData) -> TrialData:
    # An object store shares an array only where its bytes follow each other; of others each worker gets a copy.
    X: Any = data.X
    whole = {key: np.ascontiguousarray(part) for key, part in X.items()} if isinstance(X, dict) else None
    y = None if data.y is None else np.ascontiguousarray(data.y)
    return replace(data, X=np.ascontiguousarray(X) if whole is None else whole, y=y)
