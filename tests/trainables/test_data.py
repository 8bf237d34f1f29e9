import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse
from skorch import NeuralNet, NeuralNetBinaryClassifier, NeuralNetClassifier, NeuralNetRegressor
from torch import nn
from torch.utils.data import IterableDataset, TensorDataset

from trainables.data import DataError, TrialData, target_kind

ROWS = 20
X = np.random.default_rng(0).normal(size=(ROWS, 3)).astype(np.float32)
LABELS = np.arange(ROWS) % 2


def problems(*args, **kwargs):
    with pytest.raises(DataError) as error:
        TrialData.make(*args, **kwargs)
    return error.value.problems


def test_arrays_that_fit_are_neither_copied_nor_noted():
    data = TrialData.make(X, LABELS, target="classifier")
    assert data.X is X
    assert data.y is LABELS
    assert data.notes == ()
    assert data.n_rows == ROWS


def test_float64_is_cast_with_a_note():
    data = TrialData.make(X.astype(np.float64), LABELS, target="classifier")
    assert data.X.dtype == np.float32
    assert data.notes == ("X: cast from float64 to float32",)


@pytest.mark.parametrize("dtype", [np.int64, np.uint8, np.bool_])
def test_integers_become_float32_and_the_note_says_how_to_keep_them(dtype):
    data = TrialData.make(np.ones((ROWS, 2), dtype))
    assert data.X.dtype == np.float32
    assert '{"X": ids}' in data.notes[0]


def test_integers_that_float32_cannot_hold_are_noted():
    (note,) = TrialData.make(np.full((ROWS, 1), 2**24 + 1)).notes
    assert "lose digits" in note


def test_a_dict_keeps_integers_and_casts_floats():
    data = TrialData.make({"ids": np.arange(ROWS, dtype=np.int32), "x": X.astype(np.float64)})
    assert {key: array.dtype.name for key, array in data.X.items()} == {"ids": "int64", "x": "float32"}
    assert data.notes == ("X['ids']: cast from int32 to int64", "X['x']: cast from float64 to float32")
    assert data.X["ids"].tolist() == list(range(ROWS))
    assert data.y is None


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame({"a": np.arange(ROWS), "b": np.linspace(0, 1, ROWS)}),
        pd.DataFrame({"a": pd.array(range(ROWS), dtype="Int64"), "b": np.linspace(0, 1, ROWS)}),
    ],
)
def test_a_frame_of_numbers_becomes_an_array_in_its_column_order(frame):
    data = TrialData.make(frame, pd.Series(LABELS), target="classifier")
    np.testing.assert_allclose(data.X[:, 0], np.arange(ROWS))
    np.testing.assert_allclose(data.X[:, 1], np.linspace(0, 1, ROWS), rtol=1e-6)
    assert data.X.dtype == np.float32
    assert data.X.flags.c_contiguous
    assert np.array_equal(data.y, LABELS)


def test_columns_that_are_not_numbers_are_all_named():
    frame = pd.DataFrame({"ok": X[:, 0], "town": ["a"] * ROWS, "kind": pd.Categorical(["u"] * ROWS)})
    (problem,) = problems(frame)
    assert "'town' (str)" in problem
    assert "'kind' (category)" in problem
    assert "OrdinalEncoder" in problem
    assert "'ok'" not in problem


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_tensors_become_arrays(dtype):
    data = TrialData.make(torch.ones(ROWS, 2, dtype=dtype, requires_grad=True), torch.zeros(ROWS, dtype=torch.int32))
    assert isinstance(data.X, np.ndarray)
    assert data.X.dtype == np.float32
    assert data.y.dtype == np.int64


def test_lists_become_arrays():
    data = TrialData.make(X.tolist(), LABELS.tolist(), target="classifier")
    assert data.X.shape == X.shape
    assert data.y.dtype == np.int64


@pytest.mark.parametrize(
    ("target", "y", "dtype", "shape"),
    [
        ("classifier", LABELS.astype(np.uint8), np.int64, (ROWS,)),
        ("classifier", LABELS.astype(bool), np.int64, (ROWS,)),
        ("classifier", LABELS.astype(np.float64), np.int64, (ROWS,)),
        ("classifier", LABELS.reshape(-1, 1), np.int64, (ROWS,)),
        ("binary", LABELS, np.float32, (ROWS,)),
        ("binary", LABELS.astype(np.float32).reshape(-1, 1), np.float32, (ROWS,)),
        ("regressor", X[:, 0], np.float32, (ROWS, 1)),
        ("regressor", X.astype(np.float64), np.float32, (ROWS, 3)),
        ("net", X.astype(np.float64), np.float32, (ROWS, 3)),
        ("net", LABELS.astype(np.int32), np.int64, (ROWS,)),
    ],
)
def test_targets_take_the_form_that_the_loss_takes_with_a_note(target, y, dtype, shape):
    data = TrialData.make(X, y, target=target)
    assert data.y.dtype == dtype
    assert data.y.shape == shape
    np.testing.assert_allclose(data.y.ravel(), np.ravel(y), rtol=1e-6)
    assert data.notes
    assert all(note.startswith("y: ") for note in data.notes)


@pytest.mark.parametrize(
    ("target", "y", "message"),
    [
        ("classifier", np.array(["cat", "dog"])[LABELS], "LabelEncoder"),
        ("classifier", pd.Series(["cat", "dog"] * (ROWS // 2)), "LabelEncoder"),
        ("classifier", LABELS + 1, "whole numbers 0 to 1 for 2 classes, not 1, 2"),
        ("classifier", LABELS * 2, "not 0, 2"),
        ("classifier", LABELS / 2, "not 0.0, 0.5"),
        ("classifier", X, "one label for each row"),
        ("classifier", np.zeros(ROWS), "only one class"),
        ("binary", LABELS * 2 - 1, "must be 0 and 1, not -1, 1"),
        ("binary", np.ones(ROWS), "only one class"),
        ("binary", X, "one label for each row"),
        ("regressor", np.array([[1], [2, 3]], dtype=object), "dtype object"),
        ("regressor", [[1], [2, 3]], "rows of equal length"),
        ("net", 3.0, "single value"),
        ("classifier", None, "is missing, and a classifier needs it"),
        ("binary", None, "a binary classifier needs it"),
        ("regressor", None, "a regressor needs it"),
    ],
)
def test_targets_that_a_loss_cannot_take_are_refused(target, y, message):
    problem, *_ = problems(X, y, target=target)
    assert message in problem


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (np.arange(ROWS), "reshape(-1, 1)"),
        (np.float32(3), "two dimensions"),
        (np.empty((ROWS, 0)), "holds nothing"),
        (np.empty((0, 3)), "no rows"),
        (sparse.eye(ROWS, format="csr"), "toarray"),
        (torch.eye(ROWS).to_sparse(), "to_dense"),
        (np.ma.masked_greater(X, 0), "masked"),
        ((X, X), "several inputs go in a dict"),
        (X.astype(str), "not a number"),
        (X.astype(complex), "not a number"),
        ({}, "empty"),
        ({"a": X, "b": {"c": X}}, "is a dict"),
        ({"a": np.float32(1)}, "single value"),
        (None, "is missing"),
    ],
)
def test_features_that_a_net_cannot_take_are_refused(features, message):
    (problem,) = problems(features)
    assert message in problem


def test_missing_values_are_counted_and_located():
    holes = X.copy()
    holes[4, 1] = np.nan
    holes[7, 2] = np.inf
    (problem,) = problems(holes)
    assert "1 NaN and 1 infinite" in problem
    assert "columns 1, 2" in problem
    assert "2 rows, row 4 first" in problem
    (problem,) = problems(pd.DataFrame(holes, columns=["a", "b", "c"]))
    assert "columns 'b', 'c'" in problem


def test_numbers_too_large_for_float32_are_a_problem_and_no_warning(recwarn):
    (problem,) = problems(np.full((ROWS, 1), 1e300))
    assert "infinite values as float32" in problem
    assert not recwarn.list


def test_missing_values_in_nullable_columns_are_found():
    (problem,) = problems(pd.DataFrame({"a": pd.array([None, *range(1, ROWS)], dtype="Int64")}))
    assert "1 NaN" in problem


def test_all_problems_come_at_once():
    found = problems(np.full((ROWS, 2), np.nan), [0, 1, np.nan], target="classifier")
    assert [problem.split(":")[0] for problem in found] == ["X", "y", "lengths differ"]
    found = problems(np.full((ROWS, 2), np.nan), [0, 1, 0], target="classifier")
    assert "X has 20, y has 3" in found[1]


def test_the_error_shows_each_problem_and_survives_pickling():
    error = DataError(["one", "two"])
    again = pickle.loads(pickle.dumps(error))
    assert again.problems == ("one", "two")
    assert str(again) == str(error) == "2 problems with the data:\n  - one\n  - two"
    assert str(DataError(["alone"])) == "alone"


def test_a_bad_split_is_a_problem_of_the_data():
    (problem,) = problems(X, LABELS, target="classifier", validation={"type": "cv", "n_splits": 11})
    assert "class 0 has 10" in problem


def test_splits_of_classifiers_are_stratified_and_others_are_not():
    y = np.repeat([0, 1], [15, 5])
    assert y[TrialData.make(X, y, target="classifier").splits[0].valid].sum() == 1
    shares = {int(y[TrialData.make(X, y, seed=seed).splits[0].valid].sum()) for seed in range(10)}
    assert len(shares) > 1


def test_classes_are_those_of_a_classifier():
    assert TrialData.make(X, np.arange(ROWS) % 3, target="classifier").classes.tolist() == [0, 1, 2]
    assert TrialData.make(X, LABELS, target="binary").classes.tolist() == [0, 1]
    assert TrialData.make(X, LABELS).classes is None


def test_the_fingerprint_depends_on_contents_dtype_and_shape_only():
    def fingerprint(features, y=LABELS, **kwargs):
        return TrialData.make(features, y, **kwargs).fingerprint

    other = X.copy()
    other[-1, -1] += 1
    first = fingerprint(X)
    assert first.startswith("sha256:")
    assert first == fingerprint(np.asfortranarray(X), seed=3)
    different = [
        fingerprint(other),
        fingerprint(X.reshape(ROWS, 3, 1)),
        fingerprint(X, 1 - LABELS),
        fingerprint(X, None),
    ]
    different.append(fingerprint({"a": X}))
    assert len({first, *different}) == 6


def test_the_fingerprint_of_a_dict_does_not_depend_on_its_order():
    ids = np.arange(ROWS)
    assert TrialData.make({"a": ids, "b": X}).fingerprint == TrialData.make({"b": X, "a": ids}).fingerprint


def test_a_large_array_is_fingerprinted_by_the_same_sample_every_time():
    large = np.zeros((17, 2**22), dtype=np.float32)  # 272 MiB
    first = TrialData.make(large).fingerprint
    assert first == TrialData.make(large).fingerprint
    large += 1
    assert first != TrialData.make(large).fingerprint


def test_a_dataset_is_left_alone_and_split_by_index():
    dataset = TensorDataset(torch.tensor(X), torch.tensor(LABELS))
    data = TrialData.make(dataset, target="classifier", validation=0.25)
    assert data.X is dataset
    assert data.y is None
    assert data.n_rows == ROWS
    assert len(data.splits[0].valid) == 5
    assert "not stratified" in data.notes[0]
    assert data.fingerprint != TrialData.make(TensorDataset(torch.tensor(X[:-1]))).fingerprint


def test_labels_beside_a_dataset_stratify_its_splits():
    y = np.repeat([0, 1], [15, 5])
    data = TrialData.make(TensorDataset(torch.tensor(X), torch.tensor(y)), y, target="classifier")
    assert y[data.splits[0].valid].sum() == 1
    assert data.classes.tolist() == [0, 1]
    assert data.y.tolist() == y.tolist()


def test_a_dataset_without_length_is_refused():
    class Stream(IterableDataset):
        def __iter__(self):
            return iter(())

    (problem,) = problems(Stream())
    assert "__len__" in problem


@pytest.mark.parametrize(
    ("net_class", "kind"),
    [
        (NeuralNetClassifier, "classifier"),
        (NeuralNetBinaryClassifier, "binary"),
        (NeuralNetRegressor, "regressor"),
        (NeuralNet, "net"),
        (type("Mine", (NeuralNetRegressor,), {}), "regressor"),
    ],
)
def test_the_kind_of_target_follows_the_class_of_the_net(net_class, kind):
    assert target_kind(net_class(nn.Linear(3, 1), criterion=nn.MSELoss)) == kind
