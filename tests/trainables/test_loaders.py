import pickle
import sys

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import pytest
import torch
from torch.utils.data import Dataset, TensorDataset

from trainables.data import DataError
from trainables.loaders import load

PAIR = (np.zeros((3, 2)), np.array([0, 1, 0]))
DATASET = TensorDataset(torch.zeros(3, 2), torch.zeros(3))
TRIPLE = (1, 2, 3)


def make_pair():
    return list(PAIR)


class Numbers(Dataset):
    def __len__(self):
        return 3


def problems(description, base_dir="."):
    with pytest.raises(DataError) as error:
        load(description, base_dir)
    return error.value.problems


def table(start=0, rows=4, **columns):
    numbers = np.arange(start, start + rows)
    return pa.table({"a": numbers, "b": numbers / 2, "label": numbers % 2, **columns})


@pytest.fixture
def parquet(tmp_path):
    pa.parquet.write_table(table(), tmp_path / "rows.parquet")
    return {"type": "parquet", "path": "rows.parquet", "target": "label"}


@pytest.mark.parametrize(
    ("name", "shape"), [("digits", (1797, 64)), ("iris", (150, 4)), ("wine", (178, 13)), ("diabetes", (442, 10))]
)
def test_scikit_learns_own_sets_load_by_name(name, shape):
    X, y = load({"type": "sklearn", "name": name})
    assert X.shape == shape
    assert y.shape == shape[:1]


def test_generators_take_their_options_and_give_the_same_rows_each_time():
    description = {"type": "sklearn", "name": "make_classification", "n_samples": 30, "n_features": 8}
    X, y = load(description)
    assert X.shape == (30, 8)
    assert np.array_equal(X, load(description)[0])
    assert not np.array_equal(X, load(description | {"random_state": 1})[0])
    assert set(y) == {0, 1}


@pytest.mark.parametrize(
    "name",
    [
        *("breast_cancer", "linnerud", "make_blobs", "make_circles", "make_friedman1", "make_friedman2"),
        *("make_friedman3", "make_gaussian_quantiles", "make_hastie_10_2", "make_moons"),
        *("make_multilabel_classification", "make_regression", "make_s_curve", "make_sparse_uncorrelated"),
        "make_swiss_roll",
    ],
)
def test_every_other_set_and_generator_gives_x_and_y_of_one_length(name):
    X, y = load({"type": "sklearn", "name": name})
    assert X.ndim == 2
    assert len(X) == len(y)


@pytest.mark.parametrize(
    ("description", "message"),
    [
        ({"type": "sklearn", "name": "digit"}, "did you mean 'digits'"),
        ({"type": "sklearn", "name": "fetch_openml"}, "is not one of"),
        ({"type": "sklearn"}, "name: is missing"),
        ({"type": "sklearn", "name": "make_moons", "n_sample": 3}, "did you mean 'n_samples'"),
        ({"type": "sklearn", "name": "digits", "return_X_y": False}, "not an option of digits"),
        ({"type": "sklearn", "name": "make_moons", "noise": "much"}, "scikit-learn refuses"),
        ({"type": "sklearn", "name": "make_regression", "coef": True}, "gives 3 values"),
        ({"type": "sklern", "name": "digits"}, "did you mean 'sklearn'"),
        ({"type": ["npz"], "name": "digits"}, "type: ['npz'] is not one of"),
        ({"name": "digits"}, "type: None is not one of"),
        ({"type": "npz", "path": "x.npz", "Y": "y"}, "Y: not a key of npz data; did you mean 'y'"),
    ],
)
def test_a_description_that_names_nothing_says_what_exists(description, message):
    (problem,) = problems(description)
    assert message in problem


def test_npz_arrays_load_by_name_from_a_path_relative_to_the_base(tmp_path):
    np.savez(tmp_path / "rows.npz", X=np.eye(3), labels=np.arange(3), y=np.zeros(3))
    X, y = load({"type": "npz", "path": "rows.npz", "y": "labels"}, tmp_path)
    assert X.shape == (3, 3)
    assert y.tolist() == [0, 1, 2]
    assert load({"type": "npz", "path": str(tmp_path / "rows.npz"), "y": None})[1] is None


def test_npz_names_every_array_that_is_missing(tmp_path):
    np.savez(tmp_path / "rows.npz", x_train=np.eye(3))
    found = problems({"type": "npz", "path": "rows.npz", "X": "X_train"}, tmp_path)
    assert len(found) == 2
    assert "did you mean 'x_train'" in found[0]


def test_a_missing_file_names_its_neighbours(tmp_path):
    np.savez(tmp_path / "train.npz", X=np.eye(3))
    (problem,) = problems({"type": "npz", "path": "trian.npz"}, tmp_path)
    assert "did you mean 'train.npz'" in problem


class Bomb:
    def __reduce__(self):
        return (exec, ("raise SystemExit",))


def test_objects_in_npz_are_never_unpickled(tmp_path):
    np.savez(tmp_path / "bomb.npz", X=np.array([Bomb()], dtype=object), y=np.zeros(1))
    (tmp_path / "bare.npz").write_bytes(pickle.dumps(Bomb()))
    for name in ("bomb.npz", "bare.npz"):
        (problem,) = problems({"type": "npz", "path": name}, tmp_path)
        assert "objects are never unpickled" in problem


def test_a_bare_array_and_a_broken_file_are_refused(tmp_path):
    np.save(tmp_path / "bare.npy", np.eye(3))
    np.savez(tmp_path / "cut.npz", X=np.eye(30), y=np.zeros(30))
    (tmp_path / "cut.npz").write_bytes((tmp_path / "cut.npz").read_bytes()[:200])
    (tmp_path / "empty.npz").touch()
    assert "one bare array" in problems({"type": "npz", "path": "bare.npy"}, tmp_path)[0]
    assert "cannot be read" in problems({"type": "npz", "path": "cut.npz"}, tmp_path)[0]
    assert "cannot be read" in problems({"type": "npz", "path": "empty.npz"}, tmp_path)[0]


def test_parquet_gives_all_columns_but_the_target(parquet, tmp_path):
    X, y = load(parquet, tmp_path)
    assert X.tolist() == [[0, 0], [1, 0.5], [2, 1], [3, 1.5]]
    assert y.tolist() == [0, 1, 0, 1]
    assert y.dtype == np.int64


def test_parquet_gives_the_columns_named_in_their_order(parquet, tmp_path):
    X, y = load(parquet | {"columns": ["b", "a"], "target": None}, tmp_path)
    assert X[3].tolist() == [1.5, 3]
    assert y is None


def test_integer_columns_stay_integers(parquet, tmp_path):
    assert load(parquet | {"columns": ["a"]}, tmp_path)[0].dtype == np.int64


@pytest.mark.parametrize("path", ["many", "many/*.parquet", "m*/part-?.parquet", "uri"])
def test_a_directory_a_pattern_and_a_uri_read_files_in_the_order_of_their_names(path, tmp_path):
    (tmp_path / "many").mkdir()
    for part in (2, 0, 1):
        pa.parquet.write_table(table(start=10 * part, rows=2), tmp_path / "many" / f"part-{part}.parquet")
    (tmp_path / "many" / "_SUCCESS").touch()
    (tmp_path / "many" / "notes.txt").write_text("no data")
    path = (tmp_path / "many").as_uri() if path == "uri" else path
    X, _ = load({"type": "parquet", "path": path, "target": "label"}, tmp_path)
    assert X[:, 0].tolist() == [0, 1, 10, 11, 20, 21]


def test_partition_directories_below_the_path_become_columns_and_those_above_do_not(tmp_path):
    for year in (1, 2):
        folder = tmp_path / "run=7" / "many" / f"year={year}"
        folder.mkdir(parents=True)
        pa.parquet.write_table(table(rows=1), folder / "rows.parquet")
    X, _ = load({"type": "parquet", "path": "run=7/many", "target": "label"}, tmp_path)
    assert X.tolist() == [[0, 0, 1], [0, 0, 2]]


@pytest.mark.parametrize("suffix", ["arrow", "feather"])
def test_arrow_files_are_known_by_their_suffix(suffix, tmp_path):
    pa.feather.write_feather(table(), tmp_path / f"rows.{suffix}")
    X, _ = load({"type": "parquet", "path": f"rows.{suffix}", "target": "label"}, tmp_path)
    assert X.shape == (4, 2)


def test_columns_that_are_not_there_are_all_named(parquet, tmp_path):
    found = problems(parquet | {"columns": ["a", "bb"], "target": "labels"}, tmp_path)
    assert "columns: 'bb' is not one of a, b, label" in found[0]
    assert "did you mean 'label'" in found[1]


def test_columns_without_numbers_and_with_holes_are_all_named(tmp_path):
    odd = table(town=["x", "y", None, "z"], day=pa.array([0, 1, 2, 3], pa.date32()), hole=[1, None, 3, None])
    pa.parquet.write_table(odd, tmp_path / "odd.parquet")
    found = problems({"type": "parquet", "path": "odd.parquet", "target": "label"}, tmp_path)
    assert "'town' (string), 'day' (date32[day])" in found[0]
    assert "'town' (1), 'hole' (2)" in found[1]


@pytest.mark.parametrize("columns", ["a", [], ["a", "label"]])
def test_columns_must_be_a_list_without_the_target(parquet, tmp_path, columns):
    assert "columns: give a list" in problems(parquet | {"columns": columns}, tmp_path)[0]


def test_paths_without_usable_files_are_refused(parquet, tmp_path):
    assert "did you mean 'rows.parquet'" in problems(parquet | {"path": "row.parquet"}, tmp_path)[0]
    pa.feather.write_feather(table(), tmp_path / "rows.arrow")
    assert "mixes .arrow, .parquet" in problems(parquet | {"path": "."}, tmp_path)[0]
    (tmp_path / "broken.parquet").write_text("no parquet")
    assert "broken.parquet" in problems(parquet | {"path": "broken.parquet"}, tmp_path)[0]
    (tmp_path / "rows.csv").touch()
    assert "rows.csv" in problems(parquet | {"path": "rows.csv"}, tmp_path)[0]


def test_a_broken_file_beside_whole_ones_is_refused(parquet, tmp_path):
    (tmp_path / "second.parquet").write_text("no parquet")
    assert "second.parquet" in problems(parquet | {"path": "."}, tmp_path)[0]


def test_a_uri_that_cannot_be_read_is_shown_without_its_secrets():
    (problem,) = problems({"type": "parquet", "path": "nofs://user:secret@bucket/rows?key=hidden", "target": "y"})
    assert "nofs://bucket/rows" in problem
    assert "secret" not in problem
    assert "hidden" not in problem


@pytest.mark.parametrize("name", ["PAIR", "make_pair"])
def test_python_objects_and_functions_give_x_and_y(name):
    X, y = load({"type": "python", "object": f"{__name__}:{name}"})
    assert X is PAIR[0]
    assert y is PAIR[1]


@pytest.mark.parametrize("name", ["DATASET", "Numbers"])
def test_python_datasets_need_no_y(name):
    X, y = load({"type": "python", "object": f"{__name__}:{name}"})
    assert len(X) == 3
    assert y is None


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("no_colon", "no module:attribute"),
        ("no_such_module:x", "cannot import 'no_such_module'"),
        (f"{__name__}:PAIRS", "did you mean 'PAIR'"),
        (f"{__name__}:TRIPLE", "gives 3 values, not (X, y)"),
        ("math:pi", "gives float, not (X, y)"),
    ],
)
def test_python_references_that_lead_nowhere_are_refused(reference, message):
    (problem,) = problems({"type": "python", "object": reference})
    assert message in problem


@pytest.mark.parametrize(
    ("source", "line", "message"),
    [
        ("def load():\n    return {}['x']\n", 2, "user_data:load() raised KeyError: 'x'"),
        ("def load():\n    return open('/nowhere/rows')\n", 2, "user_data:load() raised FileNotFoundError"),
        ("import numpy\ndef load():\n    numpy.load('/nowhere/rows')\n", 3, "raised FileNotFoundError"),
        ("def load():\n    raise SystemExit('no data')\n", 2, "user_data:load() raised SystemExit: no data"),
        ("\ndef load(:\n", 2, "importing user_data raised SyntaxError"),
        ("\n\n1 / 0\n", 3, "importing user_data raised ZeroDivisionError"),
        ("import not_installed_anywhere\n", 1, "importing user_data raised ModuleNotFoundError"),
    ],
)
def test_what_python_data_raise_is_told_with_the_line(tmp_path, monkeypatch, source, line, message):
    path = tmp_path / "user_data.py"
    path.write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "user_data", raising=False)
    (problem,) = problems({"type": "python", "object": "user_data:load"})
    assert message in problem
    assert problem.endswith(f"({path}:{line})")


def test_interrupting_a_data_function_is_no_problem_of_the_data(tmp_path, monkeypatch):
    (tmp_path / "slow_data.py").write_text("def load():\n    raise KeyboardInterrupt\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        load({"type": "python", "object": "slow_data:load"})
