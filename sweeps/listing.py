"""What recorded sweeps say: lists of sweeps, trials and epochs, the best one, how a run ended. Writes nothing."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.console import RenderableType

from sweeps.errors import SpecError, SweepStateError, did_you_mean
from sweeps.output import Answer, Row, brief, columns, duration, fields, flat
from sweeps.records import SweepState, TrialRecord, TrialStatus
from sweeps.results import SweepResult
from sweeps.standing import goes_on, n_ended, n_planned, status_of, trials_of
from sweeps.storage import DEFAULT_STORAGE, SweepPaths
from trainables.objective import Objective

TABLE_LIMIT = 20
"""Rows that a table shows unless told otherwise."""

_LISTED = 5  # trial numbers that stand behind a cause of failure


def list_sweeps(found: Iterable[SweepPaths], now: datetime) -> Answer:
    """One row a sweep; one that cannot be read says why.

    Parameters
    ----------
    found : iterable of SweepPaths
        The sweeps.
    now : datetime
        What ages are counted from.
    """
    rows = [_sweep_row(paths) for paths in found]
    problems = [f"{row['name']}: {row['problem']}" for row in rows if "problem" in row]
    table = [columns([_sweep_cells(row, now) for row in rows])] if rows else []
    return Answer(rows, rows, [*table, *(["", *problems] if problems else [])])


def show_sweep(result: SweepResult, *, sort: str = "trial", limit: int | None = None) -> Answer:
    """A sweep's head, its trials, and its failures by cause.

    Parameters
    ----------
    result : SweepResult
        The sweep.
    sort : str, default="trial"
        A column as CSV names it (``score``, ``fit_s``, ``params.lr``); ``score`` has the best first, others the least.
        A minus before it turns that round.
    limit : int, optional
        Most trials; 0 has all. By default a table has 20 and other forms have all.

    Raises
    ------
    SpecError
        There is no such column.
    """
    records = _sorted(trials_of(result), sort, result.state.objective)
    chosen = records[:limit] if limit else records
    shown = chosen if limit is not None else chosen[:TABLE_LIMIT]
    head = {"name": result.paths.name, "status": status_of(result), "trials": len(records)}
    head["n_trials"] = n_planned(result)
    head |= {key: result.manifest[key] for key in ("metric", "goal", "created", "data", "versions", "notes")}
    rows = [trial_row(record) for record in chosen]
    parts = [fields(_head(result)), "", *_trial_table(records, shown)]
    if len(shown) < len(records):
        parts.append(f"{len(shown)} of {len(records)} trials; --limit 0 shows all")
    failures = failure_lines(result.state)
    parts += ["", *failures] if failures else []
    return Answer({"sweep": head, "trials": rows}, rows, parts)


def show_trial(result: SweepResult, trial: int, *, limit: int | None = None) -> Answer:
    """One trial's params, its latest epochs and its error.

    Raises
    ------
    SpecError
        There is no such trial.
    """
    trials = {record.trial: record for record in trials_of(result)}
    if trial not in trials:
        raise SpecError(f"no trial {trial} in {result.paths.name}; it has {len(trials)} trials, numbered from 0")
    record = trials[trial]
    rows = [record.rows[epoch] for epoch in sorted(record.rows)]
    shown = rows[-TABLE_LIMIT:] if limit is None else rows[-limit:]
    row = trial_row(record)
    head = {key: value for key, value in row.items() if value not in (None, "") and key not in ("params", "error")}
    parts: list[RenderableType] = [fields(head), "", fields(record.params)]
    parts += ["", columns(shown)] if shown else []
    if len(shown) < len(rows):
        parts.append(f"the last {len(shown)} of {len(rows)} epochs; --limit 0 shows all")
    parts += ["", record.error] if record.error else []
    value = {**row, "rows": rows if limit is None else shown, "earlier_failures": record.failures}
    return Answer(value, rows if limit is None else shown, parts)


def best_of(result: SweepResult) -> Answer:
    """The best trial at its best epoch: number, score, epoch, params and costs.

    Raises
    ------
    NoTrialSucceededError
        No trial has a score.
    """
    record = result.best_trial
    value = {
        "trial": record.trial,
        "score": record.best_value,
        "epoch": record.best_epoch,
        "metric": result.manifest["metric"],
        "goal": result.manifest["goal"],
        "status": str(record.status),
        "params": record.best_params,
        **record.costs,
    }
    head = {key: part for key, part in value.items() if key != "params"}
    return Answer(value, [value], [fields(head), "", fields(record.best_params or {})])


def summary(result: SweepResult) -> Answer:
    """How a run ended: the best trial, how many ended in which way, where the results are and what to do next."""
    state, best = result.state, result.state.best
    found = {"best": f"none of {len(state.trials)} trials has a score"}
    if best is not None:
        found = {"best": _best_text(result), "params": brief(best.best_params)}
    found |= {"trials": _counts_text(result), "results": result.paths.location}
    name, where = result.paths.name, ""
    if result.paths.remote is not None:
        name = shlex.quote(result.paths.location)
    elif not _is_default(result.paths):
        where = f" --storage {shlex.quote(str(result.paths.root.parent))}"
    verbs = [f"show {name}{where}"]
    if best is not None:
        verbs += [f"best {name}{where} -o json", f"export {name}{where} --to model -f best-net"]
    verbs.append(f"export {name}{where} --to csv -f trials.csv")
    following = [result.paths.resume_command] if goes_on(result) else []
    following += [f"sweeps {verb}" for verb in verbs]
    return Answer(found, [found], [fields(found), "", "next:", *(f"  {command}" for command in following)])


def failure_lines(state: SweepState) -> list[str]:
    """Failed trials by cause and error: ``2 failed (oom): OutOfMemoryError: ... (trials 3, 7)``; empty without any."""
    groups: dict[tuple[str | None, str], list[int]] = {}
    for record in state.trials.values():
        if record.status is TrialStatus.FAILED:
            error = (record.error or "unknown error").splitlines()[0]
            groups.setdefault((record.cause, error), []).append(record.trial)
    return [
        f"{len(trials)} failed ({cause}): {error} ({_numbers(trials)})"
        for (cause, error), trials in sorted(groups.items(), key=lambda group: -len(group[1]))
    ]


def trial_row(record: TrialRecord) -> dict[str, Any]:
    """A trial as plain data; ``epoch`` is the one of its score, ``params`` are those in force.

    Under PBT those change, and then they are the params that the score was reached with.
    """
    return {
        "trial": record.trial,
        "status": str(record.status),
        "score": record.best_value,
        "epoch": record.best_epoch,
        "epochs": record.epoch,
        "params": (record.best_params if record.exploited else None) or record.params,
        **record.costs,
        "rung": record.rung,
        "cause": record.cause,
        "error": record.error,
        "failures": len(record.failures),
        "node": record.placement.get("node"),
        "gpu": record.placement.get("gpu"),
        "started": _time(record.started),
        "ended": _time(record.ended),
    }


def _sweep_row(paths: SweepPaths) -> dict[str, Any]:
    try:
        result = SweepResult(paths)
    except SweepStateError as error:
        return {"name": paths.name, "status": "unreadable", "problem": str(error)}
    state, best = result.state, result.state.best
    return {
        "name": paths.name,
        "status": status_of(result),
        "trials": len(state.trials),
        "n_trials": n_planned(result),
        "ended": n_ended(result),
        "score": best.best_value if best else None,
        "metric": result.manifest["metric"],
        "created": result.manifest["created"],
    }


def _sweep_cells(row: Row, now: datetime) -> Row:
    if "problem" in row:
        return {"name": row["name"], "status": row["status"]}
    age_s = (now - datetime.fromisoformat(row["created"])).total_seconds()
    cells = {"name": row["name"], "status": row["status"], "trials": f"{row['ended']}/{row['n_trials']}"}
    return {**cells, "score": row["score"], "metric": row["metric"], "age": duration(age_s)}


def _head(result: SweepResult) -> dict[str, str]:
    manifest = result.manifest
    data = manifest["data"]
    head = {
        "sweep": f"{result.paths.name}, {status_of(result)}",
        "metric": f"{manifest['metric']}, {manifest['goal']}",
        "data": f"{data['rows']} rows, {data['splits']} split{'s' if data['splits'] > 1 else ''}",
        "trials": _counts_text(result),
    }
    if result.state.best is not None:
        head["best"] = _best_text(result)
    constants = _constants(result.state.trials.values())
    return head | ({"always": brief(constants)} if constants else {}) | {"results": result.paths.location}


def _best_text(result: SweepResult) -> str:
    best = result.best_trial
    return f"{result.manifest['metric']} {brief(best.best_value)} in epoch {best.best_epoch} of trial {best.trial}"


def _counts_text(result: SweepResult) -> str:
    state = result.state
    counts = Counter(record.status for record in trials_of(result))
    parts = [f"{counts[status]} {status.lower()}" for status in TrialStatus if counts[status]]
    ended = f"{n_ended(result)}/{n_planned(result)} ended"
    return f"{ended}: {', '.join(parts)}; {state.epochs} epochs" if parts else ended


def _trial_table(records: Sequence[TrialRecord], shown: Sequence[TrialRecord]) -> list[RenderableType]:
    constants = _constants(records)
    return [columns([_trial_cells(record, constants) for record in shown])] if shown else ["no trials yet"]


def _trial_cells(record: TrialRecord, constants: Mapping[str, Any]) -> Row:
    row = trial_row(record)
    params = {name: value for name, value in row["params"].items() if name not in constants}
    return {key: row[key] for key in ("trial", "status", "score", "epoch", "epochs")} | {"params": brief(params)}


def _constants(records: Iterable[TrialRecord]) -> dict[str, Any]:
    """Params that have one value in all of several trials."""
    every = [record.params for record in records]
    if len(every) < 2:
        return {}
    return {key: value for key, value in every[0].items() if all(other.get(key) == value for other in every[1:])}


def _sorted(records: Sequence[TrialRecord], sort: str, objective: Objective) -> list[TrialRecord]:
    column = sort.removeprefix("-")
    rows = {record.trial: dict(flat(trial_row(record))) for record in records}
    known = list(dict.fromkeys(name for row in rows.values() for name in row))
    if known and column not in known:
        raise SpecError(f"--sort {sort}: no such column; {did_you_mean(column, known)}")
    turn: Callable[[float], float] = objective.loss if column == "score" else lambda value: value

    def place(record: TrialRecord) -> tuple[int, float, str]:
        value = rows[record.trial][column]
        return (0, turn(value), "") if isinstance(value, (int, float)) else (1, 0.0, str(value))

    valued = [record for record in records if rows[record.trial].get(column) is not None]
    rest = [record for record in records if rows[record.trial].get(column) is None]
    return [*sorted(valued, key=place, reverse=sort.startswith("-")), *rest]


def _numbers(trials: Sequence[int]) -> str:
    more = ", ..." if len(trials) > _LISTED else ""
    return f"trial{'s' if len(trials) > 1 else ''} {', '.join(map(str, trials[:_LISTED]))}{more}"


def _time(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def _is_default(paths: SweepPaths) -> bool:
    return SweepPaths.of(DEFAULT_STORAGE, paths.name).root == paths.root
