"""What schedulers compare trials by: to the last bit as numpy has it, and without what was taken back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeps.compared import RunningMeans, SortedValues

SCORES = st.floats(-1e30, 1e30)


@given(st.dictionaries(st.integers(0, 9), SCORES, min_size=1), st.floats(0, 100))
def test_percentiles_are_those_of_numpy(scores, percent):
    values = SortedValues()
    for key, score in scores.items():
        values[key] = score
    assert values.percentile(percent) == np.nanpercentile(list(scores.values()), percent)


def test_a_value_that_is_set_again_or_taken_out_counts_no_more():
    values = SortedValues()
    for key, value in (("a", 1.0), ("b", 5.0), ("c", 5.0), ("a", 9.0)):
        values[key] = value
    del values["b"]
    assert dict(values) == {"c": 5.0, "a": 9.0}
    assert [values.percentile(percent) for percent in (0, 50, 100)] == [5, 7, 9]


def test_a_mean_is_of_the_epochs_from_the_first_that_counts():
    means = RunningMeans(2)
    for epoch, value in ((1, 100.0), (2, 1.0), (4, 4.0)):
        means.add(0, epoch, value)
    assert [means.median_of_others(1, epoch, least=1) for epoch in (1, 2, 3, 4, 5)] == [None, 1, 1, 2.5, None]
    assert list(means.reported(0)) == [100, 1, 4]


def test_a_trial_is_not_compared_with_itself():
    means = RunningMeans(1)
    for trial, value in enumerate((1.0, 2.0, 9.0)):
        means.add(trial, 1, value)
    assert [means.median_of_others(trial, 1, least=2) for trial in range(3)] == [5.5, 5, 1.5]
    assert means.median_of_others(0, 1, least=3) is None


@pytest.mark.parametrize("again_at", [1, 2])
def test_what_a_trial_had_reported_before_it_was_started_again_counts_no_more(again_at):
    means, fresh = RunningMeans(1), RunningMeans(1)
    for epoch in (1, 2, 3):
        means.add(0, epoch, 1.0)
    for epoch in range(1, again_at):
        fresh.add(0, epoch, 1.0)
    for books in (means, fresh):
        books.add(0, again_at, 7.0)
    for epoch in (1, 2, 3):
        assert means.median_of_others(1, epoch, least=1) == fresh.median_of_others(1, epoch, least=1)
    assert list(means.reported(0)) == list(fresh.reported(0))
