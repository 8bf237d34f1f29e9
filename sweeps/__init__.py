"""Many trials: run, resume and read sweeps of skorch nets on Ray Tune. Every name is loaded when it is first used."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sweeps.config import SweepConfig
    from sweeps.errors import (
        InfeasibleError,
        NoTrialSucceededError,
        Problem,
        SpecError,
        SweepNotFoundError,
        SweepStateError,
    )
    from sweeps.results import SweepResult
    from sweeps.spec import dump_spec, load_spec
    from sweeps.sweep import Sweep

__all__ = [
    "InfeasibleError",
    "NoTrialSucceededError",
    "Problem",
    "SpecError",
    "Sweep",
    "SweepConfig",
    "SweepNotFoundError",
    "SweepResult",
    "SweepStateError",
    "dump_spec",
    "load_spec",
]

_MODULES = {
    "InfeasibleError": "errors",
    "NoTrialSucceededError": "errors",
    "Problem": "errors",
    "SpecError": "errors",
    "Sweep": "sweep",
    "SweepConfig": "config",
    "SweepNotFoundError": "errors",
    "SweepResult": "results",
    "SweepStateError": "errors",
    "dump_spec": "spec",
    "load_spec": "spec",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
