"""The command line: verbs, exit codes, and what goes to stdout and stderr. What is said is put together elsewhere."""

# Verbs import heavy modules themselves, since neither --help nor a word about a broken file may wait for torch and Ray.

from __future__ import annotations

import atexit
import sys
import traceback
from collections.abc import Sequence
from contextlib import redirect_stdout, suppress
from dataclasses import replace
from datetime import UTC, datetime
from gc import freeze
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sweeps import cluster_verbs, doctoring, journal, running, storage, submitting
from sweeps.arguments import (
    ExportAs,
    Limit,
    Output,
    Overrides,
    Spec,
    Storage,
    SweepName,
    Which,
)
from sweeps.errors import (
    InfeasibleError,
    NoTrialSucceededError,
    SpecError,
    SweepNotFoundError,
    SweepStateError,
)
from sweeps.output import Format
from sweeps.spec import load_spec
from sweeps.starter import Template, next_steps, starter_files, write_starter
from sweeps.streams import answer, note, report, report_bug

if TYPE_CHECKING:
    from sweeps.plan import SweepPlan
    from sweeps.preview import Preview
    from sweeps.results import SweepResult

_EXPECTED = (SpecError, NoTrialSucceededError, SweepNotFoundError, SweepStateError, InfeasibleError)  # else: a bug
_INTERRUPTED = 130

app = typer.Typer(
    help="Hyperparameter sweeps of skorch nets on Ray Tune.",
    epilog="With --debug, errors show their traceback. Exit codes: 0 done, 1 bug, 2 wrong input, 3 no trial succeeded, "
    "4 no such sweep or unusable, 5 machines or storage cannot, 128 + N stopped by signal N (Ctrl-C: 130).",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        By default the process's own.

    Returns
    -------
    int
        The exit code. A bug is raised on; its report and the code 1 come from `sys.excepthook`.
    """
    if arguments is None:
        atexit.register(freeze)  # a last search for garbage, among a million objects that die anyway, takes a second
    given = sys.argv[1:] if arguments is None else list(arguments)
    is_debug = "--debug" in given
    if not is_debug:
        sys.excepthook = report_bug
    try:
        command = typer.main.get_command(app)  # the app itself would put typer's report of bugs in place of ours
        words = [word for word in given if word != "--debug"]
        return command.main(words, prog_name="sweeps", standalone_mode=False) or 0
    except typer.TyperException as error:
        report(error.format_message() or "give a verb; see sweeps --help")
        return error.exit_code
    except _EXPECTED as error:
        if is_debug:
            traceback.print_exception(error)
        report(str(error))
        return error.exit_code
    except typer.Abort:
        return _INTERRUPTED


def _show_version(is_wanted: bool) -> None:
    if is_wanted:
        typer.echo(version("skorch-sweeps"))
        raise typer.Exit


@app.callback()
def _app(
    is_version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass  # its docstring would replace the help that the app was made with


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where to.")] = Path("."),
    template: Annotated[Template, typer.Option(help="What kind of net, or of cluster.")] = Template.CLASSIFIER,
) -> None:
    """Write a sweep.yaml and a model.py that run as they are, or what describes a cluster."""
    texts = starter_files(folder, template)
    write_starter(texts)
    typer.echo("".join(f"wrote {path}\n" for path in texts))
    typer.echo("\n  ".join(["next:", *next_steps(template, texts)]))


@app.command()
def validate(spec: Spec, overrides: Overrides = None, output: Output = Format.TABLE) -> None:
    """Check a sweep.yaml, then its net and data with a probe epoch; creates nothing."""
    plan = _plan(spec, overrides)
    from sweeps.preview import place_notes, plan_answer  # numpy
    from sweeps.ray_session import this_machine  # Ray

    answer(plan_answer(plan, [*plan.notes, *place_notes(plan.config, this_machine())]), output)


@app.command()
def preview(
    spec: Spec,
    n_configs: Annotated[int, typer.Option("-n", min=0, help="How many configs to show.")] = 5,
    weighs: Annotated[
        bool, typer.Option("--probe", help="Also train the heaviest config: its memory, what speeds it up.")
    ] = False,
    overrides: Overrides = None,
    output: Output = Format.TABLE,
) -> None:
    """Say what a sweep will do: configs, rungs, epochs, time and, with --probe, memory and speed; creates nothing."""
    plan = _plan(spec, overrides)
    from sweeps.preview import first_configs, make_preview, preview_answer  # numpy
    from sweeps.probe import probe  # torch
    from sweeps.ray_session import this_machine  # Ray
    from sweeps.resources import slots

    with redirect_stdout(sys.stderr):
        note("timing one whole epoch")
        seen = probe(plan.job, first_configs(plan, 3), whole=True)
        found = make_preview(plan, n_configs, slots(plan.config.resources, [this_machine()]), seen)
        found = _with_advice(found, plan) if weighs else found
    answer(preview_answer(found), output)


for _verb in (
    running.run,
    running.resume,
    running.extend,
    running.stop,
    submitting.submit,
    submitting.status,
    submitting.logs,
    submitting.pull,
    doctoring.doctor,
):
    app.command()(_verb)


app.add_typer(cluster_verbs.app, name="cluster")


@app.command()
def gc(
    sweep: SweepName,
    is_dry: Annotated[bool, typer.Option("--dry-run", help="Only show what would be deleted.")] = False,
    storage_dir: Storage = storage.DEFAULT_STORAGE,
    output: Output = Format.TABLE,
) -> None:
    """Delete what a sweep's journal has superseded: old checkpoints, leftovers of dead processes, Ray's own files."""
    from sweeps.garbage import collect, gc_answer  # torch

    paths = storage.find(sweep, storage_dir)
    answer(gc_answer(collect(paths, is_dry_run=is_dry), paths, is_dry_run=is_dry), output)


@app.command()
def ls(
    folder: Annotated[str, typer.Argument(metavar="STORAGE", help="Folder of the sweeps.")] = storage.DEFAULT_STORAGE,
    output: Output = Format.TABLE,
) -> None:
    """List the sweeps in a folder."""
    from sweeps.listing import list_sweeps  # pyarrow

    found = storage.all_below(folder)
    if not found:
        note(f"no sweeps below {folder}")
    for paths in found:
        with suppress(SweepStateError):  # which the list itself says
            _tell_losses(paths)
    answer(list_sweeps(found, datetime.now(UTC)), output)


@app.command()
def show(
    sweep: SweepName,
    trial: Annotated[int | None, typer.Option(help="Show this trial only.")] = None,
    sort: Annotated[str, typer.Option(help="Column: score, epochs, fit_s, params.lr, ...; -score reverses.")] = "trial",
    limit: Limit = None,
    storage_dir: Storage = storage.DEFAULT_STORAGE,
    output: Output = Format.TABLE,
) -> None:
    """Show a sweep and its trials, or one trial and its epochs."""
    from sweeps.listing import show_sweep, show_trial  # pyarrow

    result = _open(sweep, storage_dir)
    shown = show_sweep(result, sort=sort, limit=limit) if trial is None else show_trial(result, trial, limit=limit)
    answer(shown, output)


@app.command()
def best(sweep: SweepName, storage_dir: Storage = storage.DEFAULT_STORAGE, output: Output = Format.TABLE) -> None:
    """Show the best trial: its score, epoch, params and costs."""
    from sweeps.listing import best_of  # pyarrow

    answer(best_of(_open(sweep, storage_dir)), output)


@app.command()
def export(
    sweep: SweepName,
    to: ExportAs,
    path: Annotated[Path, typer.Option("--file", "-f", help="File to write; for the best net a new folder.")],
    what: Which = "trials",
    storage_dir: Storage = storage.DEFAULT_STORAGE,
) -> None:
    """Write a table of a sweep to a file, or its best net to a folder."""
    from sweeps.exports import export_model, export_table  # pyarrow

    result = _open(sweep, storage_dir)
    if to == "model":
        export_model(result, path)
    else:
        export_table(result, what, to, path)
    typer.echo(str(path))


def _plan(spec: Path, overrides: Sequence[str] | None) -> SweepPlan:
    load_spec(spec, overrides or (), needs=("net", "data"))
    note("importing torch, skorch and Ray")
    with redirect_stdout(sys.stderr):
        from sweeps.sweep import Sweep  # torch, skorch, Ray

        note("checking net, data and parameters with a probe epoch")
        return Sweep.from_yaml(spec, overrides or ()).plan()


def _with_advice(found: Preview, plan: SweepPlan) -> Preview:
    from sweeps.memory_advice import advise, heavy_configs  # numpy
    from sweeps.probe import weigh  # torch
    from sweeps.ray_session import this_machine  # Ray
    from sweeps.speed_advice import advise_speed
    from sweeps.speed_probe import time_variants

    configs, resources = heavy_configs(plan.space, plan.config.seed), plan.config.resources
    note(f"comparing {len(configs)} configs, then training the heaviest on all rows")
    use = weigh(plan.job, configs, resources)
    note("training it compiled, and in other ways that may be faster; this may take a minute")
    timings = time_variants(plan.job, use.params, resources, use.epoch_s)
    counts = {"n_trials": plan.n_trials, "n_epochs": found.epochs_expected}
    speed = advise_speed(timings, use.params, plan.space, plan.job.objective.metric, **counts)
    return replace(found, memory=advise(use, resources, this_machine(), plan.n_trials), speed=speed)


def _open(sweep: str, folder: str) -> SweepResult:
    from sweeps.results import SweepResult  # pyarrow

    result = SweepResult.load(sweep, storage=folder)
    _tell_losses(result.paths)
    return result


def _tell_losses(paths: storage.SweepPaths) -> None:
    if lost := journal.losses(paths.journal):
        note(f"note: {lost}")
