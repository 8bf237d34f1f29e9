import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.model_selection import GroupKFold, KFold, TimeSeriesSplit

from trainables.splits import make_splits

LABELS = np.repeat([0, 1, 2], [60, 30, 10])


def splits(validation, n_rows=100, y=None, stratify=False, seed=0):
    return make_splits(validation, n_rows, y, stratify_default=stratify, seed=seed)


class NoSplitter:
    """Neither splits nor iterates."""


PAIRS_BY_NAME = [([0, 1], [2])]


def make_pairs():
    return PAIRS_BY_NAME


@given(n_rows=st.integers(2, 300), n_splits=st.integers(2, 10), shuffle=st.booleans(), seed=st.integers(0, 99))
def test_folds_validate_every_row_exactly_once(n_rows, n_splits, shuffle, seed):
    n_splits = min(n_splits, n_rows)
    folds = splits({"type": "cv", "n_splits": n_splits, "shuffle": shuffle}, n_rows, seed=seed)
    assert len(folds) == n_splits
    assert sorted(np.concatenate([fold.valid for fold in folds])) == list(range(n_rows))
    assert all(sorted([*fold.train, *fold.valid]) == list(range(n_rows)) for fold in folds)


@given(n_rows=st.integers(2, 300), size=st.floats(0.01, 0.49), seed=st.integers(0, 99))
def test_holdout_divides_the_rows_in_two(n_rows, size, seed):
    (split,) = splits(size, n_rows, seed=seed)
    assert sorted([*split.train, *split.valid]) == list(range(n_rows))
    assert len(split.valid) == np.ceil(size * n_rows)


def test_the_same_seed_gives_the_same_rows_and_another_seed_others():
    first, again, other = (splits(0.2, seed=seed)[0].valid for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("validation", [0.2, 5, {"type": "holdout"}, {"type": "cv"}])
def test_stratified_by_default_keeps_the_shares_of_the_classes(validation):
    for split in splits(validation, y=LABELS, stratify=True):
        assert np.bincount(LABELS[split.valid]).tolist() == [12, 6, 2]


def test_the_description_overrides_the_default_of_stratified():
    stratified = splits({"type": "holdout", "stratified": True}, y=LABELS, stratify=False)[0]
    assert np.bincount(LABELS[stratified.valid]).tolist() == [12, 6, 2]
    (plain,) = splits({"type": "cv", "n_splits": 2, "stratified": False, "shuffle": False}, y=LABELS, stratify=True)[:1]
    assert plain.valid.tolist() == list(range(50))


def test_a_holdout_without_shuffle_is_the_last_rows_even_of_a_classifier():
    (split,) = splits({"type": "holdout", "size": 0.2, "shuffle": False}, 10, np.arange(10) % 2, stratify=True)
    assert split.train.tolist() == list(range(8))
    assert split.valid.tolist() == [8, 9]


def test_size_may_be_a_number_of_rows():
    assert len(splits({"type": "holdout", "size": 7})[0].valid) == 7


@pytest.mark.parametrize("wrap", [lambda splitter: splitter, lambda splitter: {"type": "python", "splitter": splitter}])
@pytest.mark.parametrize("splitter", [KFold(4), TimeSeriesSplit(4), list(KFold(4).split(np.empty(100)))])
def test_splitters_and_pairs_are_taken_as_they_are(wrap, splitter):
    expected = list(splitter.split(np.empty(100))) if hasattr(splitter, "split") else splitter
    made = splits(wrap(splitter))
    assert len(made) == 4
    for split, (train, valid) in zip(made, expected, strict=True):
        assert np.array_equal(split.train, train)
        assert np.array_equal(split.valid, valid)


@pytest.mark.parametrize("name", ["PAIRS_BY_NAME", "make_pairs"])
def test_a_splitter_may_be_named(name):
    (split,) = splits({"type": "python", "splitter": f"{__name__}:{name}"}, 3)
    assert (split.train.tolist(), split.valid.tolist()) == ([0, 1], [2])
    assert split.train.dtype == np.int64


def test_masks_are_turned_into_row_numbers():
    mask = np.arange(6) < 4
    (split,) = splits([(mask, ~mask)], 6)
    assert (split.train.tolist(), split.valid.tolist()) == ([0, 1, 2, 3], [4, 5])


@pytest.mark.parametrize(
    ("validation", "message"),
    [
        ({"type": "holdot"}, "did you mean 'holdout'"),
        ({}, "type None is not one of"),
        ({"type": "cv", "n_split": 5}, "did you mean 'n_splits'"),
        ({"type": "cv", "n_splits": 1}, "at least 2"),
        (1, "at least 2"),
        (1.5, "between 0 and 1"),
        (True, "True is no splitter"),
        ({"type": "holdout", "size": True}, "size is True"),
        ({"type": "holdout", "stratified": True, "shuffle": False}, "cannot keep the order"),
        ({"type": "cv", "stratified": "yes"}, "stratified is 'yes'"),
        ({"type": "cv", "stratified": True}, "not no y"),
        ({"type": "holdout", "size": 100}, "leaves none to train on"),
        (101, "at least as many rows"),
        (NoSplitter(), "is no splitter"),
        ({"type": "python"}, "splitter is None"),
        ({"type": "python", "splitter": "no_such_module:x"}, "no module:attribute"),
        ([], "no split was given"),
        ([([0, 1], [1, 2])], "row 1 first"),
        ([([0, 1], [])], "valid of split 0 is empty"),
        ([([0, 1], [100])], "rows go from 0 to 99"),
        ([([0, -1], [2])], "holds row -1"),
        ([([0.0, 1.0], [2.0])], "dtype float64"),
        ((np.arange(50), np.arange(50, 100)), r"no \(train, valid\) pair"),
    ],
)
def test_a_bad_description_says_what_to_do(validation, message):
    with pytest.raises(ValueError, match=message):
        splits(validation)


def test_all_faults_of_a_description_are_named_at_once():
    with pytest.raises(ValueError, match="size is 0") as error:
        splits({"type": "holdout", "size": 0, "shuffle": "no", "folds": 3})
    assert "shuffle is 'no'" in str(error.value)
    assert "'folds' is not one of" in str(error.value)


@pytest.mark.parametrize(
    ("validation", "message"),
    [
        (5, "class 2 has 3"),
        ({"type": "holdout", "size": 1}, "3 classes do not fit"),
    ],
)
def test_a_class_too_small_to_stratify_is_named(validation, message):
    with pytest.raises(ValueError, match=message):
        splits(validation, 23, np.repeat([0, 1, 2], [10, 10, 3]), stratify=True)


def test_a_target_that_is_no_label_cannot_be_stratified():
    with pytest.raises(ValueError, match="one class label for each row"):
        splits({"type": "cv", "stratified": True}, y=np.linspace(0, 1, 100))


def test_a_splitter_with_groups_is_refused_by_scikit_learn_before_anything_is_drawn():
    with pytest.raises(ValueError, match="groups"):
        splits(GroupKFold(2))
