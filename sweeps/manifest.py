"""What a sweep's manifest says about how it was made. Holds no secret and nothing that would be executed."""

from __future__ import annotations

import platform
import socket
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from skorch import NeuralNet

from sweeps.fingerprints import comparable, python_objects
from sweeps.imports import resolve_import
from sweeps.plan import SweepPlan

_PACKAGES = ("skorch-sweeps", "torch", "skorch", "scikit-learn", "ray", "hyperopt", "numpy")


def make_manifest(plan: SweepPlan, net: str | None, search_path: Sequence[Path]) -> dict[str, Any]:
    """Name, goal, seed, net, data, versions and machine of a sweep that is about to start.

    Parameters
    ----------
    plan : SweepPlan
        What will be run.
    net : str or None
        ``module:attribute`` of the net, where it has one.
    search_path : sequence of Path
        Folders from which that module was imported.
    """
    job = plan.job
    data = job.data
    return {
        "name": plan.config.name,
        "uri": job.trials.parent.as_uri(),
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "seed": plan.config.seed,
        "metric": job.objective.metric,
        "goal": plan.config.metric.goal,
        "net": net,
        "net_is_callable": net is None or not isinstance(resolve_import(net, search_path), NeuralNet),
        "net_class": f"{type(job.net).__module__}.{type(job.net).__qualname__}",
        "objects": python_objects(job.objects),
        "takes_classes": "classes" in job.net.get_params(deep=False),
        "classes": None if data.classes is None else data.classes.tolist(),
        "search_path": [str(folder) for folder in search_path],
        "n_trials": plan.n_trials,
        "max_epochs": plan.max_epochs,
        "rungs": list(job.rungs),
        "scheduler": plan.config.scheduler.name,
        **comparable(plan),
        "notes": list(plan.notes),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in _PACKAGES}},
        "host": {"name": socket.gethostname(), "platform": sys.platform},
    }
