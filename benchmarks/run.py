"""Runs job A through every peer, in rounds, each in a fresh process, and compares them. `make bench` calls it.

``python -m benchmarks.run --dry-run`` only shows what it would do.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import machine, tables

ROOT = Path(__file__).resolve().parent.parent
RESULTS = Path(__file__).resolve().parent / "results"
PEERS = {
    "floor": ("floor",),
    "ours": ("ours",),
    "ours-inline": ("ours", "--inline"),
    "raytune": ("raytune",),
    "raytune-reuse": ("raytune", "--reuse"),
    "optuna": ("optuna_asha",),
    "sklearn-grid": ("sklearn_grid",),
    "sklearn-halving": ("sklearn_halving",),
    "dask-halving": ("dask_ml",),
    "dask-hyperband": ("dask_ml", "--hyperband"),
}
SMALL = ("floor", "ours", "raytune-reuse", "optuna", "sklearn-grid")
CHOOSES_ITSELF = ("dask-hyperband",)
"""Those that try as many configs as they see fit, and so run at the first size only."""

ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


@dataclass(frozen=True)
class Plan:
    """What will be run.

    Attributes
    ----------
    peers : tuple of str
        Names in `PEERS`.
    sizes : mapping of int to int
        Number of configs -> rounds of it.
    timeout_s : float
        After which a peer is ended and counts as failed.
    """

    peers: tuple[str, ...]
    sizes: dict[int, int]
    timeout_s: float

    def __str__(self) -> str:
        sizes = ", ".join(f"{rounds} rounds of {configs} configs" for configs, rounds in self.sizes.items())
        return f"{sizes}; in each: {', '.join(self.peers)}; a peer is ended after {self.timeout_s:.0f} s"

    def runs(self) -> Iterator[tuple[int, int, str]]:
        """``(configs, round, peer)``: each round sees all peers, and begins with another one."""
        for size, (configs, rounds) in enumerate(self.sizes.items()):
            peers = [peer for peer in self.peers if not (size and peer in CHOOSES_ITSELF)]
            for number in range(rounds):
                first = number % len(peers)
                for peer in peers[first:] + peers[:first]:
                    yield configs, number, peer


def main(arguments: Sequence[str] | None = None) -> int:
    given = _parser().parse_args(arguments)
    if given.markdown:
        print(tables.markdown_table(tables.HEADINGS, _lines(_read(given.markdown))), end="")
        return 0
    plan = _plan(given)
    print(plan)
    if given.dry_run:
        return 0
    path = carry_out(plan)
    runs = json.loads(path.read_text())["runs"]
    print(f"\n{path.relative_to(ROOT)}", tables.text_table(tables.HEADINGS, _lines(runs)), sep="\n")
    return int(any("error" in run for run in runs))


def carry_out(plan: Plan) -> Path:
    """Runs the plan; the file of its results, which is written anew after each run."""
    description = machine.describe()
    path = _free_path(f"{time.strftime('%Y-%m-%d')}-{machine.kind(description)}")
    found: dict[str, Any] = {"date": time.strftime("%Y-%m-%d"), "machine": description, "plan": str(plan), "runs": []}
    for configs, number, peer in plan.runs():
        run = run_peer(peer, configs, plan.timeout_s) | {"round": number}
        found["runs"].append(run)
        print(run.get("error") or "{wall_s:6.1f} s, best {best_score:.4f}".format(**run), flush=True)
        path.write_text(json.dumps(found, indent=1) + "\n")
    return path


def run_peer(peer: str, configs: int, timeout_s: float) -> dict[str, Any]:
    """Runs a peer; what it found and what that cost, or ``error``."""
    from benchmarks.processes import run  # needs psutil, which reading results does not

    print(f"{configs} configs, {peer:<16}", end=" ", flush=True)
    module, *options = PEERS[peer]
    command = [sys.executable, "-W", "ignore", "-m", f"benchmarks.peers.{module}", str(configs), *options]
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, **ONE_THREAD, "PYTHONPATH": paths, "RAY_USAGE_STATS_ENABLED": "0"}
    ended = run(command, timeout_s=timeout_s, environment=environment)
    known = {"peer": peer, "asked": configs}
    if ended.code is None:
        return known | {"error": f"took longer than {timeout_s:.0f} s"}
    if ended.code:
        lines = ended.errors.strip().splitlines()
        return known | {"error": f"exit code {ended.code}: {lines[-1] if lines else 'no message'}"}
    told = json.loads(ended.output.strip().splitlines()[-1])
    measured = {"cpu_s": ended.cpu_s, "peak_memory_bytes": ended.peak_memory_bytes}
    return known | told | measured | {"wall_s": ended.wall_s, "own_wall_s": told["wall_s"]}


def _read(paths: Sequence[Path]) -> list[dict[str, Any]]:
    """The runs of several results, whose rounds are not each other's."""
    found = [json.loads(path.read_text())["runs"] for path in paths]
    return [run | {"round": (number, run["round"])} for number, runs in enumerate(found) for run in runs]


def _lines(runs: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    return [tables.cells(row) for row in tables.summarize(runs)]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="all peers, 24 and 256 configs, several rounds")
    parser.add_argument("--peers", type=lambda text: tuple(text.split(",")), help=f"of: {', '.join(PEERS)}")
    parser.add_argument("--configs", type=int, help="one number of configs instead")
    parser.add_argument("--rounds", type=int, help="of each number of configs")
    parser.add_argument("--timeout-s", type=float, help="seconds that a peer may take")
    parser.add_argument("--dry-run", action="store_true", help="only show the plan")
    parser.add_argument(
        "--markdown", type=Path, nargs="+", metavar="FILE", help="only print the table of these results"
    )
    return parser


def _plan(given: argparse.Namespace) -> Plan:
    peers = given.peers or (tuple(PEERS) if given.full else SMALL)
    if unknown := set(peers) - set(PEERS):
        raise SystemExit(f"no such peers: {', '.join(sorted(unknown))}; there are {', '.join(PEERS)}")
    sizes = {24: 3, 256: 2} if given.full else {24: 2}
    if given.configs:
        sizes = {given.configs: sizes.get(given.configs, 1)}
    if given.rounds:
        sizes = dict.fromkeys(sizes, given.rounds)
    return Plan(peers, sizes, given.timeout_s or (3600.0 if given.full else 300.0))


def _free_path(stem: str) -> Path:
    RESULTS.mkdir(exist_ok=True)
    names = (RESULTS / f"{stem}{suffix}.json" for suffix in ["", *(f"-{number}" for number in range(2, 1000))])
    return next(path for path in names if not path.exists())


if __name__ == "__main__":
    sys.exit(main())
