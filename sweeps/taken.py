"""TakenSweep: a sweep's directory in the hands of one driver, with its lock, manifest and records. Runs nothing."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from sweeps.attempt import Attempt
from sweeps.best_net import is_current
from sweeps.config import SweepConfig
from sweeps.creation import clear_unfinished
from sweeps.errors import SweepStateError
from sweeps.extension import Extension, prolonged
from sweeps.fingerprints import comparable, spec_differences
from sweeps.hold import Hold
from sweeps.journal import Journal
from sweeps.lock import locked
from sweeps.plan import SweepPlan
from sweeps.progress import Watcher
from sweeps.records import SweepState, TrialStatus
from sweeps.storage import SweepPaths, push, read_manifest, write_text
from sweeps.stored import read_state, stored_spec


@dataclass(frozen=True)
class TakenSweep:
    """A sweep that this process alone may write to.

    Attributes
    ----------
    paths : SweepPaths
        Where it lies.
    manifest : dict
        How it was made.
    state : SweepState
        All records.
    hold : Hold
        Of its lock.
    """

    paths: SweepPaths
    manifest: dict[str, Any]
    state: SweepState
    hold: Hold

    @property
    def n_trials(self) -> int:
        """How many trials it is to have so far."""
        planned = int(self._aims["n_trials"])
        if self.state.spec is None:
            return planned
        return max(planned, stored_spec(self.paths).searcher.num_samples or 0)  # no attempt has followed an extension

    @property
    def max_epochs(self) -> int:
        """Most epochs of a trial so far."""
        return int(self._aims["max_epochs"])

    @property
    def is_closed(self) -> bool:
        """Whether its last attempt came to its end, with tables and best net written, and those are still there."""
        if not self.state.attempts or self.state.attempts[-1].get("reason") != "complete":
            return False
        tables = (self.paths.trials_table, self.paths.metrics_table)
        has_best = self.state.best is None or is_current(self.paths, self.state.best)
        return has_best and all(path.exists() for path in tables)

    @property
    def _aims(self) -> dict[str, Any]:
        return self.state.attempts[-1] if self.state.attempts else self.manifest

    def extend(self, plan: SweepPlan, extension: Extension, spec: str) -> None:
        """Records an extension, then puts the extended spec in the place of the old one.

        Parameters
        ----------
        plan : SweepPlan
            Of the extended sweep.
        extension : Extension
            What was asked for.
        spec : str
            The extended sweep.yaml.
        """
        # A trial without epochs of its own has the net's, and then those are what the sweep was made with.
        net_epochs = int(self.manifest["max_epochs"])
        longer = prolonged(self.state, plan.config.scheduler, net_epochs, extension.max_epochs)
        with Journal(self.paths.journal, self.paths.remote_journal) as journal:
            # One record, so that a crash leaves the whole extension or nothing of it.
            event = {"type": "extend", "time": time.time(), "spec": spec, "prolonged": longer}
            self.state.apply(journal.append(event))
        write_text(self.paths.spec, spec)
        push(self.paths, self.paths.spec)

    def accept(self, plan: SweepPlan) -> None:
        """Takes net and data as they are now for what the sweep is compared with from here on."""
        now = comparable(plan)
        if all(self.manifest.get(key) == value for key, value in now.items()):
            return
        write_text(self.paths.manifest, json.dumps({**self.manifest, **now}, indent=1, ensure_ascii=False) + "\n")
        push(self.paths, self.paths.manifest)

    def attempt(self, plan: SweepPlan, watcher: Watcher, retry_failed: bool = False) -> Attempt:
        """The next attempt at what the sweep still lacks."""
        number = len(self.state.attempts) + 1
        job = replace(plan.job, trials=self.paths.trials, attempt=number, mirror=self.paths.remote_trials)
        failed = [record.trial for record in self.state.trials.values() if record.status is TrialStatus.FAILED]
        again = tuple(failed) if retry_failed else ()
        return Attempt(replace(plan, job=job), self.paths, self.state, self.hold, watcher, again)


@contextmanager
def taken(paths: SweepPaths, watcher: Watcher) -> Iterator[TakenSweep]:
    """Holds a sweep for this process and reads what it did so far.

    Raises
    ------
    SweepStateError
        Another process holds it, or it cannot be read.
    """
    with locked(paths) as hold:
        for note in hold.notes:
            watcher.tell(f"note: {note}")
        clear_unfinished(paths)
        state = read_state(paths)
        if state.spec is not None:  # a crash may have come between the record of an extension and its file
            write_text(paths.spec, state.spec)
            push(paths, paths.spec)
        yield TakenSweep(paths, read_manifest(paths), state, hold)


def refuse_other_spec(paths: SweepPaths, given: SweepConfig) -> None:
    """Refuses to go on with a sweep by a spec that is not its own.

    Raises
    ------
    SweepStateError
        They differ; the message shows how.
    """
    differences = spec_differences(given, stored_spec(paths))
    if differences:
        listed = "".join(f"\n  {line}" for line in differences)
        raise SweepStateError(
            f"{paths.location} was made by another spec:{listed}\n"
            f"go on with it as it is by `{paths.resume_command}`, "
            "change it by `sweeps extend`, or give another name"
        )
