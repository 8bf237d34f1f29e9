"""Sweeps trained in this process, without Ray: by `Sweep` itself, or by an attempt at a plan."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import nets

from search_spaces.space import SearchSpace
from sweeps.creation import create
from sweeps.inline import in_process
from sweeps.manifest import make_manifest
from sweeps.plan import SweepPlan, make_plan
from sweeps.records import SweepState
from sweeps.results import SweepResult
from sweeps.spec import build_config, dump_spec
from sweeps.storage import SweepPaths
from sweeps.sweep import Sweep
from sweeps.taken import taken


class Told:
    """A watcher that keeps what it is told, and shows each state to ``on_state``."""

    def __init__(self, on_state: Callable[[SweepState], None] = lambda state: None) -> None:
        self.lines: list[str] = []
        self.on_state = on_state

    def __call__(self, state: SweepState) -> None:
        self.on_state(state)

    def tell(self, line: str) -> None:
        self.lines.append(line)


def plan_of(
    parameters: Mapping[str, Any],
    *,
    net: Any = None,
    data: Any = None,
    scorers: Mapping[str, Any] | None = None,
    metric: str = "valid_acc",
    goal: str | None = None,
    **sections: Any,
) -> SweepPlan:
    """The plan of a sweep over `nets.make_net` and its data, unless others are given."""
    goal = goal or ("minimize" if metric.endswith("loss") else "maximize")
    config = build_config(
        {
            "name": "inline",
            "metric": {"name": metric, "goal": goal},
            "searcher": {"name": "random", "num_samples": 3},
            "scheduler": {"name": "fifo"},
            "parameters": dict(parameters),
            **sections,
        }
    )
    net = nets.make_net() if net is None else net
    return make_plan(config, net, data or nets.make_data(), SearchSpace(parameters), scorers or {})


def run_inline(
    plan: SweepPlan, storage: Path, net: str | None = None, search_path: Sequence[Path] = ()
) -> tuple[SweepPaths, SweepState]:
    """Makes the sweep of a plan, trains its trials and returns where it lies and what it found."""
    paths = SweepPaths.of(storage, plan.config.name)
    plan = replace(plan, job=replace(plan.job, trials=paths.trials, report_every_s=0.0))
    create(paths, make_manifest(plan, net, search_path), dump_spec(plan.config))
    with taken(paths, Told()) as sweep:
        sweep.attempt(plan, Told()).run(in_process)
        return paths, sweep.state


def sweep_of(storage: Path, parameters: Mapping[str, Any], net: Any = None, **options: Any) -> Sweep:
    """A sweep ``sweep`` of `nets.make_net` and its data, that reports every epoch and runs all trials to their ends."""
    options = {"name": "sweep", "scheduler": "fifo", "report_every_s": 0.0, "checkpoint": {"every_s": 0.0}} | options
    return Sweep(nets.make_net() if net is None else net, nets.make_data(), parameters, storage=storage, **options)


def run(storage: Path, parameters: Mapping[str, Any], net: Any = None, **options: Any) -> SweepResult:
    """Runs `sweep_of` in this process."""
    return sweep_of(storage, parameters, net, **options).run(backend="inline", progress=False)


def resume(root: Path, net: Any = None, **options: Any) -> SweepResult:
    """Resumes a sweep of `sweep_of` in this process."""
    return Sweep.resume(root, **_again(net) | options)


def extend(root: Path, net: Any = None, **options: Any) -> SweepResult:
    """Extends a sweep of `sweep_of` in this process."""
    return Sweep.extend(root, **_again(net) | options)


def _again(net: Any) -> dict[str, Any]:
    net = nets.make_net() if net is None else net
    return {"net": net, "data": nets.make_data(), "backend": "inline", "progress": False}
