"""X, y and splits of a trial as one checked value.

It reads no files (`loaders` does) and draws no splits (`splits` does).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from skorch import NeuralNet, NeuralNetBinaryClassifier, NeuralNetClassifier, NeuralNetRegressor
from torch.utils.data import Dataset

from trainables.arrays import Array, Findings, Target, as_features, as_target
from trainables.splits import Split, make_splits

Features = Array | dict[str, Array] | Dataset[Any]


class DataError(ValueError):
    """Data that cannot be trained on; it is shown with every problem at once.

    Attributes
    ----------
    problems : tuple of str
        What is wrong and what to do, one line each.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__(self.problems)

    def __str__(self) -> str:
        if len(self.problems) == 1:
            return self.problems[0]
        return "\n  - ".join([f"{len(self.problems)} problems with the data:", *self.problems])


@dataclass(frozen=True, eq=False, kw_only=True)
class TrialData:
    """What every trial of a sweep trains on and is measured on; make it with `TrialData.make`.

    Attributes
    ----------
    X : ndarray of float32, shape (n_rows, …); dict of float32 and int64 arrays; or torch Dataset
        The features.
    y : ndarray or None
        The targets: int64 of shape (n_rows,) for a classifier, float32 of shape (n_rows,) for a binary classifier,
        float32 of shape (n_rows, …) for a regressor, float32 or int64 for another net.
    splits : tuple of Split
        Drawn once; one for a holdout, one for each fold of a cross-validation.
    classes : ndarray of int64, shape (n_classes,), or None
        The labels of a classifier.
    notes : tuple of str
        One line for each change made to X and y, to show to the user.
    fingerprint : str
        ``"sha256:…"`` of names, dtypes, shapes and contents of X and y. Of an array above 256 MiB it reads 256 MiB of
        rows that a fixed seed picks, so a change in other rows stays unseen; of a Dataset only type and length.
    """

    X: Features
    y: Array | None
    splits: tuple[Split, ...]
    classes: Array | None = None
    notes: tuple[str, ...] = ()
    fingerprint: str = ""

    @classmethod
    def make(cls, X: Any, y: Any = None, *, target: Target = "net", validation: Any = 0.2, seed: int = 0) -> Self:
        """Check the data, cast it to what torch takes, and draw the splits.

        Parameters
        ----------
        X : array-like, DataFrame, tensor, mapping of str to array-like, or torch Dataset
            The features, rows first. Everything becomes float32, except integers in a mapping, which become int64
            (for embeddings). A Dataset is left as it is and needs a length.
        y : array-like, Series or tensor, optional
            The targets; may be left out for a Dataset, where it serves splits and scorers only, and for ``"net"``.
        target : {"net", "classifier", "binary", "regressor"}, default "net"
            What the net predicts; `target_kind` knows it from the net.
        validation : mapping, float, int, splitter or iterable of pairs, default 0.2
            See `make_splits`. Classifiers' splits are stratified unless it says otherwise.
        seed : int, default 0
            Seed of the splits.

        Returns
        -------
        TrialData
            The same arrays where no cast was needed; they are not copied then.

        Raises
        ------
        DataError
            When the data cannot be trained on, or the splits cannot be drawn; names all the problems.
        """
        found = Findings()
        is_dataset = isinstance(X, Dataset)
        features: Features | None = X if is_dataset else as_features(X, found)
        targets = None if y is None else as_target(y, target, found)
        if y is None and target != "net" and not is_dataset:
            found.problems.append(f"y: is missing, and a {_NAMES[target]} needs it; give one target for each row")
        # What could not be read still has a length, and a wrong one is one more problem to name.
        n_rows = _common_length(X if features is None else features, y if targets is None else targets, found)
        if features is None or found.problems:
            raise DataError(found.problems)
        is_classifier = target in ("classifier", "binary")
        try:
            splits = make_splits(validation, n_rows, targets, stratify_default=is_classifier, seed=seed)
        except ValueError as error:
            raise DataError([str(error)]) from error
        if is_classifier and targets is None:
            found.notes.append("y: was not given beside the Dataset, so splits are not stratified")
        return cls(
            X=features,
            y=targets,
            splits=splits,
            classes=np.unique(targets).astype(np.int64) if is_classifier and targets is not None else None,
            notes=tuple(found.notes),
            fingerprint=_fingerprint(features, targets),
        )

    @property
    def n_rows(self) -> int:
        """Rows of the whole data, both parts of every split included."""
        return _length(self.X)


def target_kind(net: NeuralNet) -> Target:
    """Tell from a net's class what its targets look like.

    Parameters
    ----------
    net : skorch.NeuralNet
        The net, initialized or not.

    Returns
    -------
    {"classifier", "binary", "regressor", "net"}
        ``"net"`` for every net that is none of skorch's three special classes.
    """
    for kind, net_class in _NET_CLASSES.items():
        if isinstance(net, net_class):
            return kind
    return "net"


_NET_CLASSES: dict[Target, type] = {
    "classifier": NeuralNetClassifier,
    "binary": NeuralNetBinaryClassifier,
    "regressor": NeuralNetRegressor,
}
_NAMES = {"classifier": "classifier", "binary": "binary classifier", "regressor": "regressor"}
_HASHED_BYTES = 256 * 2**20


def _length(X: Any) -> int:
    return len(next(iter(X.values()))) if isinstance(X, dict) else len(X)


def _rows_of(array: Any) -> int | None:
    if hasattr(array, "shape"):
        return int(array.shape[0]) if array.shape else None
    return len(array) if hasattr(array, "__len__") else None


def _common_length(features: Any, targets: Any, found: Findings) -> int:
    """Rows of X and y; a problem when there are none, or not equally many."""
    if isinstance(features, Dataset) and not hasattr(features, "__len__"):
        found.problems.append(f"X: {type(features).__name__} has no length; give a Dataset with __len__")
        return 0
    counted = {name: _rows_of(array) for name, array in _named(features, targets)}
    lengths = {name: n_rows for name, n_rows in counted.items() if n_rows is not None}
    if len(set(lengths.values())) > 1:
        given = ", ".join(f"{name} has {length}" for name, length in lengths.items())
        found.problems.append(f"lengths differ: {given} rows; give one target for each row")
    if 0 in lengths.values():
        found.problems.append("there are no rows; give at least one for each part of the splits")
    return next(iter(lengths.values()), 0)


def _named(features: Any, targets: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(features, Mapping):
        yield from ((f"X[{key!r}]", features[key]) for key in sorted(features))
    elif features is not None:
        yield "X", features
    if targets is not None:
        yield "y", targets


def _fingerprint(features: Features, targets: Array | None) -> str:
    digest = hashlib.sha256()
    for name, array in _named(features, targets):
        if isinstance(array, Dataset):
            digest.update(f"{name} {type(array).__module__}.{type(array).__qualname__} {_length(array)}\n".encode())
            continue
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        if array.nbytes > _HASHED_BYTES:
            n_hashed = max(1, _HASHED_BYTES * len(array) // array.nbytes)
            array = array[np.sort(np.random.default_rng(0).integers(len(array), size=n_hashed))]
        digest.update(np.ascontiguousarray(array).data)
    return f"sha256:{digest.hexdigest()}"
