"""A card for the checks, a real one where there is one and a fake one everywhere, and one Ray for all of them."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import fake_cuda
import pytest
import ray
import torch

# Nets of these tests are imported as `card_nets` here and in Ray's workers alike.
_HERE = Path(__file__).parent
_ROOT = _HERE.parents[1]
sys.path[:0] = [str(_HERE), str(_ROOT)]
os.environ["PYTHONPATH"] = os.pathsep.join([str(_HERE), os.environ.get("PYTHONPATH", "")])

_HAS_CARD = torch.cuda.is_available()  # asked before anything fakes it
_REAL = [pytest.mark.gpu, pytest.mark.ray, pytest.mark.skipif(not _HAS_CARD, reason="needs a CUDA device")]
# Of a Ray that others have started, which leaves it to the trial to see no GPU.
_OURS_ALONE = "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"

from cards import Card, used_bytes  # noqa: E402  # beside this file


@pytest.fixture(scope="module", params=[pytest.param("fake", marks=pytest.mark.ray), pytest.param("real", marks=_REAL)])
def card(request, tmp_path_factory) -> Iterator[Card]:
    """A card; a Ray with up to two of them runs meanwhile."""
    with ExitStack() as stack:
        if request.param == "fake":
            memory = tmp_path_factory.mktemp("cards") / "memory.json"
            stack.enter_context(fake_cuda.installed(memory))
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.delenv(_OURS_ALONE)
        cards = min(2, torch.cuda.device_count())
        ray.init(address="local", num_cpus=8, num_gpus=cards, include_dashboard=False, log_to_driver=False)
        stack.callback(ray.shutdown)
        torch.cuda.init()
        yield Card(request.param, used_bytes())
