"""Sweeps trained in this process, one trial after another: what readers need, without Ray."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import nets

from search_spaces.space import SearchSpace
from sweeps.best_net import write_best
from sweeps.journal import Journal
from sweeps.manifest import make_manifest
from sweeps.plan import SweepPlan, make_plan
from sweeps.proposals import make_proposals
from sweeps.records import SweepState, TrialStatus
from sweeps.spec import build_config, dump_spec
from sweeps.storage import SweepPaths, create
from trainables.tensors import TensorData
from trainables.trial import TrialRun


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
            "parameters": dict(parameters),
            **sections,
        }
    )
    net = nets.make_net() if net is None else net
    return make_plan(config, net, data or nets.make_data(), SearchSpace(parameters), scorers or {})


def run_inline(
    plan: SweepPlan, storage: Path, net: str | None = None, search_path: Sequence[Path] = ()
) -> tuple[SweepPaths, SweepState]:
    """Trains a plan's trials to their ends and writes the directory of the sweep."""
    paths = SweepPaths.of(storage, plan.config.name)
    plan = replace(plan, job=replace(plan.job, trials=paths.trials, report_every_s=0.0))
    manifest = make_manifest(plan, net, search_path)
    create(paths, manifest, dump_spec(plan.config))
    state = SweepState(plan.job.objective)
    proposals = make_proposals(plan.config.searcher, plan.space, plan.job.objective)
    data = TensorData(plan.job.data)
    with Journal(paths.journal) as journal:

        def record(kind: str, **content: Any) -> None:
            state.apply(journal.append({"type": kind, "time": time.time(), **content}))

        record("attempt", attempt=1, n_trials=plan.n_trials, rungs=[])
        for trial in range(plan.n_trials):
            params = proposals.propose(trial, list(state.trials.values()))
            record("trial", trial=trial, params=params)
            record("start", trial=trial)
            run = TrialRun(plan.job, data, {"trial": trial, "params": params})
            ended = None
            while ended is None:
                report = run.step()
                ended = report["ended"]
                content = {key: report[key] for key in ("rows", "costs", "checkpoint")}
                placement = {"node": "here", "pid": 1, "gpu": None}
                record("report", trial=trial, placement=placement, **content)
            record("end", trial=trial, status=TrialStatus(ended.upper()))
        record("attempt_end", reason="complete")
    if state.best is not None:
        write_best(paths, manifest, plan, state.best)
    return paths, state
