"""What a sweep will do, said before it does it: configs, rungs, epochs, time and memory. Trains nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from rich.console import RenderableType

from sweeps.config import SweepConfig
from sweeps.creation import is_taken
from sweeps.memory_advice import MemoryAdvice, advice_texts
from sweeps.output import Answer, brief, columns, duration, fields
from sweeps.proposals import make_proposals
from sweeps.records import TrialRecord
from sweeps.resources import Node, infeasible
from sweeps.speed_advice import SpeedAdvice, speed_notes, speed_rows
from sweeps.storage import SweepPaths

if TYPE_CHECKING:
    from sweeps.plan import SweepPlan
    from sweeps.probe import Probe


@dataclass(frozen=True)
class ExpectedRung:
    """An epoch at which ASHA compares, and how many trials it lets come that far, as halving would.

    Attributes
    ----------
    epoch : int
        When; the last one is the end of the training.
    trials : float
        How many train until then.
    """

    epoch: int
    trials: float


@dataclass(frozen=True)
class Preview:
    """What a sweep will do.

    Attributes
    ----------
    name, searcher, scheduler, metric, goal : str
        As in the spec.
    n_trials, max_epochs : int
        Trials, and most epochs of one.
    configs : tuple of dict
        Those of the first trials.
    rungs : tuple of ExpectedRung
        Empty without ASHA.
    epochs_most : int
        If every trial trains to its end.
    epochs_expected : int
        With the trials that the rungs let through; the same without ASHA.
    slots : int
        Trials at once on this machine.
    epoch_s : float
        Seconds of the epoch that was measured.
    probed_trial : int
        The trial whose config it had.
    expected_s : float
        Seconds for all expected epochs, were all like the measured one; without the start of Ray and of the workers.
    memory : MemoryAdvice or None
        What the heaviest config takes; None where it was not measured.
    speed : SpeedAdvice or None
        What training it in another way would save; None where it was not measured.
    """

    name: str
    searcher: str
    scheduler: str
    metric: str
    goal: str
    n_trials: int
    max_epochs: int
    configs: tuple[dict[str, Any], ...]
    rungs: tuple[ExpectedRung, ...]
    epochs_most: int
    epochs_expected: int
    slots: int
    epoch_s: float
    probed_trial: int
    expected_s: float
    memory: MemoryAdvice | None = None
    speed: SpeedAdvice | None = None


def make_preview(plan: SweepPlan, n_configs: int, slots: int, probe: Probe) -> Preview:
    """Puts together what is known before the start.

    Parameters
    ----------
    plan : SweepPlan
        The sweep.
    n_configs : int
        Configs to list.
    slots : int
        Trials at once.
    probe : Probe
        One whole epoch.
    """
    config = plan.config
    found = expected_rungs(plan.n_trials, config.scheduler.reduction_factor, plan.job.rungs, plan.max_epochs)
    most = plan.n_trials * plan.max_epochs
    expected = round(expected_epochs(found)) if found else most
    return Preview(
        name=config.name,
        searcher=config.searcher.name,
        scheduler=config.scheduler.name,
        metric=config.metric.name,
        goal=config.metric.goal,
        n_trials=plan.n_trials,
        max_epochs=plan.max_epochs,
        configs=tuple(first_configs(plan, n_configs)),
        rungs=found,
        epochs_most=most,
        epochs_expected=expected,
        slots=slots,
        epoch_s=probe.epoch_s,
        probed_trial=probe.trial,
        expected_s=expected * probe.epoch_s / slots,
    )


def first_configs(plan: SweepPlan, n_configs: int) -> list[dict[str, Any]]:
    """The configs that the run will begin with; of hyperopt at most those that it draws before it learns."""
    searcher = plan.config.searcher
    n_known = min(n_configs, plan.n_trials, searcher.n_startup if searcher.name == "hyperopt" else n_configs)
    proposals = make_proposals(searcher, plan.space, plan.job.objective)
    records: list[TrialRecord] = []
    for trial in range(n_known):
        params = proposals.propose(trial, records)
        if params is None:
            break
        records.append(TrialRecord(trial, params))
    return [record.params for record in records]


def expected_rungs(
    n_trials: int, reduction_factor: float, rungs: Sequence[int], max_epochs: int
) -> tuple[ExpectedRung, ...]:
    """How many trials halving lets come to each rung, and to the end: one in ``reduction_factor`` passes each."""
    ends = [*rungs, max_epochs] if rungs else []
    return tuple(ExpectedRung(end, n_trials / reduction_factor**passed) for passed, end in enumerate(ends))


def expected_epochs(rungs: Sequence[ExpectedRung]) -> float:
    """Epochs of all trials together, if as many come to each rung as expected."""
    begins = [0, *(rung.epoch for rung in rungs)]
    return sum(rung.trials * (rung.epoch - begin) for rung, begin in zip(rungs, begins, strict=False))


def preview_answer(preview: Preview) -> Answer:
    """A preview for people and programs."""
    head = {
        "sweep": f"{preview.name}: {preview.goal} {preview.metric}",
        "trials": f"{preview.n_trials} ({preview.searcher}), {preview.slots} at once on this machine",
        "epochs": _epochs_text(preview),
        "time": _time_text(preview),
    }
    memory = preview.memory
    notes = [f"note: {note}" for note in memory.notes] if memory else []
    configs = [{"trial": trial, **params} for trial, params in enumerate(preview.configs)]
    head |= advice_texts(memory) if memory else {}
    parts: list[RenderableType] = [fields(head), *notes, "", *([columns(configs)] if configs else [])]
    if preview.searcher == "hyperopt":
        parts.append("later configs depend on what the first trials find")
    if preview.rungs:
        parts += [
            "",
            columns([{"epoch": rung.epoch, "trials expected": round(rung.trials, 1)} for rung in preview.rungs]),
        ]
    if preview.speed:
        parts += ["", columns(speed_rows(preview.speed)), *speed_notes(preview.speed)]
    return Answer(asdict(preview), configs, parts)


def place_notes(config: SweepConfig, machine: Node) -> list[str]:
    """What would keep a sound sweep from running here and now: its name is taken, the machine is too small."""
    paths = SweepPaths.of(config.storage, config.name)
    taken = [f"{paths.location} exists already: a run needs another --name"] if is_taken(paths) else []
    return taken + [f"on this machine {problem}" for problem in infeasible(config.resources, [machine])]


def plan_answer(plan: SweepPlan, notes: Sequence[str]) -> Answer:
    """What the check of a sweep found: all is well, and this is what it will do.

    Parameters
    ----------
    plan : SweepPlan
        The checked sweep.
    notes : sequence of str
        What a person should know.
    """
    config, data = plan.config, plan.job.data
    parameters = plan.space.plain()
    value = {
        "ok": True,
        "name": config.name,
        "net": config.net,
        "rows": int(data.n_rows),
        "splits": len(data.splits),
        "trials": plan.n_trials,
        "searcher": config.searcher.name,
        "scheduler": config.scheduler.name,
        "max_epochs": plan.max_epochs,
        "rungs": list(plan.job.rungs),
        "metrics": sorted(plan.probe.metrics),
        "parameters": parameters,
        "notes": list(notes),
    }
    compared = f", compared after {brief(plan.job.rungs)}" if plan.job.rungs else ""
    head = {
        "net": f"{config.net or 'given as an object'} ({type(plan.job.net).__name__})",
        "data": f"{data.n_rows} rows, {len(data.splits)} split{'s' if len(data.splits) > 1 else ''}",
        "trials": f"{plan.n_trials} ({config.searcher.name})",
        "epochs": f"at most {plan.max_epochs} each{compared} ({config.scheduler.name})",
        "metrics": brief(value["metrics"]),
    }
    described = {name: domain_text(domain) for name, domain in parameters.items()}
    parts: list[RenderableType] = [
        f"ok: {config.name}",
        fields(head),
        "",
        fields(described),
        *(f"note: {note}" for note in notes),
    ]
    return Answer(value, [value], parts)


def domain_text(plain: Any) -> str:
    """A domain in words: ``one of 32, 64``, ``always 27``, ``loguniform, min 0.0001, max 0.1``."""
    if isinstance(plain, list):
        return f"one of {brief(plain)}"
    if not isinstance(plain, Mapping):
        return f"always {brief(plain)}"
    keys = {key: part for key, part in plain.items() if key not in ("distribution", "when", "values", "value")}
    words = [plain["distribution"]] if "distribution" in plain else []
    words += [domain_text(plain[key]) for key in ("values", "value") if key in plain]
    words += [f"{key} {brief(part)}" for key, part in keys.items()]
    when = plain.get("when", {})
    conditions = " and ".join(f"{name} is {_condition_text(clause)}" for name, clause in when.items())
    return ", ".join(words) + (f"; only when {conditions}" if when else "")


def _condition_text(clause: Any) -> str:
    if isinstance(clause, Mapping):
        return " and ".join(f"{'at least' if key == 'min' else 'at most'} {brief(end)}" for key, end in clause.items())
    return " or ".join(map(brief, clause)) if isinstance(clause, list) else brief(clause)


def _epochs_text(preview: Preview) -> str:
    most = f"at most {preview.epochs_most} ({preview.n_trials} trials of {preview.max_epochs})"
    return f"about {preview.epochs_expected} with {preview.scheduler}, {most}" if preview.rungs else most


def _time_text(preview: Preview) -> str:
    source = f"one probe epoch of trial {preview.probed_trial}'s config, {preview.epoch_s:.2g} s"
    return f"about {duration(preview.expected_s)} and the start of Ray, from {source}"
