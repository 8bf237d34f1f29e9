"""Commands on another machine through ssh, with what went wrong in one line. Knows nothing of Ray."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sweeps.errors import InfeasibleError

CONNECT_S = 10
"""Seconds until a machine counts as unreachable."""

_NOISE = (
    "cannot set terminal process group",
    "no job control in this shell",
    "Permanently added",
    "logout",
    "Broken pipe",
)
_CAUSES = {
    "Permission denied": "refused the key{keys}; give auth.ssh_user and the auth.ssh_private_key that its "
    "~/.ssh/authorized_keys names",
    "Host key verification failed": "is not the machine it was: its host key changed; if that is right, "
    "ssh-keygen -R {host} -f {known_hosts}",
    "bad permissions": "was not asked: ssh refuses a key that others may read; chmod 600 it",
}


@dataclass(frozen=True)
class Ssh:
    """How to log in on the machines of a cluster.

    Attributes
    ----------
    user : str
        Who.
    keys : tuple of Path
        Private keys to try; with none, ssh's own.
    proxy_command : str or None
        Through what to connect, for machines behind another.
    known_hosts : Path or None
        Where the keys of machines are kept, to notice one that changes. None accepts all, as is needed where a
        provider gives addresses out again.
    """

    user: str
    keys: tuple[Path, ...] = ()
    proxy_command: str | None = None
    known_hosts: Path | None = None

    def command(self, *words: str) -> list[str]:
        """The ssh command with these flags and words; it never asks anything."""
        options = {
            "BatchMode": "yes",
            "ConnectTimeout": str(CONNECT_S),
            "ServerAliveInterval": "5",
            "ServerAliveCountMax": "3",
            "LogLevel": "ERROR",
            "StrictHostKeyChecking": "accept-new" if self.known_hosts else "no",
            "UserKnownHostsFile": f'"{self.known_hosts or "/dev/null"}"',  # without quotes, a blank ends the name
        }
        if self.keys:
            options["IdentitiesOnly"] = "yes"
        if self.proxy_command:
            options["ProxyCommand"] = self.proxy_command
        flags = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
        return ["ssh", *flags, *(word for key in self.keys for word in ("-i", str(key))), *words]

    def at(self, host: str) -> str:
        """User and host, as ssh and rsync take them."""
        return f"{self.user}@{host}"

    def run(self, host: str, command: str, timeout_s: float) -> str:
        """Runs a command in a login shell, as Ray's launcher does, so that PATH is the same.

        Parameters
        ----------
        host : str
            Where.
        command : str
            For bash.
        timeout_s : float
            Seconds that it may take.

        Returns
        -------
        str
            What it wrote to stdout.

        Raises
        ------
        InfeasibleError
            The machine cannot be reached or refuses the key, or the command fails or takes too long.
        """
        script = f"source ~/.bashrc; {command}"
        words = self.command(self.at(host), f"bash --login -c -i {shlex.quote(script)}")
        return self.finish(host, words, timeout_s)

    def finish(self, host: str, words: Sequence[str], timeout_s: float) -> str:
        """Runs a command of ssh's, or one that uses ssh, to its end; returns and raises as `run`."""
        if self.known_hosts is not None:
            self.known_hosts.parent.mkdir(parents=True, exist_ok=True)
        try:
            done = subprocess.run(
                words, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout_s, check=False
            )
        except subprocess.TimeoutExpired:
            raise InfeasibleError(f"{host} did not answer within {timeout_s:g} s") from None
        except FileNotFoundError:
            raise InfeasibleError(f"{words[0]} is not installed here; it is needed to reach {host}") from None
        if done.returncode:
            raise InfeasibleError(self.why(host, done.returncode, done.stderr))
        return done.stdout

    def why(self, host: str, code: int, errors: str) -> str:
        """What went wrong, in one line.

        Parameters
        ----------
        host : str
            Where.
        code : int
            Exit code of the command; ssh's own is 255.
        errors : str
            What was written to stderr.
        """
        lines = [line.strip() for line in errors.splitlines() if line.strip()]
        telling = [line for line in lines if not any(noise in line for noise in _NOISE)]
        for sign, cause in _CAUSES.items():
            if any(sign in line for line in telling):
                keys = "".join(f" {key}" for key in self.keys) + f" for user {self.user}"
                return f"{host} {cause.format(host=host, keys=keys, known_hosts=shlex.quote(str(self.known_hosts)))}"
        failed = [line for line in telling if line.startswith("rsync") and "failed" in line]  # rsync says more after it
        last = failed[0] if failed else telling[-1] if telling else f"exit code {code}"
        if code == 255:
            return f"{host} cannot be reached by ssh ({last}); is it on, and the address right?"
        return f"{host}: {last}"
