"""Starts and ends the clusters of cluster.yaml files: Ray's launcher does it, this makes sure of the outcome."""

from __future__ import annotations

import os
import secrets
import shlex
import stat
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from sweeps.cluster_file import ClusterFile
from sweeps.cluster_status import ClusterStatus, ask_head
from sweeps.errors import InfeasibleError
from sweeps.launch_log import telling_line
from sweeps.ray_command import run_ray
from sweeps.ssh import CONNECT_S
from sweeps.tunnel import find_head, ssh_of

NODES_S = 300.0
"""Seconds that named hosts may take after the head."""
BOOT_S = 1800.0
"""Seconds that machines of a provider may take after the head: they boot first, and install all that a sweep needs."""

T = TypeVar("T")
Tell = Callable[[str], None]

_UP_S = 3600
_DOWN_S = 600
_HOST_S = 90
_LOOK_S = 1.0
_PATIENCE = 3  # so often in a row a new head may fail to answer

# The user's own processes of Ray, by the ends of their programs' paths; those of root are all, as root's `ray stop` is.
_OF_RAY = (
    r"/(raylet/raylet|gcs/gcs_server|dashboard/dashboard\.py|_private/monitor\.py|_private/log_monitor\.py"
    r"|workers/default_worker\.py|ray_process_reaper\.py)$|^ray\.util\.client\.server$|^ray::[A-Za-z]*"
)
_RUNNING = (
    'me=$(id -u); set --; for p in /proc/[0-9]*; do [ "$me" = 0 ] || [ -O "$p" ] && set -- "$@" "$p/cmdline"; done; '
    f"grep -ahozE '{_OF_RAY}' \"$@\" 2>/dev/null | tr '\\0' '\\n' | sed 's|.*/||' | sort -u | tr '\\n' ' '"
)
_RAN, _LEFT = "ran:", "left:"
_ENDS_MACHINES = "to shut down"  # what `ray down` says of machines that there are, and of named hosts always
_STOP = (
    f'echo "{_RAN}$({_RUNNING})"; ray stop --force >/dev/null 2>&1; '
    f'for _ in $(seq 30); do left="$({_RUNNING})"; [ -z "$left" ] && break; sleep 0.5; done; echo "{_LEFT}$left"'
)


@dataclass(frozen=True)
class _Stopped:
    """What of Ray ran on a host before it was stopped, and why it may still run."""

    ran: str
    wrong: str | None


def up(cluster: ClusterFile, tell: Tell, nodes_s: float | None = None) -> ClusterStatus:
    """Starts a cluster and waits for all the nodes that it begins with.

    Parameters
    ----------
    cluster : ClusterFile
        Which; checked.
    tell : callable
        Called with lines on how it goes.
    nodes_s : float, optional
        Seconds that the nodes may take after the head; by default `NODES_S`, or `BOOT_S` with machines of a provider.

    Returns
    -------
    ClusterStatus
        The nodes.

    Raises
    ------
    InfeasibleError
        A host cannot be reached, refuses the key or runs a Ray already; then nothing was started. Or the launch failed
        midway; then what had been started was brought down again.
    """
    tell(make_token(cluster.token_file))
    _check_hosts(cluster, tell)
    try:
        _launch(cluster, tell)
        return _wait_for_nodes(cluster, tell, _patience(cluster) if nodes_s is None else nodes_s)
    except InfeasibleError as error:
        tell("that failed; bringing down what was started")
        raise InfeasibleError(_and_down(cluster, tell, str(error))) from error
    except KeyboardInterrupt:
        where = ", ".join(cluster.hosts) or f"the machines of {cluster.name}"
        tell(f"interrupted; Ray may run on {where}: sweeps cluster down {_path(cluster)} ends it")
        raise


def down(cluster: ClusterFile, tell: Tell) -> None:
    """Ends a cluster, and makes sure that on named hosts nothing of it is left.

    Parameters
    ----------
    cluster : ClusterFile
        Which.
    tell : callable
        Called with lines on how it goes.

    Raises
    ------
    InfeasibleError
        A host cannot be reached or still runs Ray, or the provider failed.
    """
    tell(f"ending {cluster.name}")
    # By itself `ray down` asks only the head of named hosts to stop; workers would go on for a minute, or for ever.
    stop = partial(_stop, cluster)
    stopped = [*_ask_all(cluster.hosts[:1], stop), *_ask_all(cluster.hosts[1:], stop)]  # a head restarts its workers
    if wrong := [one.wrong for one in stopped if one.wrong]:
        raise InfeasibleError("\n".join(wrong))
    ended = run_ray(cluster, "down", "-y", timeout_s=_DOWN_S)
    if ended.code != 0:
        raise InfeasibleError(f"ray down failed: {telling_line(ended.text) or 'see the log'} ({ended.log})")
    where = f": no Ray is left on {', '.join(cluster.hosts)}" if cluster.hosts else ""
    did_run = any(one.ran for one in stopped) if cluster.hosts else _ENDS_MACHINES in ended.text
    if did_run:
        tell(f"{cluster.name} is down{where}")
    else:
        tell(f"nothing of {cluster.name} was running{where}")


def make_token(path: Path) -> str:
    """Sees to it that there is a token that only its owner can read.

    Parameters
    ----------
    path : Path
        Its file.

    Returns
    -------
    str
        What was done.

    Raises
    ------
    InfeasibleError
        The file is empty or cannot be read or written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_hex(32))
        return f"made the token {path}"
    except FileExistsError:
        return _check_token(path)
    except OSError as error:
        raise InfeasibleError(f"cannot write the token {path}: {error.strerror}") from error


def _check_token(path: Path) -> str:
    try:
        if not path.read_text().strip():
            raise InfeasibleError(f"the token {path} is empty; delete it, then a new one is made")
        if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            path.chmod(0o600)
            return f"using the token {path}, which others could read until now"
    except OSError as error:
        raise InfeasibleError(f"cannot read the token {path}: {error.strerror}") from error
    return f"using the token {path}"


def _check_hosts(cluster: ClusterFile, tell: Tell) -> None:
    if not cluster.hosts:
        _refuse_running_head(cluster)
        return
    tell(f"asking {len(cluster.hosts)} hosts through ssh")
    found = [why for why in _ask_all(cluster.hosts, partial(_refusal, cluster)) if why is not None]
    if found:
        raise InfeasibleError("\n".join(found))


def _refuse_running_head(cluster: ClusterFile) -> None:
    address = find_head(cluster)
    if address is None:
        return
    text = f"{cluster.name} is up already, its head is {address}; sweeps cluster status {_path(cluster)} shows it"
    raise InfeasibleError(f"{text}, sweeps cluster down {_path(cluster)} ends it")


def _refusal(cluster: ClusterFile, host: str) -> str | None:
    ssh = ssh_of(cluster)
    try:
        running = ssh.finish(host, ssh.command(ssh.at(host), f"bash -c {shlex.quote(_RUNNING)}"), 2 * CONNECT_S).strip()
    except InfeasibleError as error:
        return str(error)
    if running:
        return (
            f"{host} runs Ray already ({running}), which `up` would end; sweeps cluster down {_path(cluster)} does so"
        )
    return None


def _launch(cluster: ClusterFile, tell: Tell) -> None:
    tell(f"starting the head of {cluster.name}")
    began = time.monotonic()
    flags = ("-y", "--no-config-cache", "--disable-usage-stats")
    ended = run_ray(cluster, "up", *flags, timeout_s=_UP_S)
    if ended.code != 0:
        raise InfeasibleError(f"ray up failed: {telling_line(ended.text) or 'see the log'} ({ended.log})")
    tell(f"the head is up after {time.monotonic() - began:.0f} s; waiting for {cluster.min_nodes() - 1} workers")


def _wait_for_nodes(cluster: ClusterFile, tell: Tell, nodes_s: float) -> ClusterStatus:
    began, told, silent = time.monotonic(), 0, 0
    while True:
        try:
            status = ask_head(cluster)
        except InfeasibleError:
            silent += 1
            if silent >= _PATIENCE:
                raise
            continue
        silent, waited = 0, time.monotonic() - began
        if len(status.nodes) != told:
            told = len(status.nodes)
            tell(f"{told} of {cluster.min_nodes()} nodes are there after {waited:.0f} s")
        if not status.missing:
            return status
        is_lost = bool(cluster.hosts and status.failures)  # a provider tries again with other machines
        if is_lost or waited > nodes_s:
            raise InfeasibleError(_what_is_missing(status, waited))
        time.sleep(_LOOK_S)


def _what_is_missing(status: ClusterStatus, waited: float) -> str:
    reason = f": {'; '.join(status.failures)}" if status.failures else "; are CPU, disk and network of them sound?"
    return f"after {waited:.0f} s nodes are missing, {', '.join(status.missing)}{reason}"


def _and_down(cluster: ClusterFile, tell: Tell, reason: str) -> str:
    try:
        down(cluster, tell)
    except InfeasibleError as error:
        return f"{reason}\n{error}"
    return reason


def _stop(cluster: ClusterFile, host: str) -> _Stopped:
    try:
        text = ssh_of(cluster).run(host, _STOP, _HOST_S)
    except InfeasibleError as error:
        return _Stopped("", f"{error}; Ray may still run there")
    before, _, left = text.rpartition(_LEFT)
    ran, left = before.rpartition(_RAN)[2].strip(), left.strip()
    return _Stopped(ran, f"{host} still runs {left} after ray stop --force; log in and end it" if left else None)


def _ask_all(hosts: Sequence[str], ask: Callable[[str], T]) -> list[T]:
    """What each of the hosts says, asked all at once."""
    if not hosts:
        return []
    with ThreadPoolExecutor(len(hosts)) as pool:
        return list(pool.map(ask, hosts))


def _patience(cluster: ClusterFile) -> float:
    return NODES_S if cluster.hosts else BOOT_S


def _path(cluster: ClusterFile) -> str:
    """The file's path, for a shell."""
    return shlex.quote(str(cluster.path))
