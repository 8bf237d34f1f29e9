"""What every test gets: a quiet, single-threaded process and one small data set."""

from __future__ import annotations

import os

# Before anything imports torch or starts Ray, which read these once; Ray's workers inherit them.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ["RAY_AUTH_MODE"] = "disabled"
os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "1"

import sys

import pytest


@pytest.fixture(autouse=True)
def one_torch_thread() -> None:
    """Keep torch to one thread where a test's modules have loaded it, and load it for nobody else."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.get_num_threads() != 1:
        torch.set_num_threads(1)


@pytest.fixture(scope="session")
def digits():
    """The digits images: X (1797, 64) float32 in 0..1, y (1797,) int64."""
    from sklearn.datasets import load_digits

    X, y = load_digits(return_X_y=True)
    return (X / 16).astype("float32"), y.astype("int64")
