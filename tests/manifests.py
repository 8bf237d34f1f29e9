"""A manifest as a run writes one, for sweeps that nobody runs."""

from __future__ import annotations

from typing import Any


def manifest(**changed: Any) -> dict[str, Any]:
    """All that readers need; ``changed`` replaces keys."""
    return {
        "name": "demo",
        "created": "2023-11-14T22:13:20Z",
        "seed": 0,
        "metric": "valid_acc",
        "goal": "maximize",
        "net": None,
        "net_is_callable": True,
        "objects": {},
        "takes_classes": True,
        "classes": None,
        "search_path": [],
        "n_trials": 6,
        "max_epochs": 9,
        "data": {"rows": 1797, "splits": 1, "fingerprint": "f00"},
        "versions": {"torch": "2"},
        "notes": [],
    } | changed
