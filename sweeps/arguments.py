"""What the verbs of the command line take, each described once. Does nothing with it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from sweeps.output import Format

Spec = Annotated[Path, typer.Argument(metavar="SPEC", help="A sweep.yaml.", show_default=False)]
SweepName = Annotated[
    str, typer.Argument(metavar="SWEEP", help="A sweep: its directory, file:// URI, or name below --storage.")
]
Storage = Annotated[str, typer.Option("--storage", metavar="DIR", help="Folder of the sweeps.")]
Output = Annotated[Format, typer.Option("--output", "-o", help="How to write the answer.")]
Limit = Annotated[int | None, typer.Option("--limit", min=0, help="Most rows; 0 shows all.", show_default="20")]
FailOn = Annotated[
    Literal["all", "any", "none"], typer.Option(help="Exit with 3 if all, any or none of the trials failed.")
]
Address = Annotated[str | None, typer.Option(help="Of a Ray cluster; by default this machine.")]
Accept = Annotated[
    bool, typer.Option("--accept-changes", help="Go on though net or data are not those that the sweep began with.")
]
Resume = Annotated[
    Literal["never", "auto", "must"],
    typer.Option(
        help="If the sweep exists: refuse (never) or go on with it (auto, must); must refuses to make a new one."
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show only errors and the result.")]
ExportAs = Annotated[
    Literal["csv", "parquet", "json", "model"],
    typer.Option("--to", help="A table as csv, parquet or json, or the best net."),
]
Which = Annotated[Literal["trials", "metrics"], typer.Option(help="One row a trial, or one a trial and epoch.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Replace a value of the file, such as searcher.num_samples=8."),
]
