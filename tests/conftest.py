"""What every test gets: a quiet, single-threaded process and one small data set."""

from __future__ import annotations

import os

# Before anything imports torch or starts Ray, which read these once; Ray's workers inherit them.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ["RAY_AUTH_MODE"] = "disabled"
os.environ["RAY_TQDM_PATCH_PRINT"] = "0"
os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "1"

import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

if find_spec("hypothesis"):  # a machine with a GPU may come without it
    from hypothesis import settings

    # A loaded machine is no failure, and what CI tries is the same each time.
    settings.register_profile("patient", deadline=None, derandomize="CI" in os.environ)
    settings.load_profile("patient")

# Nets of the tests are imported as `nets` here and in Ray's workers alike.
_HERE = Path(__file__).parent
sys.path.insert(0, str(_HERE))
os.environ["PYTHONPATH"] = os.pathsep.join([str(_HERE), str(_HERE.parent), os.environ.get("PYTHONPATH", "")])


def pytest_addoption(parser):
    parser.addoption("--accept-golden", action="store_true", help="take what is rendered now as right")


@pytest.fixture
def golden(request):
    """Compare a text with the file ``golden/<name>.txt`` beside the test."""

    def compare(name: str, text: str) -> None:
        path = request.path.parent / "golden" / f"{name}.txt"
        if request.config.getoption("accept_golden"):
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
        expected = path.read_text(encoding="utf-8") if path.exists() else ""
        assert text == expected, f"{path} differs; if the new text is right: pytest {request.path} --accept-golden"

    return compare


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
