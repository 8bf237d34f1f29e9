"""The records as tables: nothing that a trial may hold breaks a file, and what does not apply is null."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweeps.records import SweepState, TrialRecord, TrialStatus
from sweeps.tables import metrics_table, trials_table, write_tables
from trainables.objective import Objective

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=4,
)


def state_of(*records: TrialRecord) -> SweepState:
    state = SweepState(Objective("valid_acc", maximize=True))
    state.trials = {record.trial: record for record in records}
    return state


def params_column(*values: Any) -> pa.ChunkedArray:
    return trials_table(state_of(*(TrialRecord(n, {"p": value}) for n, value in enumerate(values)))).column("params.p")


@pytest.fixture
def state() -> SweepState:
    done = TrialRecord(
        0,
        {"lr": 0.2, "momentum": 0.9},
        TrialStatus.COMPLETED,
        rows={2: {"epoch": 2, "valid_acc": 0.7}, 1: {"epoch": 1, "valid_acc": 0.8, "extra": 1.0}},
        costs={"n_parameters": 10, "fit_s": 1.5},
        best_epoch=1,
        best_value=0.8,
        best_params={"lr": 0.1, "momentum": 0.9},
        placement={"node": "n1", "pid": 7, "gpu": "0", "ray_node": "8f"},
        started=1.25,
        ended=1_800_000_000.5,
    )
    failed = TrialRecord(
        1, {"lr": 0.3}, TrialStatus.FAILED, cause="oom", error="boom", failures=[{"cause": "oom"}], started=2.0
    )
    return state_of(done, failed, TrialRecord(2, {"lr": 0.4}))


def test_a_trials_row_has_its_best_and_its_last(state):
    row = trials_table(state).to_pylist()[0]
    assert row == {
        "trial": 0, "status": "COMPLETED", "epochs": 2, "best_epoch": 1, "score": 0.8, "last": 0.7,
        "params.lr": 0.1, "params.momentum": 0.9, "n_parameters": 10, "fit_s": 1.5, "rung": None, "cause": None,
        "error": None, "failures": 0, "node": "n1", "pid": 7, "gpu": "0", "ray_node": "8f",
        "started": datetime.fromtimestamp(1.25, UTC), "ended": datetime.fromtimestamp(1_800_000_000.5, UTC),
    }  # fmt: skip


def test_what_does_not_apply_is_null(state):
    _, failed, pending = trials_table(state).to_pylist()
    assert (failed["status"], failed["cause"], failed["failures"], failed["ended"]) == ("FAILED", "oom", 1, None)
    empty = {key for key, value in pending.items() if value is None}
    assert empty == set(pending) - {"trial", "status", "epochs", "failures", "params.lr"}


def test_there_is_a_row_for_each_epoch_in_order(state):
    assert metrics_table(state).to_pylist() == [
        {"trial": 0, "epoch": 1, "valid_acc": 0.8, "extra": 1.0},
        {"trial": 0, "epoch": 2, "valid_acc": 0.7, "extra": None},
    ]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 2.5, None], [1.0, 2.5, None]),
        ([True, None, False], [True, None, False]),
        (["a", "b"], ["a", "b"]),
        ([1, "a", None], ["1", "a", None]),
        ([True, 2], ["true", "2"]),
        ([2**70, 1], [str(2**70), "1"]),
        ([2**60 + 1, 0.5], [str(2**60 + 1), "0.5"]),
        ([[1], [2, 3], None], ["[1]", "[2, 3]", None]),
        ([[8], 8, "8"], ["[8]", "8", "8"]),
        ([{}, {"a": 1}], ["{}", '{"a": 1}']),
        ([None, None], [None, None]),
    ],
)
def test_params_of_several_kinds_lists_and_mappings_are_json_text(values, expected):
    found = params_column(*values)
    assert found.to_pylist() == expected
    assert [type(value) for value in found.to_pylist()] == [type(value) for value in expected]


@given(st.lists(PLAIN, max_size=4))
@settings(max_examples=150, deadline=None)
def test_any_params_survive_as_themselves_or_as_text(values):
    for value, found in zip(values, params_column(*values).to_pylist() if values else [], strict=True):
        assert value == found or value == json.loads(found)


@pytest.mark.parametrize("empty", [False, True])
def test_parquet_files_hold_the_tables_and_replace_older_ones(state, tmp_path, empty):
    state = state_of() if empty else state
    trials, metrics = tmp_path / "trials.parquet", tmp_path / "metrics.parquet"
    write_tables(state_of(TrialRecord(9, {"other": {}})), trials, metrics)
    write_tables(state, trials, metrics)
    assert pq.read_table(trials).equals(trials_table(state))
    assert pq.read_table(metrics).equals(metrics_table(state))
    assert sorted(tmp_path.iterdir()) == [metrics, trials]


def test_a_sweep_without_trials_has_the_columns_that_every_sweep_has(state):
    names = trials_table(state_of()).column_names
    assert trials_table(state_of()).num_rows == 0
    assert {"trial", "status", "score", "error", "started"} <= set(names) <= set(trials_table(state).column_names)
    assert metrics_table(state_of()).column_names == ["trial", "epoch"]
