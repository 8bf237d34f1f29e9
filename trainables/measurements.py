"""What a trial costs, and of what: parameters, peak memory, inference latency, stability; the memory that there is.

It takes no decisions and names no metric that `inference_speed` does not return.
"""

from __future__ import annotations

import os
import re
import resource
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from skorch.dataset import get_len
from torch import nn


def count_parameters(module: nn.Module) -> int:
    """Count a module's parameters, frozen ones included and shared ones once.

    Parameters
    ----------
    module : torch.nn.Module
        The module, initialized.

    Returns
    -------
    int
        Numbers in all parameters; buffers such as BatchNorm's averages do not count.
    """
    return sum(parameter.numel() for parameter in module.parameters())


class PeakMemory:
    """Peak memory since the last `reset`: of a CUDA device if the net is on one, of this process otherwise.

    On CUDA it is what this process's tensors took, without the CUDA context and the allocator's cache. Otherwise it is
    the resident memory of the whole process, libraries included.

    Parameters
    ----------
    device : str or torch.device, default "cpu"
        Device of the net.
    """

    def __init__(self, device: str | torch.device = "cpu") -> None:
        self.device = torch.device(device)

    def reset(self) -> bool:
        """Begin a new peak at what is in use now; may be called at any time.

        Returns
        -------
        bool
            False where the operating system cannot do it (macOS, Linux without ``/proc/self/clear_refs``): `read` then
            gives the peak since the process started.
        """
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
            return True
        if sys.platform != "linux":
            return False
        try:
            _CLEAR_REFS.write_text("5")  # proc(5): resets VmHWM, the peak resident set size
        except OSError:
            return False
        return True

    def read(self) -> int:
        """Read the peak.

        Returns
        -------
        int
            Peak memory in bytes.
        """
        if self.device.type == "cuda":
            return int(torch.cuda.max_memory_allocated(self.device))
        peak = re.search(r"^VmHWM:\s+(\d+) kB", _STATUS.read_text(), re.MULTILINE) if sys.platform == "linux" else None
        if peak:
            return int(peak[1]) * 1024
        unit_bytes = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit_bytes


@dataclass(frozen=True)
class CudaMemory:
    """What is in use of a CUDA device.

    Attributes
    ----------
    name : str
        Of the device.
    peak_reserved_bytes : int
        Most that this process's allocator held since the last `PeakMemory.reset`, its cache included: this, not what
        tensors took, is what ``torch.cuda.set_per_process_memory_fraction`` caps.
    context_bytes : int
        In use now outside of that allocator: this process's CUDA context, and whatever other processes have.
    total_bytes : int
        Of the device.
    """

    name: str
    peak_reserved_bytes: int
    context_bytes: int
    total_bytes: int


def cuda_memory(device: str | torch.device = "cuda") -> CudaMemory:
    """Read what is, and at most was, in use of a CUDA device.

    Parameters
    ----------
    device : str or torch.device, default "cuda"
        Which one.
    """
    free_bytes, total_bytes = torch.cuda.mem_get_info(device)
    return CudaMemory(
        torch.cuda.get_device_name(device),
        int(torch.cuda.max_memory_reserved(device)),
        int(total_bytes - free_bytes - torch.cuda.memory_reserved(device)),
        int(total_bytes),
    )


def machine_memory_bytes() -> int:
    """Read how much memory this machine has, or this container where that is less."""
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limits = [path.read_text().strip() for path in _CONTAINER_LIMITS if path.is_file()]
    return min([physical, *(int(limit) for limit in limits if limit.isdecimal())])


def inference_speed(
    forward: Callable[[Any], Any], one_row: Any, many_rows: Any, budget_s: float = 0.01
) -> dict[str, float]:
    """Measure how fast a net answers: one row at a time, and many at once.

    Parameters
    ----------
    forward : callable
        What is measured, called with rows; its result is thrown away. It should be in inference mode already.
    one_row, many_rows : ndarray, tensor, dict of them, Dataset, or batch ``(X, y)``
        Rows to call it with; those of a batch are counted in X alone, as skorch does.
    budget_s : float, default 0.01
        Seconds for the calls with one row; at least 5 and at most 50 are made. One call to warm up and one or two
        calls with many rows come on top.

    Returns
    -------
    dict of str to float
        ``predict_ms_p50`` and ``predict_ms_p95``, milliseconds for one row, median and 95th percentile;
        ``predict_rows_per_s``, rows in a second with `many_rows`, from the faster call.
    """
    _timed_s(forward, one_row)
    seconds: list[float] = []
    while len(seconds) < _MOST_CALLS and (len(seconds) < _LEAST_CALLS or sum(seconds) < budget_s):
        seconds.append(_timed_s(forward, one_row))
    many_s = _timed_s(forward, many_rows)
    if many_s < budget_s:
        many_s = min(many_s, _timed_s(forward, many_rows))
    p50, p95 = np.percentile(seconds, [50, 95]) * 1000
    return {
        "predict_ms_p50": float(p50),
        "predict_ms_p95": float(p95),
        "predict_rows_per_s": get_len(many_rows[0] if isinstance(many_rows, (tuple, list)) else many_rows) / many_s,
    }


def stability(valid_losses: Sequence[float], last: int = 5) -> float:
    """Measure how much the validation loss still moves at the end of training.

    Parameters
    ----------
    valid_losses : sequence of float
        Validation loss of every epoch, in order.
    last : int, default 5
        Epochs to look at, from the end.

    Returns
    -------
    float
        Standard deviation of the last epochs' losses, in units of the loss; smaller is steadier. Losses that are not
        finite are left out; 0.0 for a single one, NaN when none is left.
    """
    losses = np.asarray(valid_losses[-last:], dtype=np.float64)
    finite = losses[np.isfinite(losses)]
    return float(finite.std()) if finite.size else float("nan")


_CLEAR_REFS = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")
# As a container sees its own: of cgroup version 2, then 1; "max" is none.
_CONTAINER_LIMITS = [Path("/sys/fs/cgroup", name) for name in ("memory.max", "memory/memory.limit_in_bytes")]
_LEAST_CALLS, _MOST_CALLS = 5, 50


def _timed_s(forward: Callable[[Any], Any], rows: Any) -> float:
    _wait_for_cuda()
    start = time.perf_counter()
    forward(rows)
    _wait_for_cuda()
    return time.perf_counter() - start


def _wait_for_cuda() -> None:
    """CUDA calls return before the work is done; a process that never used CUDA has nothing to wait for."""
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.synchronize()
