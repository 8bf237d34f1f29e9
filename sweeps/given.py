"""What Python gives a Sweep, in the form that a spec has. Checks only what a spec cannot express."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Any

from skorch import NeuralNet
from torch.utils.data import Dataset

from sweeps.errors import Problem, SpecError
from trainables.data import TrialData, target_kind

_NAME_LENGTH = 48
_SEEDED = ("random", "hyperopt")


def default_name(net: object) -> str:
    """A name for a sweep that was given none: the net's class and the time, as far as names allow."""
    kind = re.sub(r"[^A-Za-z0-9]+", "-", type(net).__name__).strip("-") or "sweep"
    return f"{kind[:_NAME_LENGTH]}-{time.strftime('%Y%m%d-%H%M%S')}"


def named_sections(
    made: NeuralNet, net: Any, data: Any, name: str | None, metric: str | None, goal: str | None
) -> dict[str, Any]:
    """The sections ``name``, ``metric``, and, where a spec can name them, ``net`` and ``data``.

    Parameters
    ----------
    made : skorch.NeuralNet
        The net, for the defaults: its class and the time as the name, accuracy as a classifier's metric.
    net, data : object
        As they were given: a reference and a mapping can be written down.
    name, metric, goal : str or None
        As they were given.
    """
    metric = metric or ("valid_acc" if target_kind(made) in ("classifier", "binary") else "valid_loss")
    return {
        "name": name or default_name(made),
        **({"net": net} if isinstance(net, str) else {}),
        **({"data": dict(data)} if isinstance(data, Mapping) else {}),
        "metric": {"name": metric, "goal": goal or ("minimize" if metric.endswith("loss") else "maximize")},
    }


def searcher_section(searcher: str | Mapping[str, Any], num_samples: int | None, seed: int) -> dict[str, Any]:
    """The ``searcher`` section that a name or a section, a number of configs and a seed mean.

    Raises
    ------
    SpecError
        The number of configs is given twice.
    """
    section: dict[str, Any] = {"name": searcher} if isinstance(searcher, str) else dict(searcher)
    if num_samples is not None and "num_samples" in section:
        raise SpecError(Problem("given in the section and as an argument; keep one", "searcher.num_samples"))
    if num_samples is not None:
        section["num_samples"] = num_samples
    if section.get("name") in _SEEDED:
        section = {"seed": seed, **({"num_samples": 10} if isinstance(searcher, str) else {}), **section}
    return section


def validation_section(validation: Mapping[str, Any] | int | float) -> dict[str, Any]:
    """The ``validation`` section that a number of folds or a share of the rows means."""
    if isinstance(validation, Mapping):
        return dict(validation)
    if isinstance(validation, int):
        return {"type": "cv", "n_splits": validation}
    return {"type": "holdout", "size": validation}


def as_pair(data: Any) -> tuple[Any, Any] | TrialData:
    """X and y, or a TrialData as it is.

    Raises
    ------
    SpecError
        It is neither a pair, nor a dataset, nor a TrialData.
    """
    if isinstance(data, TrialData):
        return data
    if isinstance(data, Dataset):
        return data, None
    if isinstance(data, (tuple, list)) and len(data) == 2:
        return data[0], data[1]
    given = f"{len(data)} parts" if isinstance(data, (tuple, list)) else f"a {type(data).__qualname__}"
    raise SpecError(Problem(f"{given}; give a pair (X, y), a torch Dataset, a TrialData or a data section", "data"))
