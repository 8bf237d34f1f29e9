"""From the start of a process to the first epoch that it shows, split into what takes the time."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from statistics import median

from benchmarks.micro.figures import Figure

IMPORTS = "import torch, skorch, sklearn, ray, ray.tune"
# What a person who trains one net waits for.
BARE = """
from functools import partial
import torch
from benchmarks import job_a
from benchmarks.bare import BareTraining
train, valid = job_a.split(*map(torch.from_numpy, job_a.make_data()))
BareTraining(job_a.MLP, train, valid, lr=0.1, batch_size=256).run_epoch()
"""


def measure(*, rounds: int = 5) -> Iterator[Figure]:
    """Figures of a fresh process, and of a second sweep in a process whose Ray runs."""
    cold = [stamps_of() for _ in range(rounds)]
    warm = [stamps_of("warm") for _ in range(rounds)]
    bare_s = median(seconds_of(BARE) for _ in range(rounds))
    imports_s = median(seconds_of(IMPORTS) for _ in range(rounds))
    bare = "torch alone: imports, data, one epoch"
    yield Figure("first epoch shown, fresh process", _span(cold, "created", "shown"), "s", bare_s, bare)
    yield Figure("- imports", _span(cold, "created", "imported"), "s", imports_s, IMPORTS)
    yield Figure("- our checks, until ray.init", _span(cold, "imported", "ray_began"), "s")
    yield Figure("- ray.init", _span(cold, "ray_began", "ray_ready"), "s")
    yield Figure("- actor, its imports, the data", _span(cold, "ray_ready", "trained"), "s")
    yield Figure("- first epoch and its report", _span(cold, "trained", "shown"), "s")
    yield Figure("the rest: results, end of Ray", _span(cold, "shown", "ended"), "s")
    yield Figure("first epoch shown, Ray running", _span(warm, "began", "shown"), "s", bare_s, bare)
    yield Figure("- until a worker trains", _span(warm, "began", "trained"), "s")


def stamps_of(*arguments: str) -> dict[str, float]:
    """What `first_epoch` prints."""
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.micro.first_epoch", *arguments]
    ended = subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)
    return dict(json.loads(ended.stdout.splitlines()[-1]))


def seconds_of(code: str) -> float:
    """A process that runs some code."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)
    return time.perf_counter() - began


def _span(stamps: list[dict[str, float]], begin: str, end: str) -> float:
    return median(found[end] - found[begin] for found in stamps)
