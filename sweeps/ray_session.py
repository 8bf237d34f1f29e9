"""The Ray that a sweep runs on: the one that is there, the one at an address, or one of its own on this machine."""

from __future__ import annotations

import json
import logging
import os
import signal
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
import torch

from sweeps.config import ResourcesConfig
from sweeps.connection import connect
from sweeps.errors import InfeasibleError
from sweeps.resources import Node, slots

# Set before Ray starts, since its prestarted workers only know the environment of that moment.
_ENVIRONMENT = {
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",  # a trial without a share of a GPU sees none
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # relative paths in user code mean what they mean on the driver
    "RAY_AIR_NEW_OUTPUT": "0",  # the newer reporter prints even when told to be silent
    "RAY_IGNORE_UNHANDLED_ERRORS": "1",  # of a worker that nobody waits for any more; its failure is in the journal
    "RAY_TQDM_PATCH_PRINT": "0",  # else nets that hold the builtin print cannot be pickled afterwards
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_gcs_rpc_server_reconnect_timeout_s": "90",  # longer than this process waits for a head that is lost
    "RAY_preload_python_modules": "trainables.worker_start",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # a sweep stops by its own rules, and says so
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # the journal is the log
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000",  # Tune's own snapshots are never read
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    # Tune asks for the cluster's resources only for messages that nobody sees, and waits where the head is lost.
    "TUNE_STATE_REFRESH_PERIOD": "1000000",
    "TUNE_WARN_INSUFFICENT_RESOURCE_THRESHOLD_S": "1000000",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
}


# Of signals that go to a whole group of processes, as from a terminal that is closed, these end Ray's with the group,
# though the driver needs them to save the trials. From SIGINT Ray keeps them itself; by SIGTERM it ends them.
_LEFT_TO_DRIVER = {signal.SIGHUP, signal.SIGUSR1}
# Seconds until Ray ends a driver whose own Ray has died, instead of a minute; later than a command line gives up.
_PATIENCE_S = 30
# Of workers on other machines, which know nothing of this process's environment.
_WORKERS = ("RAY_CHDIR_TO_TRIAL_DIR", "RAY_TQDM_PATCH_PRINT")

NODE_TYPES = "SWEEPS_NODE_TYPES"
"""Environment variable of a driver: what the cluster's autoscaler may add, as JSON of cpus, gpus and count."""


@contextmanager
def ray_session(address: str | None, search_path: Sequence[Path], resources: ResourcesConfig) -> Iterator[list[Node]]:
    """Provides a running Ray; ends it only if it was started here.

    Parameters
    ----------
    address : str or None
        Of a cluster; None uses a Ray that this process is connected to, or starts one on this machine.
    search_path : sequence of Path
        Folders from which workers import user modules.
    resources : ResourcesConfig
        What trials ask for: Tune keeps as many of them ready as run at once, so that a warm worker never waits for one.

    Yields
    ------
    list of Node
        The machines.

    Raises
    ------
    InfeasibleError
        The cluster cannot be reached.
    """
    with _environment({**_ENVIRONMENT, "PYTHONPATH": _python_path(search_path)}), _quiet_ray():
        started = not ray.is_initialized()
        on_terminate = signal.getsignal(signal.SIGTERM)
        if started:
            _start(address)
            _restore_handler(signal.SIGTERM, on_terminate)
        try:
            nodes = machines()
            # Trials that wait are also what an autoscaler goes by.
            staged = max(slots(resources, nodes), slots(resources, coming_machines()))
            with _environment({"TUNE_MAX_PENDING_TRIALS_PG": str(staged)}):
                yield nodes
        finally:
            if started:
                ray.shutdown()


def machines() -> list[Node]:
    """The living nodes of the Ray that this process is connected to."""
    nodes = ray.nodes()  # type: ignore[no-untyped-call]  # Ray leaves it untyped
    resources = [node["Resources"] for node in nodes if node["Alive"]]
    return [Node(found.get("CPU", 0), found.get("GPU", 0)) for found in resources]


def coming_machines() -> list[Node]:
    """The machines that the cluster's autoscaler may add, as `NODE_TYPES` says; none where it is not set.

    Raises
    ------
    InfeasibleError
        It says something else.
    """
    text = os.environ.get(NODE_TYPES, "[]")
    try:
        return [
            Node(float(kind["cpus"]), float(kind["gpus"])) for kind in json.loads(text) for _ in range(kind["count"])
        ]
    except (KeyError, TypeError, ValueError) as error:
        allowed = """a list such as '[{"cpus": 8, "gpus": 1, "count": 4}]'"""
        raise InfeasibleError(f"{NODE_TYPES} is {text!r}; give {allowed}, or unset it") from error


def this_machine() -> Node:
    """CPUs and CUDA devices of this machine, as a local Ray would count them."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Node(cpus, torch.cuda.device_count())


def head_address() -> str:
    """``host:port`` of the head of the Ray that this process is connected to."""
    return str(ray.get_runtime_context().gcs_address)


def is_connected() -> bool:
    """Whether this process already has a Ray."""
    return bool(ray.is_initialized())


def _start(address: str | None) -> None:
    if address is None:
        with _kept_from_children(_LEFT_TO_DRIVER):
            ray.init(
                address="local",
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
                _system_config={"gcs_rpc_server_reconnect_timeout_s": _PATIENCE_S},
            )
        return
    is_job = "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ  # whose environment was given when it was submitted
    workers = {} if is_job else {"env_vars": {name: _ENVIRONMENT[name] for name in _WORKERS}}
    connect(address, workers)


@contextmanager
def _kept_from_children(signals: Collection[int]) -> Iterator[None]:
    """Blocks signals, as processes that are started meanwhile do for good; here they come when the context ends."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _restore_handler(number: int, handler: Any) -> None:
    # Ray takes SIGTERM over when it starts, where Python takes signals at all; sweeps stop by rules of their own.
    if threading.current_thread() is threading.main_thread():
        signal.signal(number, handler)


def _python_path(search_path: Sequence[Path]) -> str:
    folders = [str(folder) for folder in search_path] + os.environ.get("PYTHONPATH", "").split(os.pathsep)
    return os.pathsep.join(dict.fromkeys(folder for folder in folders if folder))


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        # Ray leaves some of its own; others are those of the user's code, which ran meanwhile.
        for name in [name for name in os.environ if name.startswith(("RAY_", "TUNE_")) or name in values]:
            os.environ.pop(name, None)
        os.environ.update({name: value for name, value in before.items() if name not in os.environ})


@contextmanager
def _quiet_ray() -> Iterator[None]:
    """Keeps Tune from reporting what the journal and the progress view already say."""
    loggers = [logging.getLogger(name) for name in ("ray.tune", "ray.air")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
