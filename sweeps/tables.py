"""The records as Arrow tables: one row a trial, one row an epoch. Reads and writes no journal."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from sweeps.records import SweepState, TrialRecord

# Its row has the columns that do not depend on a sweep.
_NONE = TrialRecord(0, {})


def trials_table(state: SweepState) -> pa.Table:
    """One row a trial, by number.

    Columns: ``trial``, ``status``, ``epochs``, ``best_epoch``, ``score`` (the metric's best value), ``last`` (its
    latest), one ``params.<name>`` for each parameter, what the trial cost, ``rung``, ``cause``, ``error``,
    ``failures``, ``node``, ``pid``, ``gpu``, ``ray_node``, ``started`` and ``ended`` (UTC). What does not
    apply is null. A parameter with lists, mappings or values of several kinds is JSON text.
    """
    metric = state.objective.metric
    return _table([_trial_row(record, metric) for record in state.trials.values()], _trial_row(_NONE, metric))


def metrics_table(state: SweepState) -> pa.Table:
    """One row a trial and epoch: ``trial``, ``epoch`` and every metric that was reported."""
    return _table(
        [
            {"trial": record.trial, **record.rows[epoch]}
            for record in state.trials.values()
            for epoch in sorted(record.rows)
        ],
        ("trial", "epoch"),
    )


def write_tables(state: SweepState, trials: Path, metrics: Path) -> None:
    """Writes both tables as Parquet; a file that exists is whole."""
    for table, path in ((trials_table(state), trials), (metrics_table(state), metrics)):
        beside = path.with_name(f".{path.name}.part")
        pq.write_table(table, beside)
        os.replace(beside, path)


def _trial_row(record: TrialRecord, metric: str) -> dict[str, Any]:
    last = record.rows[record.epoch].get(metric) if record.rows else None
    params = record.params if record.best_params is None else record.best_params
    return {
        "trial": record.trial,
        "status": str(record.status),
        "epochs": record.epoch,
        "best_epoch": record.best_epoch,
        "score": record.best_value,
        "last": last,
        **{f"params.{name}": value for name, value in params.items()},
        **record.costs,
        "rung": record.rung,
        "cause": record.cause,
        "error": record.error,
        "failures": len(record.failures),
        "node": record.placement.get("node"),
        "pid": record.placement.get("pid"),
        "gpu": record.placement.get("gpu"),
        "ray_node": record.placement.get("ray_node"),
        "started": record.started,
        "ended": record.ended,
    }


def _table(rows: list[dict[str, Any]], without_rows: Iterable[str]) -> pa.Table:
    names = list(dict.fromkeys(name for row in rows for name in row)) or without_rows
    return pa.table({name: _column([row.get(name) for row in rows], name) for name in names})


def _column(values: list[Any], name: str) -> pa.Array:
    if name in ("started", "ended"):
        return pa.array([None if value is None else int(value * 1e6) for value in values], pa.timestamp("us", tz="UTC"))
    try:
        is_nested = any(isinstance(value, (list, dict)) for value in values)
        return pa.array(map(_text, values) if is_nested else values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):  # values of several kinds have no Arrow type
        return pa.array(map(_text, values))


def _text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value)
