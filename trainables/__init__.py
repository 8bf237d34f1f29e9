"""One trial: its data, its net and its training, epoch by epoch. Every name is loaded when it is first used."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trainables.batches import TensorBatches
    from trainables.data import DataError, TrialData, target_kind
    from trainables.loaders import load
    from trainables.measurements import PeakMemory, count_parameters, inference_speed, stability
    from trainables.models import MLP, ConvNet
    from trainables.net import NetTrainable
    from trainables.splits import Split, make_splits
    from trainables.training import NetTraining

__all__ = [
    "MLP",
    "ConvNet",
    "DataError",
    "NetTrainable",
    "NetTraining",
    "PeakMemory",
    "Split",
    "TensorBatches",
    "TrialData",
    "count_parameters",
    "inference_speed",
    "load",
    "make_splits",
    "stability",
    "target_kind",
]

_MODULES = {
    "MLP": "models",
    "ConvNet": "models",
    "DataError": "data",
    "NetTrainable": "net",
    "NetTraining": "training",
    "PeakMemory": "measurements",
    "Split": "splits",
    "TensorBatches": "batches",
    "TrialData": "data",
    "count_parameters": "measurements",
    "inference_speed": "measurements",
    "load": "loaders",
    "make_splits": "splits",
    "stability": "measurements",
    "target_kind": "data",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
