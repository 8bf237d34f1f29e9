"""Ray's own command line about a cluster.yaml, run as a process with its output in a file. Imports no Ray."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sweeps.cluster_file import ClusterFile

_END_S = 10


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Attributes
    ----------
    code : int or None
        Its exit code; None if it was ended for taking too long.
    text : str
        What it wrote.
    log : Path
        Where that stays.
    """

    code: int | None
    text: str
    log: Path


def cache_folder() -> Path:
    """Where logs of launches and host keys are kept."""
    return Path.home() / ".cache" / "skorch-sweeps"


def run_ray(cluster: ClusterFile, verb: str, *words: str, timeout_s: float) -> Ended:
    """Runs `ray VERB` on the cluster's file, with the cluster's token.

    Parameters
    ----------
    cluster : ClusterFile
        Which cluster.
    verb : str
        Such as `up`.
    *words : str
        What follows the file's name, flags included.
    timeout_s : float
        Seconds after which it is ended.

    Raises
    ------
    KeyboardInterrupt
        Ctrl-C; the command has been ended then.
    """
    log = cache_folder() / f"{re.sub(r'[^A-Za-z0-9._-]', '_', cluster.name)}-{verb}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "ray.scripts.scripts", verb, str(cluster.path), *words]
    # A file, since a pipe stays open as long as the ssh connection that Ray keeps for later commands. Its own session,
    # since Ctrl-C must end the command when this process is ready for it.
    with log.open("wb") as file:
        process = subprocess.Popen(
            command,
            env=ray_environment(cluster),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        code: int | None = process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        code = None
    finally:
        _end(process)
    return Ended(code, log.read_text(errors="replace"), log)


def ray_environment(cluster: ClusterFile) -> Mapping[str, str]:
    """The environment in which Ray's command line, or a client of the cluster, runs."""
    others = {name: value for name, value in os.environ.items() if name != "RAY_AUTH_TOKEN"}  # would come before a file
    ours = {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(cluster.token_file.absolute()),
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    if cluster.provider == "local":
        ours["RAY_UP_enable_autoscaler_v2"] = "0"  # v2 starts one worker only, as it takes the head for another one
    return {**others, **ours}


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        return
    for number in (signal.SIGTERM, signal.SIGKILL):
        os.killpg(process.pid, number)
        try:
            process.wait(_END_S)
        except subprocess.TimeoutExpired:
            continue
        return
