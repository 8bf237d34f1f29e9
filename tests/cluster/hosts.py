"""Several hosts on one machine, each in namespaces of its own, whose links can be cut. Knows nothing of Ray."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pwd
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

_FOLDER = Path(tempfile.gettempdir()) / "sweeps-hosts"
_NETS = [f"10.{number}.0" for number in range(77, 100)]
_HOME = Path(pwd.getpwuid(os.getuid()).pw_dir)
_REPOSITORY = Path(__file__).resolve().parents[2]
_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
_NEEDED = {
    "iproute2": ["ip"],
    "util-linux": ["nsenter", "setpriv", "unshare"],
    "openssh-server": ["sshd", "ssh-keygen"],
    "rsync": ["rsync"],
}
_PATIENCE_S = 20.0

# Process 1 of a host. It must bury orphans, as bash does: the workers of a killed raylet that stays a zombie believe
# that it lives. Folders of Python that lie below the home are the only part of it that hosts share.
_BOOT = """
set -e
hostname {name}
for kept in {kept}; do mkdir -p {home}/"$kept"; mount --bind {real_home}/"$kept" {home}/"$kept"; done
mkdir -p /tmp/ray /run/sshd
mount --rbind {home} {real_home}
mount -t tmpfs none /tmp/ray
mount -t tmpfs -o size=2g none /dev/shm
mount -t tmpfs -o mode=755 none /run/sshd
{sshd} -f {folder}/sshd_config -E {folder}/{name}.sshd.log
cd /
touch {folder}/{name}.ready
while :; do sleep 3600 & wait $!; done
"""
_SSHD_CONFIG = """
Port 22
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/id.pub
StrictModes no
PermitRootLogin prohibit-password
UsePAM no
PidFile none
MaxSessions 100
MaxStartups 100
"""


def what_is_missing() -> str | None:
    """Why no hosts can be made here; None where they can."""
    if os.geteuid() != 0:
        return "namespaces of hosts need root"
    lacking = [name for name, found in _NEEDED.items() if not all(shutil.which(tool, path=_PATH) for tool in found)]
    if lacking:
        return f"{', '.join(lacking)} are missing; make cluster-setup installs them"
    tried = subprocess.run(["unshare", "--net", "--mount", "--uts", "--pid", "--fork", "true"], capture_output=True)
    return None if tried.returncode == 0 else f"namespaces cannot be made here: {tried.stderr.decode().strip()}"


class Hosts:
    """Hosts h1, h2, … on one bridge, which nothing leaves.

    Each has an address, a home, /tmp/ray, /dev/shm, a hostname, processes and an sshd of its own; the rest of the file
    system is shared. They end with the process that made them; what it left is removed when others are made.

    Parameters
    ----------
    n : int
        How many.

    Attributes
    ----------
    names : tuple of str
        Of all hosts.
    folder : Path
        Keys and logs.
    ssh_key : Path
        Private key with which root may log in on each of them.
    """

    def __init__(self, n: int) -> None:
        self.names = tuple(f"h{number}" for number in range(1, n + 1))
        self._net, self.folder = _claim()
        self._prefix = _prefix_of(self._net)
        self._outer: dict[str, subprocess.Popen[bytes]] = {}
        self.ssh_key = self.folder / "id"
        try:
            self._make_switch()
            for name in self.names:
                self._plug_in(name)
                self.power_on(name)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Hosts:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def address(self, host: str) -> str:
        """Its IPv4 address."""
        return f"{self._net}.{self.names.index(host) + 1}"

    def run(
        self, host: str, command: Sequence[object], env: Mapping[str, str] | None = None, timeout_s: float = 120.0
    ) -> subprocess.CompletedProcess[str]:
        """Runs a command to its end; raises `subprocess.CalledProcessError`, with what it said as note, if it fails."""
        found = subprocess.run(
            self._enter(host, command), env=_environment(env), capture_output=True, text=True, timeout=timeout_s
        )
        if found.returncode:
            error = subprocess.CalledProcessError(found.returncode, [*map(str, command)], found.stdout, found.stderr)
            error.add_note(f"on {host}:\n{found.stdout}\n{found.stderr}")
            raise error
        return found

    def start(
        self, host: str, command: Sequence[object], said: Path, env: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Starts a command whose stdout and stderr become files in the folder ``said``; it dies with its host."""
        said.mkdir(parents=True, exist_ok=True)
        with (said / "stdout").open("wb") as out, (said / "stderr").open("wb") as err:
            return subprocess.Popen(
                self._enter(host, command), env=_environment(env), stdout=out, stderr=err, stdin=subprocess.DEVNULL
            )

    def processes(self, host: str) -> dict[int, str]:
        """Number, as the host has it, of each of its processes -> its command line."""
        found = {}
        for path in Path(f"/proc/{self._pid(host)}/root/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):  # it has ended meanwhile
                found[int(path.parent.name)] = path.read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        return {number: line for number, line in found.items() if line}

    def kill(self, host: str, pid: int, number: int = signal.SIGKILL) -> None:
        """Sends a signal to a process of a host, by the number that it has there."""
        self.run(host, ["kill", f"-{int(number)}", pid])

    def cut(self, host: str) -> None:
        """Takes its link down: nothing comes through, and nobody is told."""
        _ip("-n", self._switch, "link", "set", self._port(host), "down")

    def heal(self, host: str) -> None:
        """Puts the link up again."""
        _ip("-n", self._switch, "link", "set", self._port(host), "up")

    def power_off(self, host: str) -> None:
        """Ends all of its processes at once; what lay in memory is lost, its home stays."""
        outer = self._outer.pop(host, None)
        if outer is not None:
            with contextlib.suppress(ProcessLookupError, IndexError):
                os.kill(self._child_of(outer.pid), signal.SIGKILL)
            outer.kill()
            outer.wait(_PATIENCE_S)

    def power_on(self, host: str) -> None:
        """Starts a host that is off."""
        ready = self.folder / f"{host}.ready"
        ready.unlink(missing_ok=True)
        # With the process that made the hosts all of this ends, however that comes about.
        words = ["setpriv", "--pdeathsig", "KILL", "ip", "netns", "exec", self._netns(host), "setpriv"]
        words += ["--pdeathsig", "KILL", "unshare", "--mount", "--uts", "--pid", "--fork", "--mount-proc"]
        words += ["--kill-child", "bash", "-c", self._boot(host)]
        with (self.folder / f"{host}.boot.log").open("wb") as log:
            self._outer[host] = subprocess.Popen(
                words, env=_environment(None), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + _PATIENCE_S
        while not ready.exists():
            if self._outer[host].poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{host} does not start: {(self.folder / f'{host}.boot.log').read_text()}")
            time.sleep(0.01)

    def close(self) -> None:
        """Ends all hosts and removes what they left; may be called again."""
        for host in [*self._outer]:
            self.power_off(host)
        _remove(self._net)

    @property
    def _switch(self) -> str:
        return f"{self._prefix}-sw"

    def _netns(self, host: str) -> str:
        return f"{self._prefix}-{host}"

    def _port(self, host: str) -> str:
        return f"port-{host}"

    def _pid(self, host: str) -> int:
        if host not in self._outer:
            raise RuntimeError(f"{host} is off")
        return self._child_of(self._outer[host].pid)

    def _child_of(self, pid: int) -> int:
        return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])

    def _enter(self, host: str, command: Sequence[object]) -> list[str]:
        words = ["nsenter", "--target", str(self._pid(host)), "--mount", "--net", "--uts", "--pid"]
        return [*words, f"--wdns={_REPOSITORY}", "--", *map(str, command)]

    def _make_switch(self) -> None:
        for name in ("id", "host_key"):
            subprocess.run(
                ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.folder / name],
                check=True,
                env=_environment(),
            )
        (self.folder / "sshd_config").write_text(_SSHD_CONFIG.format(folder=self.folder))
        _ip("netns", "add", self._switch)
        _ip("-n", self._switch, "link", "add", "br0", "type", "bridge")
        _ip("-n", self._switch, "link", "set", "br0", "up")

    def _plug_in(self, host: str) -> None:
        netns, port = self._netns(host), self._port(host)
        _ip("netns", "add", netns)
        _ip("-n", netns, "link", "set", "lo", "up")
        _ip("-n", netns, "link", "add", "eth0", "type", "veth", "peer", "name", port, "netns", self._switch)
        _ip("-n", self._switch, "link", "set", port, "master", "br0", "up")
        _ip("-n", netns, "addr", "add", f"{self.address(host)}/24", "dev", "eth0")
        _ip("-n", netns, "link", "set", "eth0", "up")
        # Ray asks which address of its own would lead there. Without any other route, look-ups of names fail at once.
        _ip("-n", netns, "route", "add", "8.8.8.8/32", "dev", "eth0")

    def _boot(self, host: str) -> str:
        home = self.folder / f"home-{host}"
        home.mkdir(exist_ok=True)
        sshd = shutil.which("sshd", path=_PATH)
        kept = shlex.join([str(path.relative_to(_HOME)) for path in _shared_below(_HOME)])
        return _BOOT.format(name=host, kept=kept, home=home, real_home=_HOME, sshd=sshd, folder=self.folder)


def _shared_below(home: Path) -> list[Path]:
    """Folders below a home without which Python or this project would be missing on a host."""
    needed = {Path(path).resolve() for path in (sys.base_prefix, sys.prefix, _REPOSITORY)}
    return sorted(path for path in needed if path.is_relative_to(home) and path != home)


def _environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's, without what it says to Ray."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "TUNE_", "SWEEPS_"))}
    return {**kept, "HOME": str(_HOME), "PATH": _PATH, **(more or {})}


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, env=_environment(), capture_output=True)


def _prefix_of(net: str) -> str:
    return f"{os.environ.get('HOSTS_PFX', 'sweeps')}{net.split('.')[1]}"


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Lets one process at a time take or remove a net."""
    _FOLDER.mkdir(exist_ok=True)
    with (_FOLDER / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _claim() -> tuple[str, Path]:
    """A net that nobody has, after those whose owners died were removed; and a new folder for it."""
    wanted = os.environ.get("HOSTS_NET")
    with _alone():
        for path in _FOLDER.glob("10.*"):
            if (path / "owner").read_text() not in _living():
                _clear(path.name)
        for net in [wanted] if wanted else _NETS:
            if not (_FOLDER / net).exists():
                beside = _FOLDER / f".{net}"
                shutil.rmtree(beside, ignore_errors=True)
                beside.mkdir()
                (beside / "owner").write_text(_identity(os.getpid()))
                (beside / "prefix").write_text(_prefix_of(net))
                return net, beside.rename(_FOLDER / net)
    raise RuntimeError(f"every net is taken: see {_FOLDER}")


def _living() -> set[str]:
    return {_identity(int(path.name)) for path in Path("/proc").glob("[0-9]*")}


def _identity(pid: int) -> str:
    """Tells a process from an earlier one of the same number by when it began."""
    with contextlib.suppress(OSError):
        return f"{pid} {Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[19]}"
    return ""


def _remove(net: str) -> None:
    with _alone():
        _clear(net)


def _clear(net: str) -> None:
    """Removes the namespaces of a net whose processes have ended with their owner, and its folder."""
    folder = _FOLDER / net
    if not folder.exists():
        return
    if f" {folder}/" in Path("/proc/self/mountinfo").read_text():
        raise RuntimeError(f"something is mounted below {folder}; unmount it, or what is there would be deleted")
    prefix = (folder / "prefix").read_text()
    listed = subprocess.run(["ip", "netns", "list"], check=True, capture_output=True, text=True, env=_environment())
    for line in listed.stdout.splitlines():
        if line.startswith(f"{prefix}-"):
            _ip("netns", "del", line.split()[0])
    shutil.rmtree(folder, ignore_errors=True)
