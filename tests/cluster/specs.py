"""The spec of the sweeps of these tests, which differ in few things. Runs nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cluster.history import History


def write_spec(
    history: History, *, n_trials: int, max_epochs: int, told: dict[str, Any], **parts: dict[str, Any]
) -> Path:
    """Writes a sweep.yaml, which is JSON.

    Parameters
    ----------
    history : History
        Where the sweep will lie.
    n_trials, max_epochs : int
        Its size.
    told : dict
        Parameters of the nets' callback.
    **parts
        Of the spec, beside those that are the same everywhere.
    """
    parameters = {
        "lr": {"distribution": "loguniform", "min": 0.01, "max": 1.0},
        "module__nodes": 8,  # these two for the checker, to which they belong to what tells configs apart
        "batch_size": 32,
        "max_epochs": max_epochs,
        **{f"callbacks__telling__{name}": value for name, value in {"log": str(history.log), **told}.items()},
    }
    spec = {
        "version": 1,
        "name": history.root.name,
        "storage": str(history.place.storage),
        "net": "cluster.telling_nets:make_net",
        "data": {"type": "python", "object": "cluster.telling_nets:make_data"},
        "metric": {"name": "valid_loss", "goal": "minimize"},
        "parameters": parameters,
        "searcher": {"name": "random", "num_samples": n_trials, "seed": 3},
        "scheduler": {"name": "fifo"},
        "report_every_s": 0,
        **parts,
    }
    path = history.folder / "sweep.yaml"
    path.write_text(json.dumps(spec, indent=2))
    return path
