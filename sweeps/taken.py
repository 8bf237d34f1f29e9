"""TakenSweep: a sweep's directory in the hands of one driver, with its lock, manifest and records. Runs nothing."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from search_spaces.labels import text_of
from sweeps.attempt import Attempt
from sweeps.best_net import is_current
from sweeps.config import SweepConfig
from sweeps.creation import clear_unfinished
from sweeps.errors import SweepStateError
from sweeps.extension import Extension, lengthened, prolonged, space_notes
from sweeps.fingerprints import comparable, describe_choices, python_objects
from sweeps.hold import Hold
from sweeps.journal import Journal
from sweeps.lock import locked
from sweeps.plan import SweepPlan
from sweeps.progress import Watcher
from sweeps.records import SweepState, TrialStatus
from sweeps.retention import is_finished
from sweeps.saved import TrialFiles
from sweeps.spec import build_config
from sweeps.spec_changes import refuse_spec_changes, spec_differences, spec_leaves
from sweeps.storage import SweepPaths, push, read_manifest, write_text
from sweeps.stored import read_state, stored_spec
from sweeps.yaml_document import parse_yaml
from trainables import checkpoint


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
        return int(self._aims["n_trials"])

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
        begun = self.state.attempts[-1] if self.state.attempts else self.manifest
        return {**begun, **(self.state.extension or {})}

    def refuse_edited_spec(self, accept: bool) -> list[str]:
        """Refuses a sweep.yaml that was edited since the sweep was last run, so that scores would not be comparable.

        Parameters
        ----------
        accept : bool
            Whether to go on all the same, where that is possible.

        Returns
        -------
        list of str
            What to tell the user: all other changes, and accepted ones.

        Raises
        ------
        SweepStateError
            The message lists the changes.
        """
        now, attempts = spec_leaves(stored_spec(self.paths)), self.state.attempts
        if self.state.extension is not None:
            extended = build_config(parse_yaml(self.state.extension["spec"]).data)
            return refuse_spec_changes(now, spec_leaves(extended), accept)
        if attempts:
            return refuse_spec_changes(now, attempts[-1]["spec"], accept)
        known = {"metric.name": "metric", "metric.goal": "goal", "seed": "seed"}
        begun = {key: text_of(self.manifest[name]) for key, name in known.items()}
        return refuse_spec_changes({key: now[key] for key in begun}, begun, accept)

    def extend(self, plan: SweepPlan, extension: Extension, spec: str) -> list[str]:
        """Records an extension, then puts the extended spec in the place of the old one.

        Parameters
        ----------
        plan : SweepPlan
            Of the extended sweep.
        extension : Extension
            What was asked for.
        spec : str
            The extended sweep.yaml.

        Returns
        -------
        list of str
            What to tell the user.
        """
        # A trial without epochs of its own has the net's, and then those are what the sweep was made with.
        net_epochs = int(self.manifest["max_epochs"])
        deserving = prolonged(self.state, plan.config.scheduler, net_epochs, extension.max_epochs)
        longer = {trial: params for trial, params in deserving.items() if self._can_go_on(trial)}
        event = {
            "type": "extend",
            "time": time.time(),
            "spec": spec,
            "replaces": _digest(self.paths.spec),
            "n_trials": plan.n_trials,
            "max_epochs": plan.max_epochs,
            "prolonged": longer,
            "lengthened": lengthened(self.state, extension.max_epochs),
        }
        notes = space_notes(stored_spec(self.paths).parameters, plan.config.parameters)
        with Journal(self.paths.journal, self.paths.remote_journal, self.hold.refuse_lost) as journal:
            # One record, so that a crash leaves the whole extension or nothing of it.
            self.state.apply(journal.append(event))
        write_text(self.paths.spec, spec)
        push(self.paths, self.paths.spec)
        if extension.max_epochs is not None:
            notes.append(
                f"trials that go on to {extension.max_epochs} epochs: {len(longer)} of {len(self.state.trials)}"
            )
        if gone := len(deserving) - len(longer):
            notes.append(
                f"trials that deserve it too, but checkpoint.keep left them no checkpoint to go on from: {gone}"
            )
        return notes

    def accept(self, plan: SweepPlan) -> None:
        """Takes net and data as they are now for what the sweep is compared with from here on."""
        self._write_down(comparable(plan))

    def note_choices(self, plan: SweepPlan) -> None:
        """Adds the classes, functions and objects that the space did not offer before to those that are known."""
        known = self.manifest.get("objects", {})
        objects = {
            name: list(dict.fromkeys([*known.get(name, ()), *labels]))
            for name, labels in python_objects(plan.job.objects).items()
        }
        noted: dict[str, Any] = {"objects": {**known, **objects}}
        if (begun := self.manifest.get("net_description")) is not None:
            noted["net_description"] = describe_choices(plan.job.objects) | begun
        self._write_down(noted)

    def attempt(self, plan: SweepPlan, watcher: Watcher, retry_failed: bool = False) -> Attempt:
        """The next attempt at what the sweep still lacks."""
        number = len(self.state.attempts) + 1
        job = replace(plan.job, trials=self.paths.trials, attempt=number, mirror=self.paths.remote_trials)
        failed = [record.trial for record in self.state.trials.values() if record.status is TrialStatus.FAILED]
        again = tuple(failed) if retry_failed else ()
        return Attempt(replace(plan, job=job), self.paths, self.state, self.hold, watcher, again)

    def _can_go_on(self, trial: int) -> bool:
        """Whether a trial need not begin anew, or would in any case."""
        if not is_finished(self.state.trials[trial]) or self.paths.remote is not None:  # a store keeps the newest
            return True
        return bool(TrialFiles.read(self.paths.trials / checkpoint.trial_name(trial)).checkpoints)

    def _write_down(self, known: Mapping[str, Any]) -> None:
        if all(self.manifest.get(key) == value for key, value in known.items()):
            return
        self.manifest.update(known)
        write_text(self.paths.manifest, json.dumps(self.manifest, indent=1, ensure_ascii=False) + "\n")
        push(self.paths, self.paths.manifest)


@contextmanager
def taken(paths: SweepPaths, watcher: Watcher) -> Iterator[TakenSweep]:
    """Holds a sweep for this process and reads what it did so far.

    Raises
    ------
    SweepStateError
        Another process holds it, it cannot be read, or it is a copy of one that a cluster has.
    """
    if paths.copy_mark.exists():
        raise SweepStateError(
            f"{paths.location} was pulled from a cluster, which may be at work on the sweep itself: go on there "
            f"(--cluster FILE), or delete {paths.copy_mark} to go on with the copy; trials then begin anew where they "
            "stood, as a copy has no checkpoints"
        )
    with locked(paths) as hold:
        for note in hold.notes:
            watcher.tell(f"note: {note}")
        clear_unfinished(paths)
        state = read_state(paths)
        if state.extension is not None:
            _put_in_place(paths, state.extension)
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


def _put_in_place(paths: SweepPaths, extension: Mapping[str, Any]) -> None:
    """Writes the sweep.yaml of an extension, should a crash have come before that; not over what a person wrote."""
    found = _digest(paths.spec)
    if found is None or found == extension["replaces"]:
        write_text(paths.spec, extension["spec"])
        push(paths, paths.spec)


def _digest(path: Path) -> str | None:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None
