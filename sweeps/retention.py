"""Retention: which checkpoints a sweep still needs, deletion of the others, and the least free space. Writes none."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from sweeps.config import KeepConfig
from sweeps.errors import Problem, SpecError
from sweeps.records import SweepState, TrialRecord, TrialStatus
from sweeps.saved import Saved, TrialFiles
from sweeps.storage import SweepPaths
from trainables import checkpoint
from trainables.checkpoint import CheckpointError

# A trial that has not ended goes on from the one before should the newest be damaged.
_UNFINISHED = 2


@dataclass(frozen=True)
class Removal:
    """Something that is to be deleted.

    Attributes
    ----------
    path : Path
        A directory or a file.
    bytes : int
        What that frees.
    why : str
        Why nobody needs it.
    keeps_best : bool
        It is a checkpoint whose best epoch's weights are set aside first, see `trainables.checkpoint.keep_best`.
    """

    path: Path
    bytes: int
    why: str
    keeps_best: bool = False


def superseded(
    state: SweepState, keep: KeepConfig, found: Mapping[int, TrialFiles], is_whole: Callable[[Path], bool]
) -> list[Removal]:
    """What the trials of a sweep have saved and nobody needs any more.

    A trial that has not ended (pending, running, interrupted) keeps its newest two whole checkpoints, or
    ``trial_latest`` if that is more. One that has ended keeps its newest ``trial_latest``, so that it can train for
    longer; one of the ``sweep_best`` best that ended without failing keeps at least its newest. A trial that is left
    without any keeps, if ``trial_best`` is 1, the weights of its best epoch.

    Only a whole checkpoint takes the place of others: what is damaged is not counted, and what is newer than all that
    is kept stays for people to see, unless nothing of the trial is kept at all.

    Parameters
    ----------
    state : SweepState
        The records.
    keep : KeepConfig
        What to keep.
    found : mapping of int to TrialFiles
        Trial -> what it has saved.
    is_whole : callable
        Whether a checkpoint can be trusted; asked only where something depends on it.
    """
    best = set(best_trials(state, keep.sweep_best))
    removals: list[Removal] = []
    for trial, files in found.items():
        removals += _superseded(files, _number_kept(state.trials[trial], keep, trial in best), keep, is_whole)
    return removals


def best_trials(state: SweepState, number: int, among: Iterable[int] | None = None) -> list[int]:
    """The best trials that have ended and not failed, the best first; of equal ones the sweep's best, then the first.

    Parameters
    ----------
    state : SweepState
        The records.
    number : int
        At most so many.
    among : iterable of int, optional
        Trials to choose from; by default all.
    """
    records = [state.trials[trial] for trial in (state.trials if among is None else among)]
    ranked = [
        (record is not state.best, state.objective.loss(record.best_value), record.trial)
        for record in records
        if record.best_value is not None and is_finished(record) and record.status is not TrialStatus.FAILED
    ]
    return [trial for _, _, trial in sorted(ranked)[:number]]


def is_finished(record: TrialRecord) -> bool:
    """Whether a resume leaves the trial alone."""
    return record.status.is_end and record.status is not TrialStatus.INTERRUPTED


def is_whole(directory: Path) -> bool:
    """Whether a checkpoint verifies."""
    try:
        checkpoint.verify(directory)
    except CheckpointError:
        return False
    return True


def remove(removals: Iterable[Removal]) -> int:
    """Deletes; a checkpoint that was deleted in part does not verify.

    Returns
    -------
    int
        Bytes that were freed.

    Raises
    ------
    OSError
        Something cannot be deleted; what came before it is gone, what comes after it is untouched.
    """
    freed = 0
    for removal in removals:
        if removal.keeps_best:
            checkpoint.keep_best(removal.path)
        if removal.path.is_dir():
            checkpoint.delete(removal.path)
        else:
            removal.path.unlink(missing_ok=True)
        freed += removal.bytes
    return freed


class Keeper:
    """Applies `superseded` to a running sweep, trial by trial as they end.

    The cost of an end does not grow with the number of trials. Not for several threads.

    Parameters
    ----------
    trials : Path
        Folder of the trials.
    state : SweepState
        Kept up to date by others.
    keep : KeepConfig
        What to keep.
    """

    def __init__(self, trials: Path, state: SweepState, keep: KeepConfig) -> None:
        self._trials = trials
        self._state = state
        self._keep = keep
        self._best = best_trials(state, keep.sweep_best)
        self._due: set[int] = set()
        self._unsaved: set[int] = set()
        self._late: set[int] = set()

    def retain(self, record: TrialRecord) -> None:
        """Notes that a trial has ended: what it, and the one that it outdid, need no more is deleted by `delete`."""
        rivals = {*self._best, record.trial}
        self._best = best_trials(self._state, self._keep.sweep_best, rivals)
        self._due |= {record.trial, *rivals.difference(self._best)}

    def delete(self) -> None:
        """Deletes what the ends that were noted have superseded; cheap where none was.

        Call it only when these ends are safely in the journal: a trial whose end is lost will be resumed.

        Raises
        ------
        OSError
            Something cannot be read or deleted.
        """
        if not self._due:
            return
        due = self._due | self._unsaved
        # A worker saves what it has reached only after the scheduler has stopped its trial: that is looked for once
        # more at the next end, and then not before all workers are gone.
        unsaved = {trial for trial in due if self._is_unsaved(trial)}
        self._apply(due - unsaved)
        self._late |= unsaved & self._unsaved
        self._unsaved = unsaved - self._late
        self._due = set()

    def finish(self) -> None:
        """As `delete`, also of trials whose worker was still to save them; call it once no worker runs any more."""
        self._apply(self._due | self._unsaved | self._late)
        for trials in (self._due, self._unsaved, self._late):
            trials.clear()

    def _is_unsaved(self, trial: int) -> bool:
        record = self._state.trials[trial]
        newest = max((saved.epoch for saved in self._files(trial).checkpoints), default=0)
        return record.status is TrialStatus.STOPPED and newest < record.epoch

    def _apply(self, trials: Iterable[int]) -> None:
        for trial in sorted(trials):
            record = self._state.trials[trial]
            if is_finished(record):
                number = _number_kept(record, self._keep, trial in self._best)
                remove(_superseded(self._files(trial), number, self._keep, is_whole))

    def _files(self, trial: int) -> TrialFiles:
        return TrialFiles.read(self._trials / checkpoint.trial_name(trial))


def check_keep(paths: SweepPaths, keep: KeepConfig) -> None:
    """Refuses numbers of checkpoints that would not be kept to.

    Raises
    ------
    SpecError
        The sweep is on an object store, where each trial keeps its newest two.
    """
    if paths.remote is not None and keep != KeepConfig():
        text = "on an object store each trial keeps its newest two checkpoints; leave it out, or use a folder"
        raise SpecError(Problem(text, "checkpoint.keep"))


def _number_kept(record: TrialRecord, keep: KeepConfig, is_best: bool) -> int:
    if not is_finished(record):
        return max(_UNFINISHED, keep.trial_latest)
    return max(1, keep.trial_latest) if is_best else keep.trial_latest


def _superseded(files: TrialFiles, number: int, keep: KeepConfig, is_whole: Callable[[Path], bool]) -> list[Removal]:
    """What is not needed when so many checkpoints of a trial stay."""
    removals = [_removal(saved, "half deleted before") for saved in files.remains]
    if number:
        return removals + _beyond(files, number, is_whole)
    if keep.trial_best:
        return removals + _all_but_best_weights(files, is_whole)
    every = [*files.checkpoints, *([files.best] if files.best else [])]
    return removals + [_removal(saved, "checkpoint.keep has nothing of this trial") for saved in every]


def _beyond(files: TrialFiles, number: int, is_whole: Callable[[Path], bool]) -> list[Removal]:
    if len(files.checkpoints) <= number and files.best is None:
        return []
    whole = list(islice((saved for saved in files.checkpoints if is_whole(saved.path)), number))
    oldest = whole[-1].epoch if len(whole) == number else 0
    removals = [
        _removal(saved, "older than what checkpoint.keep has") for saved in files.checkpoints if saved.epoch < oldest
    ]
    if whole and files.best:
        removals.append(_removal(files.best, "the newest checkpoint holds the best weights"))
    return removals


def _all_but_best_weights(files: TrialFiles, is_whole: Callable[[Path], bool]) -> list[Removal]:
    newest = next((saved for saved in files.checkpoints if is_whole(saved.path)), None)
    if newest is None:
        return []
    reduced = Removal(newest.path, newest.state_bytes, "checkpoint.keep has the best weights of this trial only", True)
    older = [saved for saved in files.checkpoints if saved.epoch < newest.epoch]
    # The newest goes last: were it gone and an older one there, that would pass for what the trial has reached.
    return [*(_removal(saved, "older than what checkpoint.keep has") for saved in older), reduced]


def _removal(saved: Saved, why: str) -> Removal:
    return Removal(saved.path, saved.bytes, why)
