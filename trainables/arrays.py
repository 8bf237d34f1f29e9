"""What users pass as X and y, as the arrays that torch takes: every cast becomes a note, every fault a problem.

It knows nothing of splits or nets, and raises nothing: `TrialData.make` reports all the problems at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse

Array = NDArray[Any]
Target = Literal["classifier", "binary", "regressor", "net"]


@dataclass
class Findings:
    """What turned up while data was read.

    Attributes
    ----------
    notes : list of str
        One line for each change made.
    problems : list of str
        One line for each fault: what was given, what is allowed, what to do.
    """

    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def as_features(X: Any, found: Findings) -> Array | dict[str, Array] | None:
    """Turn X into float32, or a dict of inputs into float32 and int64.

    Parameters
    ----------
    X : array-like, DataFrame, tensor, or mapping of str to array-like
        The features; two dimensions or more, except in a mapping.
    found : Findings
        Takes notes and problems.

    Returns
    -------
    ndarray or dict of ndarray, or None
        None when there is nothing to go on with; `found` says why.
    """
    if isinstance(X, Mapping):
        if not X:
            found.problems.append("X: the dict is empty; give it one array for each argument of the module's forward")
        inputs = {str(key): _as_input(value, f"X[{key!r}]", found) for key, value in X.items()}
        return {key: array for key, array in inputs.items() if array is not None} or None
    array = _as_numbers(X, "X", found)
    if array is None:
        return None
    if array.ndim < 2:
        found.problems.append(
            f"X: has shape {array.shape}; give at least two dimensions, rows first (one feature: X.reshape(-1, 1))"
        )
        return None
    if 0 in array.shape[1:]:
        found.problems.append(f"X: has shape {array.shape}, so a row holds nothing; give it columns")
    hint = "" if array.dtype.kind == "f" else ' (a dict such as {"X": ids} keeps integers as int64)'
    return _finite(_cast(array, np.float32, "X", found, hint), "X", found, getattr(X, "columns", None))


def as_target(y: Any, target: Target, found: Findings) -> Array | None:
    """Turn y into what the loss of this kind of net takes.

    Parameters
    ----------
    y : array-like, Series or tensor
        The targets.
    target : {"classifier", "binary", "regressor", "net"}
        ``classifier`` gives int64 labels 0 to k - 1, ``binary`` float32 of 0 and 1, ``regressor`` float32 with at least
        two dimensions, ``net`` float32 or int64.
    found : Findings
        Takes notes and problems.

    Returns
    -------
    ndarray or None
        None when there is nothing to go on with; `found` says why.
    """
    array = _as_numbers(y, "y", found)
    if array is None:
        return None
    if array.ndim == 0:
        found.problems.append(f"y: is a single value, {array}; give one for each row")
        return None
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        _finite(array, "y", found, None)
        return None
    return _AS_TARGET[target](array, found)


def _labels(y: Array, found: Findings) -> Array | None:
    labels = _one_column(y, found)
    if labels is None:
        return None
    known = np.unique(labels)
    if len(known) == 1:
        found.problems.append(f"y: has only one class, {known[0]}; give rows of at least two")
    elif not np.array_equal(known, np.arange(len(known))):
        found.problems.append(
            f"y: labels must be the whole numbers 0 to {len(known) - 1} for {len(known)} classes, not {_some(known)}; "
            f"{_ENCODE_LABELS}"
        )
    else:
        return _cast(labels, np.int64, "y", found)
    return None


def _zero_one(y: Array, found: Findings) -> Array | None:
    labels = _one_column(y, found)
    if labels is None:
        return None
    known = np.unique(labels)
    if not np.isin(known, (0, 1)).all():
        found.problems.append(
            f"y: labels of a binary classifier must be 0 and 1, not {_some(known)}; for two classes "
            f"{_ENCODE_LABELS}, for more use NeuralNetClassifier"
        )
    elif len(known) == 1:
        found.problems.append(f"y: has only one class, {known[0]}; give rows of both")
    else:
        return _cast(labels, np.float32, "y", found)
    return None


def _column(y: Array, found: Findings) -> Array:
    y = _cast(y, np.float32, "y", found)
    if y.ndim > 1:
        return y
    found.notes.append(f"y: reshaped from {y.shape} to {(len(y), 1)}, the shape of a net's output")
    return y.reshape(-1, 1)


def _plain(y: Array, found: Findings) -> Array:
    return _cast(y, np.float32 if y.dtype.kind == "f" else np.int64, "y", found)


_AS_TARGET = {"classifier": _labels, "binary": _zero_one, "regressor": _column, "net": _plain}
_ENCODE_LABELS = "use sklearn.preprocessing.LabelEncoder().fit_transform(y)"
_ENCODE_COLUMNS = "encode them, for example with sklearn.preprocessing.OrdinalEncoder, or leave them out"


def _as_input(value: Any, name: str, found: Findings) -> Array | None:
    array = _as_numbers(value, name, found)
    if array is None:
        return None
    if array.ndim == 0:
        found.problems.append(f"{name}: is a single value, {array}; give one for each row")
        return None
    array = _cast(array, np.float32 if array.dtype.kind == "f" else np.int64, name, found)
    return _finite(array, name, found, getattr(value, "columns", None))


def _as_numbers(value: Any, name: str, found: Findings) -> Array | None:
    """Give an array of floats, integers or bools; None, with a problem, for everything else."""
    if hasattr(value, "iloc"):
        return _from_pandas(value, name, found)
    unusable = _unusable(value)
    if unusable:
        found.problems.append(f"{name}: {unusable}")
        return None
    if isinstance(value, torch.Tensor):
        tensor = value.detach().cpu()
        value = tensor.float().numpy() if tensor.dtype is torch.bfloat16 else tensor.numpy()
    try:
        array = np.asarray(value)
    except ValueError as error:
        found.problems.append(f"{name}: {type(value).__name__} is no array ({error}); give rows of equal length")
        return None
    if array.dtype.kind in "fiub":
        return array
    advice = _ENCODE_LABELS if name == "y" else _ENCODE_COLUMNS
    found.problems.append(
        f"{name}: has dtype {array.dtype}, which is not a number; if it holds numbers, use astype('float32'), "
        f"otherwise {advice}"
    )
    return None


def _from_pandas(value: Any, name: str, found: Findings) -> Array | None:
    dtypes = value.dtypes.items() if value.ndim == 2 else [(value.name, value.dtype)]
    odd = [f"{column!r} ({dtype})" for column, dtype in dtypes if getattr(dtype, "kind", "O") not in "fiub"]
    if odd:
        what = f"has dtype {value.dtype}" if value.ndim == 1 else f"columns {', '.join(odd)} are not numbers"
        found.problems.append(f"{name}: {what}; {_ENCODE_LABELS if name == 'y' else _ENCODE_COLUMNS}")
        return None
    array = value.to_numpy()
    # pandas' nullable and mixed columns only become numbers when they are told what a missing value is.
    return array if array.dtype.kind in "fiub" else value.to_numpy(dtype=np.float64, na_value=np.nan)  # type: ignore[no-any-return]


def _unusable(value: Any) -> str | None:
    """Why NumPy must not guess at this value, and what to do."""
    if sparse.issparse(value) or (isinstance(value, torch.Tensor) and value.layout is not torch.strided):
        return "is sparse, and tensors of a net's input are dense; convert it (scipy: X.toarray(), torch: X.to_dense())"
    if isinstance(value, np.ma.MaskedArray):
        return "is a masked array, whose mask would be lost; fill it first, for example with the mean"
    if isinstance(value, tuple):
        return "is a tuple; several inputs go in a dict, by the names of the arguments of the module's forward"
    if isinstance(value, Mapping):
        return "is a dict; give one array"
    return "is missing; give an array" if value is None else None


def _one_column(y: Array, found: Findings) -> Array | None:
    if y.ndim == 2 and y.shape[1] == 1:
        found.notes.append(f"y: reshaped from {y.shape} to {(len(y),)}, one label for each row")
        return y.ravel()
    if y.ndim == 1:
        return y
    found.problems.append(
        f"y: has shape {y.shape}, but a classifier takes one label for each row; for other targets use NeuralNet"
    )
    return None


def _cast(array: Array, dtype: type[Any], name: str, found: Findings, hint: str = "") -> Array:
    if array.dtype != dtype:
        loses = (
            array.dtype.kind in "iu"
            and dtype is np.float32
            and array.size
            and max(array.max(), -int(array.min())) > 2**24
        )
        hint += "; integers beyond 16,777,216 lose digits" if loses else ""
        found.notes.append(f"{name}: cast from {array.dtype} to {np.dtype(dtype)}{hint}")
    with np.errstate(over="ignore"):  # too large for float32 becomes infinite, and that is a problem of its own
        return np.ascontiguousarray(array, dtype=dtype)


def _finite(array: Array, name: str, found: Findings, columns: Sequence[Any] | None) -> Array:
    if array.dtype.kind != "f":
        return array
    bad = ~np.isfinite(array)
    if not bad.any():
        return array
    n_nan = int(np.isnan(array).sum())
    rows = np.flatnonzero(bad.reshape(len(array), -1).any(axis=1))
    where = ""
    if array.ndim == 2 and array.shape[1] > 1:
        names = np.arange(array.shape[1]) if columns is None else np.asarray(columns, dtype=object)
        where = f"in columns {_some(names[bad.any(axis=0)])}, "
    found.problems.append(
        f"{name}: {n_nan} NaN and {int(bad.sum()) - n_nan} infinite values as {array.dtype}, {where}"
        f"in {len(rows)} rows, row {rows[0]} first; fill them (sklearn.impute.SimpleImputer) or leave these rows out"
    )
    return array


def _some(values: Array) -> str:
    shown = ", ".join(repr(value) for value in values[:5].tolist())
    return shown + (f", … ({len(values)} in all)" if len(values) > 5 else "")
