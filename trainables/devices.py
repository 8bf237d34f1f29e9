"""The CUDA devices of a trial's process: what it may see, which one it trains on, how much of it. Trains nothing."""

from __future__ import annotations

import gc
import os

import torch

VISIBLE = "CUDA_VISIBLE_DEVICES"
"""Environment variable that CUDA reads once, when a process first asks for a device."""

_NOT_SET_BY_RAY = "RAY_EXPERIMENTAL_NOSET_CUDA_VISIBLE_DEVICES"


def see_only(gpu: float) -> None:
    """Keeps a process with no share of a GPU from every one of them; call it before anything asks CUDA for a device.

    Of a share Ray has told CUDA. Where there is none, Ray leaves the variable alone, or empties it if its own was
    started with ``RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO=1``, which nobody knows of a cluster.

    Parameters
    ----------
    gpu : float
        The trial's share, in GPUs.

    Raises
    ------
    RuntimeError
        Ray was told not to tell CUDA, so all trials would train on the same GPU.
    """
    if not gpu:
        os.environ[VISIBLE] = ""
    elif os.environ.get(_NOT_SET_BY_RAY, "0").lower() not in ("", "0", "false"):
        raise RuntimeError(
            f"{_NOT_SET_BY_RAY} is set where this machine's Ray was started, so a trial would see GPUs that are not "
            "its own; unset it and start Ray anew"
        )


def claim(gpu: float, own: str | torch.device | None) -> str | None:
    """The device that a trial's net gets for its share, at which CUDA's allocator is capped from now on.

    Parameters
    ----------
    gpu : float
        The trial's share, in GPUs. Below 1 it is the cap, too; from 1 on nobody shares them.
    own : str, torch.device or None
        The net's own device.

    Returns
    -------
    str or None
        ``"cuda"``, the first of the devices that the process sees; ``"cpu"`` where a share is one of Ray's logical GPUs
        alone, as the preflight tells; None without a share: the net keeps its own.

    Raises
    ------
    RuntimeError
        The net's own device is a GPU, of which the trial gets no share; or Ray gave more GPUs than CUDA finds.
    """
    if not gpu:
        if _is_cuda(own):
            raise RuntimeError(
                f"the net's device is {str(own)!r}, but this trial gets no share of a GPU and sees none; give it one "
                "(resources.gpu, or a rule), or make the device 'cpu'"
            )
        return None
    if not torch.cuda.is_available():
        return "cpu"
    if gpu > 1 and torch.cuda.device_count() != gpu:
        raise RuntimeError(
            f"this trial gets {gpu:g} GPUs, but CUDA finds {torch.cuda.device_count()} ({VISIBLE}="
            f"{os.environ.get(VISIBLE)}); start Ray on this machine with the number of GPUs that it has"
        )
    if gpu < 1:
        torch.cuda.set_per_process_memory_fraction(gpu)  # of the current device, the only one that is seen
    return "cuda"


def release() -> None:
    """Gives back to the GPU what an ended trial has left; nothing where the process uses none."""
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        gc.collect()  # a net and its callbacks may hold each other, and with them tensors of the GPU
        torch.cuda.empty_cache()


def _is_cuda(device: str | torch.device | None) -> bool:
    return device is not None and torch.device(device).type == "cuda"
