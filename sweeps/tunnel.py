"""Ways from this machine to a cluster's head through ssh: a port, a command, a copy of a folder. Starts no cluster."""

from __future__ import annotations

import re
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from shlex import quote
from tempfile import TemporaryFile

from sweeps.cluster_file import ClusterFile
from sweeps.errors import InfeasibleError
from sweeps.launch_log import telling_line
from sweeps.launch_plan import DASHBOARD_PORT
from sweeps.ray_command import cache_folder, run_ray
from sweeps.ssh import CONNECT_S, Ssh

_COMMAND_S = 120
_COPY_S = 24 * 3600
_LOOK_S = 0.05
_NO_HEAD = re.compile(r"^RuntimeError: Head node of cluster \(.*\) not found!", re.MULTILINE)  # in Ray's own words
_HALF_MADE = re.compile(r"Head node \(\S+\) is in state (\S+?)\.?\s")


@contextmanager
def tunnel(cluster: ClusterFile, port: int = DASHBOARD_PORT) -> Iterator[str]:
    """Opens a way to a port on the head's loopback while the context lasts.

    Parameters
    ----------
    cluster : ClusterFile
        Which cluster.
    port : int
        The head's; by default that of its Jobs server.

    Yields
    ------
    str
        `http://127.0.0.1:PORT` on this machine. That something listens at the other end, is not known yet.

    Raises
    ------
    InfeasibleError
        The head cannot be reached or refuses the key.
    """
    ssh, host = ssh_of(cluster), head_address(cluster)
    here = _free_port()
    words = ssh.command(
        *("-o", "ExitOnForwardFailure=yes", "-L", f"127.0.0.1:{here}:127.0.0.1:{port}"), ssh.at(host), "cat"
    )  # ends with this process, however that ends, as its input does then; with -N in place of `cat` it would go on
    with TemporaryFile() as errors:
        process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=errors, stderr=errors, start_new_session=True
        )  # a session of its own, so that Ctrl-C leaves the way open to who still needs it
        try:
            if not _accepts(process, here):
                process.kill()
                code = process.wait()
                errors.seek(0)
                raise InfeasibleError(ssh.why(host, code if code > 0 else 255, errors.read().decode(errors="replace")))
            yield f"http://127.0.0.1:{here}"
        finally:
            process.kill()
            process.wait()


def on_head(cluster: ClusterFile, command: str, timeout_s: float = _COMMAND_S) -> str:
    """Runs a command on the head, as `Ssh.run`; not in its container, if it has one."""
    return ssh_of(cluster).run(head_address(cluster), command, timeout_s)


def fetch(cluster: ClusterFile, remote_folder: str, local_folder: Path, excludes: Sequence[str] = ()) -> None:
    """Copies what a folder on the head holds into one here; files that are the same already are not sent again.

    Parameters
    ----------
    cluster : ClusterFile
        Which cluster.
    remote_folder : str
        On the head.
    local_folder : Path
        Here; made where it is missing.
    excludes : sequence of str
        Patterns of rsync's for what to leave out.

    Raises
    ------
    InfeasibleError
        The head cannot be reached or refuses the key, or the copy fails.
    """
    ssh, host = ssh_of(cluster), head_address(cluster)
    local_folder.mkdir(parents=True, exist_ok=True)
    words = ["rsync", "-az", "--protect-args", "--rsh", _quoted(ssh.command())]
    words += [f"--exclude={pattern}" for pattern in excludes]
    there = f"[{host}]" if ":" in host else host  # an IPv6 address, which ssh itself takes without brackets
    ssh.finish(host, [*words, f"{ssh.at(there)}:{remote_folder.rstrip('/')}/", f"{local_folder}/"], _COPY_S)


def ssh_of(cluster: ClusterFile) -> Ssh:
    """How to log in on the machines of a cluster."""
    keys = (cluster.ssh_key,) if cluster.ssh_key else ()
    if cluster.provider == "local":
        return Ssh(cluster.ssh_user, keys, cluster.ssh_proxy_command, cache_folder() / "known_hosts")
    made = tuple(sorted((Path.home() / ".ssh").glob("ray-autoscaler*.pem")))  # by Ray, where the file names none
    return Ssh(cluster.ssh_user, keys or made, cluster.ssh_proxy_command)


def head_address(cluster: ClusterFile) -> str:
    """Address of the head.

    Raises
    ------
    InfeasibleError
        The provider knows of none.
    """
    found = find_head(cluster)
    if found is None:
        raise InfeasibleError(f"{cluster.name} has no head; sweeps cluster up {quote(str(cluster.path))} starts it")
    return found


def find_head(cluster: ClusterFile) -> str | None:
    """Address of the head, or None where the provider says that there is no such machine.

    Raises
    ------
    InfeasibleError
        The provider does not say, or the head has not been set up to its end.
    """
    if cluster.head_ip is not None:
        return cluster.head_ip
    ended = run_ray(cluster, "get-head-ip", timeout_s=_COMMAND_S)
    words = ended.text.split()
    if ended.code == 0 and words:
        return words[-1]
    half_made = _HALF_MADE.search(ended.text)
    if half_made:
        hint = f"if nobody is launching it, sweeps cluster down {quote(str(cluster.path))} ends it"
        raise InfeasibleError(f"the head of {cluster.name} is in state {half_made[1]}; {hint}")
    if _NO_HEAD.search(ended.text):
        return None
    reason = telling_line(ended.text) or f"see {ended.log}"
    raise InfeasibleError(f"{cluster.provider} does not say whether {cluster.name} has a head: {reason}")


def _quoted(words: Sequence[str]) -> str:
    """Words as rsync splits them: it knows quotes, but no backslashes."""
    doubled = (word.replace("'", "''") for word in words)
    return " ".join(f"'{word}'" if {*word} & {*" '\""} else word for word in doubled)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def _accepts(process: subprocess.Popen[bytes], port: int) -> bool:
    """Waits until the port accepts connections; False where ssh ends before, or takes too long."""
    until = time.monotonic() + 2 * CONNECT_S
    while process.poll() is None and time.monotonic() < until:
        with socket.socket() as found:
            if found.connect_ex(("127.0.0.1", port)) == 0:
                return True
        time.sleep(_LOOK_S)
    return False
