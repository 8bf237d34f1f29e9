"""How many trials one GPU holds, from what one of them took. Pure arithmetic; measures nothing."""

from __future__ import annotations

import math
from dataclasses import dataclass

from sweeps.output import size_text

MARGIN = 0.2
"""Room above a measured peak, as a share of it. A judgement: PyTorch's allocator reserves blocks of 2 to 20 MB and more
and may take more of them in later epochs than in the measured ones, and no handful of configs surely has the heaviest.
"""

MOST_PER_GPU = 8
"""Most trials on one GPU that are ever suggested. A judgement: their processes take turns on it, so once it is hardly
ever idle each further one only adds a CUDA context and slows the others.
"""

_RAY_STEPS = 10_000  # Ray counts resources in 0.0001: docs.ray.io/en/latest/ray-core/scheduling/resources.html


@dataclass(frozen=True)
class Packing:
    """How trials share a GPU.

    Attributes
    ----------
    gpu : float
        What to write as ``resources.gpu``: 1 / ``trials_per_gpu``, rounded down to what Ray counts in.
    trials_per_gpu : int
        Trials that run on each GPU then.
    limited_by : str
        Why not more: ``gpu_memory``, ``cpus``, ``machine_memory``, ``trials`` or ``most_per_gpu``.
    most_beside_memory : int
        Trials on each GPU if it had memory for any number.
    """

    gpu: float
    trials_per_gpu: int
    limited_by: str
    most_beside_memory: int


def suggest_fraction(
    peak_bytes: int,
    context_bytes: int,
    total_bytes: int,
    *,
    cpus: float,
    gpus: int,
    cpu: float = 1.0,
    trials_in_machine_memory: int | None = None,
    most_at_once: int | None = None,
) -> Packing:
    """The share of a GPU at which as many trials run on it as fit, each within its cap.

    Parameters
    ----------
    peak_bytes : int
        What PyTorch's allocator reserved at most for one trial.
    context_bytes : int
        What its process takes of the GPU beside that.
    total_bytes : int
        Memory of one GPU.
    cpus : float
        Of the machine.
    gpus : int
        Of the machine, all alike; at least 1.
    cpu : float, default=1.0
        CPUs of one trial.
    trials_in_machine_memory : int, optional
        Trials whose processes fit into the machine's own memory.
    most_at_once : int, optional
        Trials that the sweep runs at once.
    """
    most = {
        "gpu_memory": total_bytes // needed_bytes(peak_bytes, context_bytes),
        "cpus": math.floor(cpus / cpu / gpus + 1e-9),
        "machine_memory": MOST_PER_GPU if trials_in_machine_memory is None else trials_in_machine_memory // gpus,
        "trials": MOST_PER_GPU if most_at_once is None else math.ceil(most_at_once / gpus),
        "most_per_gpu": MOST_PER_GPU,
    }
    limit = min(reversed(most), key=most.__getitem__)  # of equals the last, which is no lack of anything
    trials = max(1, most[limit])
    beside_memory = max(1, min(number for name, number in most.items() if name != "gpu_memory"))
    return Packing(math.floor(_RAY_STEPS / trials) / _RAY_STEPS, trials, limit, beside_memory)


def share_problem(gpu: float, peak_bytes: int, context_bytes: int, total_bytes: int, packing: Packing) -> str | None:
    """What is wrong with a config's present share of a GPU; None if nothing is.

    Parameters
    ----------
    gpu : float
        The share; from 1 on a trial has no cap.
    peak_bytes, context_bytes, total_bytes : int
        As in `suggest_fraction`.
    packing : Packing
        What that suggested.
    """
    cap_bytes = total_bytes * gpu if gpu < 1 else math.inf
    write = f"write resources.gpu: {packing.gpu:g}"
    took = f"it took {size_text(peak_bytes)}"
    if not gpu:
        return f"it gets no share of a GPU, so it sees none and trains on the CPU; on a GPU {took}: {write}"
    if peak_bytes > cap_bytes:
        return f"its share of {gpu:g} caps it at {size_text(int(cap_bytes))}, but {took}: it would fail; {write}"
    present = min(max(1, int(1 / gpu + 1e-9)), packing.most_beside_memory)
    each_bytes = needed_bytes(peak_bytes, context_bytes)
    if needed_bytes(peak_bytes) > cap_bytes or (present > 1 and present * each_bytes > total_bytes):
        return f"its share of {gpu:g} leaves less than {MARGIN:.0%} of room: {took}; {write}"
    if 2 * present <= packing.trials_per_gpu:
        return f"its share of {gpu:g} lets only {present} on a GPU, where {packing.trials_per_gpu} fit; {write}"
    return None


def needed_bytes(peak_bytes: int, context_bytes: int = 0) -> int:
    """What to reckon with for one trial: its peak with the margin, and what its process takes beside it."""
    return max(1, math.ceil(peak_bytes * (1 + MARGIN)) + context_bytes)
