"""Causes are read from the texts that Ray itself writes, and only a worker's death is tried again."""

from __future__ import annotations

import traceback
from typing import Any

import pytest
from ray.core.generated.common_pb2 import ActorDiedErrorContext
from ray.exceptions import ActorDiedError, ActorUnavailableError, OutOfMemoryError, RayTaskError, WorkerCrashedError

from sweeps.failures import Failure, deserves_retry, read_failure

END_OF_FILE = (
    "The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR Worker exit detail: Worker "
    "unexpectedly exits with a connection error code 2. End of file. Some common causes include: (1) the process was "
    "killed by the OOM killer due to high memory usage, (2) ray stop --force was called, or (3) the worker crashed."
)
NODE_DIED = "The actor died because its node has died. Node Id: 5e5a9b. the actor's node was terminated unexpectedly."
LOW_MEMORY = (
    "Task was killed due to the node running low on memory.\nMemory on the node (IP: 10.0.0.1, ID: 5e5a) where the "
    "task (actor ID: 1, name=Net.__init__, pid=7, memory used=9GB) was running was 28.5GB / 30.0GB (0.95), which "
    "exceeds the memory usage threshold of 0.95.\nRefer to the documentation on how to address the out of memory issue."
)


class Unusual(Exception):  # its name has no Error in it
    """An exception of a user."""


def task_error(error: Exception, name: str = "train") -> RayTaskError:
    """What Ray makes of an error that a worker raised."""
    try:
        raise error
    except Exception:
        text = traceback.format_exc().replace("Traceback (most recent call last):\n", "")
    prefix = f"ray::NetTrainable.{name}() (pid=7, ip=10.0.0.1, actor_id=01, repr=<nets.NetTrainable object>)\n"
    return RayTaskError(name, prefix + text, error, f"ray::NetTrainable.{name}", 7, "10.0.0.1")


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
        (OutOfMemoryError(LOW_MEMORY), "oom", "Task was killed due to the node running low on memory."),
        (task_error(OSError(28, "No space left on device")), "disk", "OSError: [Errno 28] No space left on device"),
        (died(END_OF_FILE), "worker_died", "the worker process died"),
        (died(NODE_DIED), "worker_died", "the worker process died"),
        (ActorDiedError(), "worker_died", "the worker process died"),
        (WorkerCrashedError(), "worker_died", "the worker process died"),
        (
            ActorUnavailableError("The actor is unavailable: RpcError", b"\1" * 16),
            "worker_died",
            "the worker process died",
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


def known(cause: str, epoch: int) -> dict[str, Any]:
    return {"cause": cause, "error": "", "epoch": epoch}


@pytest.mark.parametrize(
    ("cause", "epoch", "earlier", "max_failures", "expected"),
    [
        ("worker_died", 3, [], 1, True),
        ("worker_died", 3, [], 0, False),
        ("worker_died", 3, [known("worker_died", 1)], 1, False),
        ("worker_died", 3, [known("worker_died", 1)], 2, True),
        ("worker_died", 3, [known("worker_died", 3)], 9, False),  # at the same epoch as before: the trial's own
        ("worker_died", 3, [known("worker_died", 3), known("worker_died", 4)], 9, False),
        ("user", 3, [], 9, False),
        ("oom", 3, [], 9, False),
        ("disk", 3, [], 9, False),
    ],
)
def test_only_a_death_that_may_be_the_machines_fault_is_tried_again(cause, epoch, earlier, max_failures, expected):
    assert deserves_retry(Failure(cause, "", ""), epoch, earlier, max_failures) is expected
