"""The verbs that run a sweep or stop one: they only translate words of a command line into calls of `sweep`."""

# As in `cli`, verbs import heavy modules themselves.

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from sweeps import creation, lock, storage, submitting
from sweeps.arguments import Accept, Address, FailOn, Overrides, Quiet, Resume, Spec, Storage, SweepName
from sweeps.errors import SpecError, SweepStateError
from sweeps.progress import Progress
from sweeps.session import watched
from sweeps.spec import load_space, load_spec
from sweeps.submitting import ClusterOption, JobsAddress, WorkingDir


def run(
    spec: Spec,
    *,
    overrides: Overrides = None,
    name: Annotated[str | None, typer.Option(help="Name of the sweep, and of its directory.")] = None,
    storage_dir: Annotated[str | None, typer.Option("--storage", metavar="DIR", help="Folder of the sweeps.")] = None,
    resume: Resume = "never",
    is_accepted: Accept = False,
    address: Address = None,
    fail_on: FailOn = "all",
    quiet: Quiet = False,
) -> int:
    """Run a sweep to its end."""
    chosen = {"name": name, "storage": storage_dir}
    named = [f"{key}={json.dumps(value)}" for key, value in chosen.items() if value is not None]
    every = [*(overrides or []), *named]
    config = load_spec(spec, every, needs=("net", "data"))
    paths = replace(storage.SweepPaths.of(config.storage, config.name), address=address)
    if resume == "never":
        creation.refuse_existing(paths)

    def start(progress: Progress) -> None:
        from sweeps.sweep import Sweep  # torch, skorch, Ray

        sweep = Sweep.from_yaml(spec, every)
        sweep.run(progress=progress, address=address, resume=resume, accept_changes=is_accepted)

    return watched(start, paths, quiet, fail_on)


def resume(
    sweep: SweepName,
    *,
    storage_dir: Storage = storage.DEFAULT_STORAGE,
    is_accepted: Accept = False,
    is_again: Annotated[bool, typer.Option("--retry-failed", help="Try failed trials once more.")] = False,
    address: Address = None,
    cluster: ClusterOption = None,
    working_dir: WorkingDir = None,
    fail_on: FailOn = "all",
    quiet: Quiet = False,
) -> int:
    """Go on with an interrupted sweep from its journal and checkpoints; on a cluster, as a job of it."""
    if cluster is not None or _is_jobs_server(address):
        asked = {"--accept-changes": is_accepted, "--retry-failed": is_again, "--quiet": quiet}
        words = [*(word for word, is_asked in asked.items() if is_asked), "--fail-on", fail_on]
        return submitting.resume_submitted(sweep, cluster, address, words, working_dir)
    if working_dir is not None:
        raise SpecError("--working-dir is for a sweep that runs on a cluster; give --cluster FILE or --address URL too")
    paths = replace(storage.find(sweep, storage_dir), address=address)

    def start(progress: Progress) -> None:
        from sweeps.sweep import Sweep  # torch, skorch, Ray

        Sweep.resume(
            paths.location, accept_changes=is_accepted, retry_failed=is_again, progress=progress, address=address
        )

    return watched(start, paths, quiet, fail_on)


def extend(
    sweep: SweepName,
    *,
    more: Annotated[int | None, typer.Option("--num-samples", min=1, help="So many trials more.")] = None,
    max_epochs: Annotated[
        int | None, typer.Option(min=1, help="Epochs in all; trials that deserve it go on from their checkpoints.")
    ] = None,
    space: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A sweep.yaml, or its parameters: the space from now on.")
    ] = None,
    storage_dir: Storage = storage.DEFAULT_STORAGE,
    is_accepted: Accept = False,
    address: Address = None,
    fail_on: FailOn = "all",
    quiet: Quiet = False,
) -> int:
    """Go on with a sweep beyond what it was made for: more trials, longer ones, or another space."""
    if more is None and max_epochs is None and space is None:
        raise SpecError("nothing to extend by; give --num-samples, --max-epochs, --space or several of them")
    paths = replace(storage.find(sweep, storage_dir), address=address)
    parameters = None if space is None else load_space(space)

    def start(progress: Progress) -> None:
        from sweeps.sweep import Sweep  # torch, skorch, Ray

        Sweep.extend(
            paths.location,
            num_samples=more,
            max_epochs=max_epochs,
            parameters=parameters,
            accept_changes=is_accepted,
            progress=progress,
            address=address,
        )

    return watched(start, paths, quiet, fail_on)


def stop(
    sweep: SweepName,
    now: Annotated[bool, typer.Option("--now", help="Save running trials and end, instead of finishing them.")] = False,
    storage_dir: Storage = storage.DEFAULT_STORAGE,
    cluster: ClusterOption = None,
    address: JobsAddress = None,
) -> None:
    """Ask the driver of a running sweep, from another shell, to stop; `sweeps resume` goes on."""
    if cluster is not None or address is not None:
        submitting.stop_submitted(sweep, cluster, address, now=now)
        return
    paths = storage.find(sweep, storage_dir)
    holder = lock.holder(paths)
    if holder is None:
        copied = "; it was pulled from a cluster: stop it there (--cluster FILE)" if paths.copy_mark.exists() else ""
        raise SweepStateError(f"{paths.location} is not running, so there is nothing to stop{copied}")
    lock.ask_to_stop(paths, now=now)
    how = "running trials are saved at the end of their epoch" if now else "running trials finish, no new ones start"
    typer.echo(f"asked {holder} to stop: {how}")


def _is_jobs_server(address: str | None) -> bool:
    return address is not None and address.lower().startswith(("http://", "https://"))
