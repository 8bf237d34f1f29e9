"""What a result was measured on: processor, memory, versions. No names of hosts or people."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
from pathlib import Path
from typing import Any

PACKAGES = (
    "dask-ml", "distributed", "hyperopt", "numpy", "optuna", "pandas", "ray", "scikit-learn", "skorch",
    "skorch-sweeps", "torch",
)  # fmt: skip


def describe() -> dict[str, Any]:
    """The machine and the versions; what cannot be told is left out."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "cpu": cpu_model(),
        "cores": cores,
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": versions(),
        "load": round(os.getloadavg()[0], 2),
    }


def cpu_model() -> str:
    """The processor's name."""
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    return found[1].strip() if found else platform.processor() or "unknown"


def kind(description: dict[str, Any]) -> str:
    """A short name for this kind of machine, for file names: ``amd-epyc-2-cores``."""
    words = re.sub(r"\(.*?\)|@.*|\d+-core.*|cpu|processor", "", description["cpu"].lower())
    return "-".join([*re.findall(r"[a-z0-9]+", words)[:4], str(description["cores"]), "cores"])


def versions() -> dict[str, str]:
    """Of the packages that matter, where they are installed."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
