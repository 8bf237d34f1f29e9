"""The verbs about a cluster.yaml: they only translate words of a command line into calls of `launcher`."""

# As in `cli`, verbs import heavy modules themselves.

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sweeps.arguments import Output
from sweeps.output import Format
from sweeps.streams import answer, note

ClusterPath = Annotated[Path, typer.Argument(metavar="FILE", help="A cluster.yaml.", show_default=False)]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only show what would be done.")]

app = typer.Typer(help="Start, watch and end a Ray cluster from a cluster.yaml.", no_args_is_help=True)


@app.command()
def render(file: ClusterPath) -> None:
    """Print the file as Ray's launcher gets it, all defaults filled in."""
    from sweeps.cluster_file import load_cluster  # jsonschema
    from sweeps.launch_config import render as as_yaml  # Ray

    typer.echo(as_yaml(load_cluster(file)), nl=False)


@app.command()
def validate(file: ClusterPath, output: Output = Format.TABLE) -> None:
    """Check a cluster.yaml without asking any machine, and say what it would start."""
    from sweeps.cluster_file import load_cluster  # jsonschema
    from sweeps.launch_config import prepared  # Ray
    from sweeps.launch_plan import make_plan, summary_answer

    cluster = load_cluster(file)
    prepared(cluster)
    answer(summary_answer(make_plan(cluster)), output)


@app.command()
def up(file: ClusterPath, is_dry: DryRun = False, output: Output = Format.TABLE) -> None:
    """Start a cluster and wait for its nodes; if anything fails, nothing is left running."""
    from sweeps.cluster_file import load_cluster  # jsonschema
    from sweeps.cluster_status import status_answer
    from sweeps.launch_config import prepared  # Ray
    from sweeps.launch_plan import make_plan, plan_answer
    from sweeps.launcher import up as launch

    cluster = load_cluster(file)
    prepared(cluster)
    answer(plan_answer(make_plan(cluster)) if is_dry else status_answer(launch(cluster, note)), output)


@app.command()
def status(file: ClusterPath, output: Output = Format.TABLE) -> None:
    """Show a cluster's nodes, what of them is in use, and what is missing."""
    from sweeps.cluster_file import load_cluster  # jsonschema
    from sweeps.cluster_status import ask_head, status_answer

    answer(status_answer(ask_head(load_cluster(file))), output)


@app.command()
def down(file: ClusterPath, is_dry: DryRun = False) -> None:
    """End a cluster, and make sure that nothing of it is left."""
    from sweeps.cluster_file import load_cluster  # jsonschema
    from sweeps.launcher import down as end

    cluster = load_cluster(file)
    if is_dry:
        typer.echo(f"would end Ray on {', '.join(cluster.hosts) or f'all machines of {cluster.name}, and end these'}")
        return
    end(cluster, note)
