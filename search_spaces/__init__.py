"""What may vary in a sweep: parameter names with their domains. Every name is loaded when it is first used."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from search_spaces import presets
    from search_spaces.conditions import Condition
    from search_spaces.distributions import Normal, Quantile
    from search_spaces.domains import Choice, Constant, Domain, Float, Integer
    from search_spaces.names import check_names, unknown_names
    from search_spaces.problems import SpaceError
    from search_spaces.reading import as_domain
    from search_spaces.space import SearchSpace

__all__ = [
    "Choice",
    "Condition",
    "Constant",
    "Domain",
    "Float",
    "Integer",
    "Normal",
    "Quantile",
    "SearchSpace",
    "SpaceError",
    "as_domain",
    "check_names",
    "presets",
    "unknown_names",
]

_MODULES = {
    "Choice": "domains",
    "Condition": "conditions",
    "Constant": "domains",
    "Domain": "domains",
    "Float": "domains",
    "Integer": "domains",
    "Normal": "distributions",
    "Quantile": "distributions",
    "SearchSpace": "space",
    "SpaceError": "problems",
    "as_domain": "reading",
    "check_names": "names",
    "unknown_names": "names",
}


def __getattr__(name: str) -> Any:
    if name == "presets":
        return importlib.import_module(f"{__name__}.presets")
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
