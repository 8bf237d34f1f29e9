"""What lies in a sweep's directory though its journal has superseded it; how that is shown and deleted."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

from sweeps.config import KeepConfig
from sweeps.errors import SpecError, SweepStateError
from sweeps.journal import losses
from sweeps.lock import locked
from sweeps.output import Answer, columns, fields, size_text
from sweeps.records import SweepState
from sweeps.retention import Removal, is_whole, remove, superseded
from sweeps.saved import TrialFiles, size_bytes
from sweeps.storage import SweepPaths
from sweeps.stored import read_state, stored_spec

_TRIAL = re.compile(r"trial_(\d{5,})")


def plan_gc(paths: SweepPaths, state: SweepState, keep: KeepConfig) -> list[Removal]:
    """Everything in a sweep's directory that neither its readers nor a resume nor an extension need.

    That is, once no driver runs:

    - checkpoints beyond ``keep``, as `sweeps.retention.superseded` says, and what interrupted deletions left of others;
    - ``.….part``: what processes were writing when they died;
    - ``ray/attempt-NN``: Ray's own files, which nothing reads when the attempt has ended, as all have;
    - folders of trials that the journal does not know.

    Whatever else people put there stays.

    Parameters
    ----------
    paths : SweepPaths
        The sweep; the caller holds its lock, also for a look alone, since a driver's files change and are needed.
    state : SweepState
        All its records.
    keep : KeepConfig
        What to keep of the trials.

    Returns
    -------
    list of Removal
        For `sweeps.retention.remove`; a second plan after that is empty.
    """
    folders = {int(found[1]): path for path in sorted(paths.trials.glob("trial_*")) if (found := _trial(path))}
    known = {trial: TrialFiles.read(folder) for trial, folder in folders.items() if trial in state.trials}
    unknown = [folder for trial, folder in folders.items() if trial not in state.trials]
    return [
        *superseded(state, keep, known, is_whole),
        *_removals(unknown, "a trial that the journal does not know"),
        *_removals(_parts(paths, [folders[trial] for trial in known]), "unfinished by a process that died"),
        *_removals(sorted(paths.ray(1).parent.glob("attempt-*")), "Ray's files of an attempt that has ended"),
    ]


def collect(paths: SweepPaths, *, is_dry_run: bool) -> list[Removal]:
    """Deletes what `plan_gc` finds, unless it is a dry run.

    Raises
    ------
    SpecError
        The sweep is on an object store.
    SweepStateError
        A driver is at work, the sweep cannot be read, or its journal lost records, whose checkpoints a resume takes.
    """
    if paths.remote is not None:
        raise SpecError(
            f"gc {paths.location}: is on an object store, where each trial keeps its newest two checkpoints and "
            "nothing else is left; give a sweep in a folder"
        )
    with locked(paths):
        if lost := losses(paths.journal):
            raise SweepStateError(
                f"nothing was deleted: {lost}; go on with it first (`{paths.resume_command}`), or put the journal back"
            )
        removals = plan_gc(paths, read_state(paths), stored_spec(paths).checkpoint.keep)
        if not is_dry_run:
            remove(removals)
    return removals


def gc_answer(removals: Sequence[Removal], paths: SweepPaths, *, is_dry_run: bool) -> Answer:
    """What was deleted, or would be: for people by reason, else path by path.

    Parameters
    ----------
    removals : sequence of Removal
        The plan.
    paths : SweepPaths
        The sweep.
    is_dry_run : bool
        Whether nothing was deleted.
    """
    rows = [{"path": str(item.path.relative_to(paths.root)), "bytes": item.bytes, "why": item.why} for item in removals]
    total = sum(item.bytes for item in removals)
    value = {"deleted": not is_dry_run, "bytes": total, "removals": rows}
    if not removals:
        return Answer(value, rows, [f"nothing to delete in {paths.location}"])
    by_reason = sorted(removals, key=lambda item: item.why)
    groups = [(why, list(group)) for why, group in groupby(by_reason, key=lambda item: item.why)]
    table = columns(
        [
            {"why": why, "items": len(group), "size": size_text(sum(item.bytes for item in group))}
            for why, group in groups
        ]
    )
    said = {"would free" if is_dry_run else "freed": f"{size_text(total)} in {paths.location}"}
    return Answer(value, rows, [table, "", fields(said)])


def _trial(path: Path) -> re.Match[str] | None:
    return _TRIAL.fullmatch(path.name) if path.is_dir() else None


def _parts(paths: SweepPaths, folders: Sequence[Path]) -> Iterator[Path]:
    for folder in (paths.root, paths.trials, *folders):
        yield from sorted(folder.glob(".*.part"))


def _removals(found: Iterator[Path] | Sequence[Path], why: str) -> list[Removal]:
    return [Removal(path, size_bytes(path), why) for path in found]
