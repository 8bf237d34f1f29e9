"""Packed rows read as the mappings that they were made of, and what cannot be packed is left as it is."""

from __future__ import annotations

import math

import pytest

from sweeps.rows import PackedRows, packed, with_shared_keys


def rows_of(epochs, **more):
    return {epoch: {"train_loss": 1 / epoch, "epoch": epoch, "valid_acc": 0.5, **more} for epoch in epochs}


def test_packed_rows_read_as_the_rows_did():
    rows = rows_of(range(1, 31))
    found = packed(rows)
    assert isinstance(found, PackedRows)
    assert found == rows
    assert repr(found) == repr(rows)  # also the order of the names, and that an epoch is an int
    assert (len(found), list(found), max(found)) == (30, list(rows), 30)
    assert (1 in found, 30 in found, 0 in found, 31 in found) == (True, True, False, False)
    assert found.get(31) is None


@pytest.mark.parametrize("epoch", [0, 3, -1])
def test_an_epoch_that_never_was_has_no_row(epoch):
    with pytest.raises(KeyError):
        packed(rows_of([1, 2]))[epoch]


def test_numbers_are_kept_to_the_last_bit():
    values = [0.1 + 0.2, 5e-324, -0.0, math.inf, math.nan]
    row = {"epoch": 1, **{f"m{place}": value for place, value in enumerate(values)}}
    assert repr(packed({1: row})[1]) == repr(row)


@pytest.mark.parametrize(
    "rows",
    [
        {},
        rows_of([2, 3]),
        rows_of([2, 1]),
        rows_of([1, 2], count=7),
        rows_of([1, 2], note="text"),
        rows_of([1]) | rows_of([2], valid_f1=0.5),
        {1: {"valid_acc": 0.5}},
        {1: {"epoch": 2, "valid_acc": 0.5}},
        {1: {"epoch": 1, "a": 0.5, "b": 0.5}, 2: {"epoch": 2, "b": 0.5, "a": 0.5}},
    ],
    ids=["none", "a gap", "out of order", "ints", "text", "a new metric", "no epoch", "another epoch", "other order"],
)
def test_rows_that_are_not_regular_stay_as_they_are(rows):
    assert packed(rows) is rows


def test_packing_twice_changes_nothing():
    found = packed(rows_of([1, 2]))
    assert packed(found) is found


def test_keys_of_trials_are_the_same_strings():
    one, other = ({"".join(["module__", "nodes"]): value} for value in (1, 2))
    assert next(iter(one)) is not next(iter(other))
    shared = [with_shared_keys(params) for params in (one, other)]
    assert shared == [one, other]
    assert next(iter(shared[0])) is next(iter(shared[1]))
