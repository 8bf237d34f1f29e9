"""Where the data of a sweep come from and how they are split, as configured. Loads and splits nothing."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from sweeps.config_part import Names, Part, Reference


class SklearnData(Part):
    """A data set that scikit-learn makes, loads or fetches."""

    type: Literal["sklearn"] = "sklearn"
    """Kind of data."""
    name: str
    """Name of the data set: `digits` for `load_digits`."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Keyword arguments of that function."""


class NpzData(Part):
    """Two arrays of a NumPy archive."""

    type: Literal["npz"] = "npz"
    """Kind of data."""
    path: str
    """The `.npz` file."""
    X: str = "X"
    """Name of the array of inputs, one row per sample."""
    y: str = "y"
    """Name of the array of targets."""


class ParquetData(Part):
    """Columns of a Parquet file or directory."""

    type: Literal["parquet"] = "parquet"
    """Kind of data."""
    path: str
    """The Parquet file or directory."""
    target: str
    """The column to predict."""
    columns: Names | None = None
    """The input columns; None takes all but the target."""


class PythonData(Part):
    """Whatever a Python object or function gives."""

    type: Literal["python"] = "python"
    """Kind of data."""
    object: Reference
    """`module:attribute` of a data set, an (X, y) pair, or a function that returns one."""


class HoldoutValidation(Part):
    """One part of the rows is held out."""

    type: Literal["holdout"] = "holdout"
    """Kind of validation."""
    size: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """Share of the rows that is held out."""
    stratified: bool | None = None
    """Keep the classes' shares; None does so for classifiers."""
    shuffle: bool = True
    """Draw the rows at random, with the sweep's seed."""


class CvValidation(Part):
    """K-fold cross-validation."""

    type: Literal["cv"] = "cv"
    """Kind of validation."""
    n_splits: Annotated[int, Field(ge=2)] = 5
    """Number of folds."""
    stratified: bool | None = None
    """Keep the classes' shares; None does so for classifiers."""
    shuffle: bool = True
    """Draw the folds at random, with the sweep's seed."""


class PythonValidation(Part):
    """A splitter of the user's own."""

    type: Literal["python"] = "python"
    """Kind of validation."""
    splitter: Reference
    """`module:attribute` of a scikit-learn splitter, or a function that returns one."""


DataConfig = Annotated[SklearnData | NpzData | ParquetData | PythonData, Field(discriminator="type")]
ValidationConfig = Annotated[HoldoutValidation | CvValidation | PythonValidation, Field(discriminator="type")]
