"""Causes are read from the texts that Ray itself writes, and each cause has its rule for another try."""

from __future__ import annotations

import traceback
from typing import Any

import numpy as np
import pytest
import torch
from ray.core.generated.common_pb2 import ActorDiedErrorContext
from ray.exceptions import (
    ActorDiedError,
    ActorUnavailableError,
    LocalRayletDiedError,
    NodeDiedError,
    OutOfMemoryError,
    RayTaskError,
    WorkerCrashedError,
)

from sweeps.failures import Failure, alike, deserves_retry, likeness, read_failure

END_OF_FILE = (
    "The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR Worker exit detail: Worker "
    "unexpectedly exits with a connection error code 2. End of file. Some common causes include: (1) the process was "
    "killed by the OOM killer due to high memory usage, (2) ray stop --force was called, or (3) the worker crashed."
)
NODE_DIED = (
    "The actor died because its node has died. Node Id: 5e5a9b\n\tthe actor's node was terminated unexpectedly: health "
    "check failed due to missing too many heartbeats"
)
PREEMPTED = "The actor died because its node has died. Node Id: 5e5a9b\n\tthe actor's node was preempted: spot"
LOW_MEMORY = (
    "Task was killed due to the node running low on memory.\nMemory on the node (IP: 10.0.0.1, ID: 5e5a) where the "
    "task (actor ID: 1, name=Net.__init__, pid=7, memory used=9GB) was running was 28.5GB / 30.0GB (0.95), which "
    "exceeds the memory usage threshold of 0.95.\nRefer to the documentation on how to address the out of memory issue."
)


class Unusual(Exception):  # its name has no Error in it
    """An exception of a user."""


class StorageError(OSError):
    """What an object store's failure is called."""


def task_error(error: Exception, name: str = "train") -> RayTaskError:
    """What Ray makes of an error that a worker raised."""
    try:
        raise error
    except Exception:
        text = traceback.format_exc().replace("Traceback (most recent call last):\n", "")
    prefix = f"ray::NetTrainable.{name}() (pid=7, ip=10.0.0.1, actor_id=01, repr=<nets.NetTrainable object>)\n"
    return RayTaskError(name, prefix + text, error, f"ray::NetTrainable.{name}", 7, "10.0.0.1")


def numpy_memory_error() -> RayTaskError:
    with pytest.raises(MemoryError) as caught:
        np.empty(2**56)
    return task_error(caught.value)


def died(message: str) -> ActorDiedError:
    context = ActorDiedErrorContext(error_message=message, class_name="NetTrainable", actor_id=b"\1" * 16, pid=7)
    return ActorDiedError(context)


def chained() -> Exception:
    error = Unusual("the second")
    error.__cause__ = ValueError("the first")
    return error


@pytest.mark.parametrize(
    ("error", "cause", "headline"),
    [
        (task_error(ArithmeticError("boom in an epoch")), "user", "ArithmeticError: boom in an epoch"),
        (task_error(Unusual("odd")), "user", f"{__name__}.Unusual: odd"),
        (task_error(chained()), "user", f"{__name__}.Unusual: the second"),
        (task_error(RuntimeError("sizes:\n\tweight (3,)\nTypeError: not this")), "user", "RuntimeError: sizes:"),
        (task_error(ValueError()), "user", "ValueError"),
        (task_error(RuntimeError("the actor died in my game")), "user", "RuntimeError: the actor died in my game"),
        (ActorDiedError(task_error(ValueError("nodes"), "__init__")), "user", "ValueError: nodes"),
        (task_error(MemoryError("out of memory")), "oom", "MemoryError: out of memory"),
        (
            task_error(RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB.")),
            "oom",
            "RuntimeError: CUDA out of memory. Tried to allocate 2.00 GiB.",
        ),
        (
            task_error(RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate")),
            "oom",
            "RuntimeError: [enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate",
        ),
        (task_error(MemoryError()), "oom", "MemoryError"),
        (numpy_memory_error(), "oom", "numpy._core._exceptions._ArrayMemoryError: Unable to allocate"),
        (task_error(torch.OutOfMemoryError("Tried to allocate 2.00 GiB")), "oom", "torch.OutOfMemoryError: Tried"),
        (task_error(RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when")), "oom", "RuntimeError: CUDA error"),
        (task_error(OSError(12, "Cannot allocate memory")), "oom", "OSError: [Errno 12] Cannot allocate memory"),
        (OutOfMemoryError(LOW_MEMORY), "oom", "Task was killed due to the node running low on memory."),
        (task_error(OSError(28, "No space left on device")), "disk", "OSError: [Errno 28] No space left on device"),
        (died(END_OF_FILE), "worker_died", "the worker process died"),
        (
            died("Worker exits unexpectedly. Worker exits with an exit code 3."),
            "worker_died",
            "the worker process died",
        ),
        (task_error(OSError(122, "Disk quota exceeded")), "disk", "OSError: [Errno 122] Disk quota exceeded"),
        (
            task_error(RuntimeError("[enforce fail at inline_container.cc:672] . PytorchStreamWriter failed writing")),
            "disk",
            "RuntimeError: [enforce fail",
        ),
        (task_error(StorageError("s3://bucket/x: timed out")), "storage", f"{__name__}.StorageError: s3://bucket/x"),
        (died(NODE_DIED), "node_lost", "the machine that the trial ran on was lost"),
        (died(PREEMPTED), "node_lost", "the machine that the trial ran on was lost"),
        (NodeDiedError("Task failed because the node it was running on is dead or unavailable."), "node_lost", "the "),
        (LocalRayletDiedError(), "node_lost", "the machine"),
        (ActorDiedError(), "worker_died", "the worker process died"),
        (WorkerCrashedError(), "worker_died", "the worker process died"),
        (
            ActorUnavailableError("The actor is temporarily unavailable: RpcError: RPC error", b"\1" * 16),
            "node_lost",
            "the machine that the trial ran on was lost or cannot be reached",
        ),
    ],
)
def test_cause_and_error_are_found_in_what_tune_keeps_of_a_failed_trial(error, cause, headline):
    failure = read_failure(f"Failure # 1 (occurred at 2026-01-02_03-04-05)\n{error}\n")
    assert failure.cause == cause
    assert failure.error.startswith(headline)
    assert "\n" not in failure.error
    assert "Failure #" not in failure.trace


def test_a_text_without_any_error_is_still_a_failure():
    assert read_failure("") == Failure("user", "unknown error", "")
    assert read_failure("Failure # 1 (occurred at now)\nsomething odd\n").error == "something odd"


def test_an_import_that_fails_on_a_worker_is_named_though_ray_cut_out_all_frames():
    text = (
        "The actor died because of an error raised in its creation task, ray::ResourceTrainable.__init__() (pid=7)\n"
        "           ^^^^^^^^^^^^^\n"
        "RuntimeError: The actor with name ResourceTrainable failed to import on the worker.\n\n"
        "ray::ResourceTrainable.__init__() (pid=7)\n"
        "                  ^^^^^^^^^^^^^\n"
        "ModuleNotFoundError: No module named 'model'\n"
    )
    failure = read_failure(f"Failure # 1 (occurred at now)\n{text}")
    assert (failure.cause, failure.error) == ("user", "ModuleNotFoundError: No module named 'model'")


def test_only_the_end_of_a_long_trace_is_kept():
    lines = [f"line {number}" for number in range(100)]
    assert read_failure("\n".join(lines)).trace.splitlines() == lines[-40:]


def test_memory_is_not_seen_in_the_code_that_a_traceback_shows():
    text = (
        "Traceback (most recent call last):\n"
        '  File "net.py", line 3, in forward\n'
        '    raise ValueError(text)  # not out of memory, nor "No space left on device"\n'
        "ValueError: too wide\n"
    )
    assert read_failure(text).cause == "user"


def test_an_error_says_itself_how_far_the_trial_was_and_what_memory_it_took():
    error = MemoryError("no more")
    error.add_note("sweeps: epoch 7, peak_memory_bytes 123456")
    failure = read_failure(str(task_error(error)))
    assert (failure.cause, failure.error, failure.epoch) == ("oom", "MemoryError: no more", 7)
    assert failure.peak_memory_bytes == 123456
    assert "sweeps: epoch" not in failure.trace


def test_a_dead_worker_cannot_say_how_far_it_was_but_the_memory_monitor_knows_what_it_took():
    assert (read_failure(str(died(END_OF_FILE))).epoch, read_failure(LOW_MEMORY).epoch) == (None, None)
    assert read_failure(LOW_MEMORY).peak_memory_bytes == 9 * 2**30


HANG = "no epoch for 300 s after epoch 7      \nTimeout (0:05:30)!\nThread 0x1 (most recent call first):\n  File x\n"


def test_a_worker_that_was_ended_for_hanging_has_hung():
    failure = read_failure(str(died(END_OF_FILE)), HANG)
    assert (failure.cause, failure.epoch) == ("hang", 7)
    assert failure.error == "no epoch for 300 s after epoch 7: the process was ended"
    assert failure.trace.splitlines()[-1] == "  File x"
    assert read_failure(str(died(END_OF_FILE)), HANG.replace(" after epoch 7", "")).epoch is None


def test_stacks_that_were_left_behind_do_not_explain_what_a_net_raised():
    assert read_failure(str(task_error(ValueError("x"))), HANG).cause == "user"


def known(cause: str, epoch: int, error: str = "") -> dict[str, Any]:
    return {"cause": cause, "error": error, "epoch": epoch}


@pytest.mark.parametrize(
    ("cause", "epoch", "earlier", "max_failures", "expected"),
    [
        # A worker's death costs nothing as long as the trial gets further.
        ("worker_died", 3, [], 0, True),
        ("worker_died", 3, [known("worker_died", 1), known("worker_died", 2)], 1, True),
        ("worker_died", 3, [known("worker_died", 3)], 9, False),
        ("worker_died", 3, [known("worker_died", 4), known("worker_died", 2)], 9, False),
        ("worker_died", 3, [known("user", 3), known("node_lost", 3)], 1, True),
        # A lost machine does so only when it comes again and again without an epoch in between.
        ("node_lost", 3, [known("node_lost", 3)] * 2, 0, True),
        ("node_lost", 3, [known("node_lost", 2)] * 9, 0, True),
        ("node_lost", 3, [known("node_lost", 3)] * 3, 9, False),
        ("node_lost", 0, [known("node_lost", 0)] * 3, 9, False),
        # What the net raised may be chance, unless it comes again at the same epoch.
        ("user", 3, [], 1, True),
        ("user", 3, [], 0, False),
        ("user", 3, [known("user", 2, "E: 1")], 2, True),
        ("user", 3, [known("user", 3, "F: 1")], 2, True),
        ("user", 3, [known("user", 3, "E: 17")], 9, False),
        ("user", 3, [known("user", 2, "E: 1")], 1, False),
        ("user", 3, [known("user", 2), known("disk", 2), known("storage", 2)], 3, False),
        ("user", 3, [known("worker_died", 2), known("node_lost", 2)], 1, True),
        # More memory than there is would only be asked for again.
        ("oom", 3, [], 9, False),
        # Storage may come back.
        ("disk", 3, [known("disk", 3), known("disk", 3)], 3, True),
        ("storage", 3, [known("storage", 3)], 1, False),
        # A hang may be a dead connection, once.
        ("hang", 3, [], 1, True),
        ("hang", 3, [], 0, False),
        ("hang", 3, [known("hang", 1)], 9, False),
    ],
)
def test_each_cause_has_its_rule_for_another_try(cause, epoch, earlier, max_failures, expected):
    assert deserves_retry(Failure(cause, "E: 2", "", epoch), earlier, max_failures) is expected


def test_a_deterministic_error_costs_one_second_try():
    failure, earlier = Failure("user", "RuntimeError: bad weight at 0x7f12", "", 2), []
    while deserves_retry(failure, earlier, 3):
        earlier.append(known("user", 2, "RuntimeError: bad weight at 0x55aa"))
    assert len(earlier) == 1


def test_failures_are_alike_when_only_numbers_and_addresses_differ():
    one, other = (
        known("user", 1, "ValueError: -3 nodes at 0x7F1a, 1e-05"),
        known("user", 9, "ValueError: 12 nodes at 0x0, 0.5"),
    )
    assert alike([one, other, one])
    assert alike([one])
    assert not alike([])
    assert not alike([one, other | {"cause": "oom"}])
    assert not alike([one, other | {"error": "ValueError: 12 layers at 0x0, 0.5"}])
    assert likeness("user", "E: 1\nand a trace") == likeness("user", "E: 2")
