"""How rows are divided into training and validation: a `validation` description becomes a tuple of `Split`.

It draws once and keeps the indices; it never touches the rows themselves.
"""

from __future__ import annotations

import math
import pkgutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import KFold, ShuffleSplit, StratifiedKFold, StratifiedShuffleSplit

from trainables.suggestions import did_you_mean

Index = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Split:
    """One division of the rows.

    Attributes
    ----------
    train : ndarray of int64, shape (n_train,)
        Rows to train on.
    valid : ndarray of int64, shape (n_valid,)
        Rows to validate on; none of them is in `train`.
    """

    train: Index
    valid: Index


def make_splits(
    validation: Any, n_rows: int, y: NDArray[Any] | None = None, *, stratify_default: bool, seed: int
) -> tuple[Split, ...]:
    """Draw the splits that a description asks for, once.

    Parameters
    ----------
    validation : mapping, float, int, splitter or iterable of (train, valid)
        * ``{"type": "holdout", "size": 0.2, "stratified": None, "shuffle": True}``: one split; `size` is a share of
          the rows, or a number of rows. Without `shuffle` the last rows are held out.
        * ``{"type": "cv", "n_splits": 5, "stratified": None, "shuffle": True}``: one split for each fold.
        * ``{"type": "python", "splitter": …}``: a scikit-learn splitter, an iterable of pairs, or ``module:attribute``
          that names one of them or a function that returns one.
        * a float is the size of a holdout, an int the number of folds; a splitter or an iterable is taken directly.

        A pair holds row numbers, or two masks of bool with one entry for each row. A splitter that needs groups is
        given as its pairs: ``list(splitter.split(X, y, groups))``.
    n_rows : int
        Rows of the data.
    y : ndarray, shape (n_rows,), optional
        Labels; needed for a stratified split.
    stratify_default : bool
        What ``"stratified": None`` means; without `y` and without `shuffle` in a holdout it means False.
    seed : int
        Seed of the draw; a splitter that was given keeps its own.

    Returns
    -------
    tuple of Split
        One for a holdout, one for each fold otherwise.

    Raises
    ------
    ValueError
        When the description is unknown or incomplete, when a part is empty or not inside the data, when train and
        valid overlap, or when a class has too few rows for a stratified split.
    """
    plan = _as_plan(validation)
    _check_plan(plan)
    if plan["type"] == "python":
        pairs = _given_pairs(plan["splitter"], n_rows, y)
    else:
        stratified = _stratified(plan, y, stratify_default)
        draw = _holdout if plan["type"] == "holdout" else _folds
        pairs = draw(plan, n_rows, y if stratified else None, seed)
    splits = tuple(_as_split(pair, number, n_rows) for number, pair in enumerate(pairs))
    if not splits:
        raise ValueError("validation: no split was given; give at least one (train, valid) pair")
    return splits


_DEFAULTS: dict[str, dict[str, Any]] = {
    "holdout": {"size": 0.2, "stratified": None, "shuffle": True},
    "cv": {"n_splits": 5, "stratified": None, "shuffle": True},
    "python": {"splitter": None},
}


def _as_plan(validation: Any) -> dict[str, Any]:
    """Bring a description into one form: a dict with a `type` and every key of that type."""
    if isinstance(validation, Mapping):
        return _DEFAULTS.get(str(validation.get("type")), {}) | dict(validation)
    if _is_whole(validation):
        return _DEFAULTS["cv"] | {"type": "cv", "n_splits": validation}
    if isinstance(validation, float | np.floating):
        return _DEFAULTS["holdout"] | {"type": "holdout", "size": validation}
    return {"type": "python", "splitter": validation}


def _check_plan(plan: Mapping[str, Any]) -> None:
    kind = plan.get("type")
    if kind not in _DEFAULTS:
        raise ValueError(
            f"validation: type {kind!r} is not one of {', '.join(_DEFAULTS)}{did_you_mean(kind, _DEFAULTS)}"
        )
    allowed = ("type", *_DEFAULTS[str(kind)])
    problems = [
        f"{key!r} is not one of {', '.join(allowed)}{did_you_mean(key, allowed)}" for key in plan if key not in allowed
    ]
    checks = {
        "size": (_is_size, "a share between 0 and 1, or a number of rows"),
        "n_splits": (_is_fold_count, "a whole number of at least 2"),
        "stratified": (lambda value: value is None or isinstance(value, bool), "true, false or null"),
        "shuffle": (lambda value: isinstance(value, bool), "true or false"),
        "splitter": (lambda value: value is not None, "a splitter, pairs of rows, or module:attribute"),
    }
    for key in allowed[1:]:
        fits, what = checks[key]
        if not fits(plan[key]):
            problems.append(f"{key} is {plan[key]!r}; give {what}")
    if kind == "holdout" and plan["stratified"] is True and plan["shuffle"] is False:
        problems.append("a holdout that is stratified cannot keep the order of the rows; leave one of the two out")
    if problems:
        raise ValueError(f"validation ({kind}): " + "; ".join(problems))


def _is_size(value: Any) -> bool:
    return bool(value >= 1) if _is_whole(value) else isinstance(value, float | np.floating) and bool(0 < value < 1)


def _is_fold_count(value: Any) -> bool:
    return _is_whole(value) and bool(value >= 2)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _stratified(plan: Mapping[str, Any], y: NDArray[Any] | None, default: bool) -> bool:
    if plan["stratified"] is None:
        keeps_order = plan["type"] == "holdout" and not plan["shuffle"]
        return default and y is not None and not keeps_order
    if plan["stratified"] and (y is None or y.ndim != 1 or (y.dtype.kind == "f" and np.any(y != np.floor(y)))):
        what = "no y" if y is None else f"y of dtype {y.dtype} and shape {y.shape}"
        raise ValueError(
            f"validation: stratified needs one class label for each row, not {what}; set stratified: false"
        )
    return bool(plan["stratified"])


def _holdout(plan: Mapping[str, Any], n_rows: int, labels: NDArray[Any] | None, seed: int) -> Iterable[Any]:
    n_valid = int(plan["size"]) if _is_whole(plan["size"]) else math.ceil(plan["size"] * n_rows)
    if n_valid >= n_rows:
        raise ValueError(
            f"validation: a holdout of {n_valid} of {n_rows} rows leaves none to train on; make size smaller"
        )
    if not plan["shuffle"]:
        rows = np.arange(n_rows)
        return [(rows[:-n_valid], rows[-n_valid:])]
    if labels is None:
        unlabelled = ShuffleSplit(n_splits=1, test_size=n_valid, random_state=seed)
        return unlabelled.split(np.empty(n_rows))  # type: ignore[no-any-return]
    _check_class_sizes(labels, 2, "a stratified holdout")
    n_classes = len(np.unique(labels))
    if min(n_valid, n_rows - n_valid) < n_classes:
        raise ValueError(
            f"validation: {n_classes} classes do not fit into a holdout of {n_valid} of {n_rows} rows; "
            "change size, or set stratified: false"
        )
    splitter = StratifiedShuffleSplit(n_splits=1, test_size=n_valid, random_state=seed)
    return splitter.split(np.empty(n_rows), labels)  # type: ignore[no-any-return]


def _folds(plan: Mapping[str, Any], n_rows: int, labels: NDArray[Any] | None, seed: int) -> Iterable[Any]:
    n_splits = int(plan["n_splits"])
    if n_splits > n_rows:
        raise ValueError(
            f"validation: {n_splits} folds need at least as many rows, not {n_rows}; make n_splits smaller"
        )
    if labels is not None:
        _check_class_sizes(labels, n_splits, f"{n_splits} stratified folds")
    splitter = KFold if labels is None else StratifiedKFold
    # scikit-learn refuses a seed that would have no effect.
    random_state = seed if plan["shuffle"] else None
    return splitter(n_splits, shuffle=plan["shuffle"], random_state=random_state).split(np.empty(n_rows), labels)  # type: ignore[no-any-return]


def _check_class_sizes(labels: NDArray[Any], needed: int, what: str) -> None:
    classes, counts = np.unique(labels, return_counts=True)
    small = [
        f"{label} has {count}" for label, count in zip(classes.tolist(), counts.tolist(), strict=True) if count < needed
    ]
    if small:
        raise ValueError(
            f"validation: {what} needs at least {needed} rows of each class, but class {', '.join(small[:5])}; "
            "leave such classes out, use fewer splits, or set stratified: false"
        )


def _given_pairs(splitter: Any, n_rows: int, y: NDArray[Any] | None) -> Iterable[Any]:
    if isinstance(splitter, str):
        splitter = _resolve(splitter)
    if hasattr(splitter, "split"):
        return splitter.split(np.empty((n_rows, 1)), y)  # type: ignore[no-any-return]
    if isinstance(splitter, Iterable):
        return splitter
    raise ValueError(
        f"validation: {splitter!r} is no splitter; give a mapping with type {', '.join(_DEFAULTS)}, a scikit-learn "
        "splitter, a share to hold out, a number of folds, or (train, valid) pairs"
    )


def _resolve(reference: str) -> Any:
    try:
        splitter = pkgutil.resolve_name(reference)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"validation: splitter {reference!r} is no module:attribute ({error})") from error
    return splitter() if callable(splitter) else splitter


def _as_split(pair: Any, number: int, n_rows: int) -> Split:
    if not isinstance(pair, (tuple, list)) or len(pair) != 2:
        raise ValueError(
            f"validation: split {number} is no (train, valid) pair of row numbers, but {type(pair).__name__}"
        )
    split = Split(
        *(
            _as_rows(part, f"{name} of split {number}", n_rows)
            for name, part in zip(("train", "valid"), pair, strict=True)
        )
    )
    shared = np.intersect1d(split.train, split.valid)
    if shared.size:
        raise ValueError(
            f"validation: {shared.size} rows of split {number} are in train and in valid, row {shared[0]} first; "
            "a row belongs to one of them"
        )
    return split


def _as_rows(part: Any, name: str, n_rows: int) -> Index:
    rows = np.asarray(part)
    if rows.dtype == bool and rows.shape == (n_rows,):
        rows = np.flatnonzero(rows)
    if rows.ndim == 1 and rows.size == 0:
        raise ValueError(f"validation: {name} is empty; give it rows")
    if rows.ndim != 1 or rows.dtype.kind not in "iu":
        raise ValueError(
            f"validation: {name} has dtype {rows.dtype} and shape {rows.shape}; "
            f"give row numbers, or a mask of {n_rows} bools"
        )
    if rows.min() < 0 or rows.max() >= n_rows:
        outside = rows[(rows < 0) | (rows >= n_rows)]
        raise ValueError(f"validation: {name} holds row {outside[0]}; rows go from 0 to {n_rows - 1}")
    return rows.astype(np.int64)
