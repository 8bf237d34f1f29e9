"""A Ray cluster on hosts, started by hand with token authentication as the launcher's is. Runs no sweep."""

from __future__ import annotations

import json
import os
import re
import secrets
import subprocess
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cluster.hosts import Hosts

_PORT = 6379
_STORE_BYTES = 100_000_000
_PATIENCE_S = 60.0
# What the launcher gives the head: a machine out of reach counts as lost after about 25 s.
_HEALTH = {
    "RAY_health_check_initial_delay_ms": "5000",
    "RAY_health_check_period_ms": "2000",
    "RAY_health_check_timeout_ms": "3000",
    "RAY_health_check_failure_threshold": "5",
}
# Programs of Ray's own, by the begin of their command lines.
RAYLET = re.compile(r"^\S*raylet/raylet ")
GCS = re.compile(r"^\S*gcs/gcs_server ")

_LIST_NODES = """
import json, sys
from ray._raylet import GcsClient
nodes = GcsClient(address=sys.argv[1]).get_all_node_info(timeout=10).values()
alive = [node for node in nodes if node.state == 0]
print(json.dumps({node.node_id.hex(): [node.node_manager_hostname, dict(node.resources_total)] for node in alive}))
"""


@dataclass
class Rays:
    """A head and workers, each on a host of its own.

    Attributes
    ----------
    hosts : Hosts
        Where; the first is the head, without CPUs for trials.
    folder : Path
        For the token, seen by all hosts.
    cpus, gpus : int
        Logical ones of each worker.
    head_options : tuple of str
        More words for ``ray start`` on the head.
    head_env : dict
        More environment for it.
    """

    hosts: Hosts
    folder: Path
    cpus: int
    gpus: int = 0
    head_options: tuple[str, ...] = ("--include-dashboard=false",)
    head_env: Mapping[str, str] = field(default_factory=dict)

    @property
    def head(self) -> str:
        return self.hosts.names[0]

    @property
    def workers(self) -> tuple[str, ...]:
        return self.hosts.names[1:]

    @property
    def address(self) -> str:
        """Of the head, for those that join."""
        return f"{self.hosts.address(self.head)}:{_PORT}"

    @property
    def env(self) -> dict[str, str]:
        """What every process needs that has to do with this cluster."""
        token = self.folder / "auth_token"
        if not token.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            token.touch(mode=0o600)
            token.write_text(secrets.token_hex(32))
        return {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(token),
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": os.environ["PYTHONPATH"],
        }

    def start(self) -> None:
        """Starts Ray on the head, then on all other hosts at once; returns when all are there."""
        self.start_head()
        with ThreadPoolExecutor() as pool:
            list(pool.map(self.start_worker, self.workers))
        self.wait_for(len(self.hosts.names))

    def start_head(self) -> None:
        """Starts the head alone."""
        words = ["--head", f"--port={_PORT}", "--num-cpus=0", "--num-gpus=0", *self.head_options]
        self._start(self.head, words, {**_HEALTH, **self.head_env})

    def start_worker(self, host: str) -> None:
        """Starts a worker that joins the head, for the first time or after its raylet has died."""
        self._start(host, [f"--address={self.address}", f"--num-cpus={self.cpus}", f"--num-gpus={self.gpus}"], {})

    def restart(self) -> None:
        """Turns every host off and on, and starts a new Ray there."""
        for host in self.hosts.names:
            self.hosts.power_off(host)
            self.hosts.power_on(host)
        self.start()

    def ensure(self, n_nodes: int) -> None:
        """Starts all of it anew unless exactly so many nodes live, as after a test that broke off."""
        with suppress(subprocess.CalledProcessError):
            if len(self.nodes()) == n_nodes:
                return
        self.restart()

    def nodes(self) -> dict[str, tuple[str, dict[str, float]]]:
        """Ray's id of each living node -> its host and its resources."""
        found = self.hosts.run(self.head, [sys.executable, "-c", _LIST_NODES, self.address], env=self.env)
        return {node: (host, resources) for node, (host, resources) in json.loads(found.stdout).items()}

    def wait_for(self, n_nodes: int) -> None:
        """Returns once exactly so many nodes live, the head among them."""
        deadline = time.monotonic() + _PATIENCE_S
        while len(found := self.nodes()) != n_nodes:
            if time.monotonic() > deadline:
                raise TimeoutError(f"instead of {n_nodes} nodes there are {found}")
            time.sleep(0.2)

    def pid_of(self, host: str, program: re.Pattern[str]) -> int:
        """The process on a host whose command line begins so."""
        (pid,) = [pid for pid, line in self.hosts.processes(host).items() if program.match(line)]
        return pid

    def has_raylet(self, host: str) -> bool:
        """Whether a raylet runs on a host."""
        return any(RAYLET.match(line) for line in self.hosts.processes(host).values())

    def sweeps(self, host: str, said: Path, *words: object, env: Mapping[str, str] | None = None) -> Driver:
        """Starts the command line of this project on a host."""
        command = [sys.executable, "-m", "sweeps", *words]
        return Driver(self.hosts.start(host, command, said, env={**self.env, **(env or {})}), said)

    def _start(self, host: str, words: list[str], env: Mapping[str, str]) -> None:
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", *words]
        command += [f"--node-ip-address={self.hosts.address(host)}", f"--object-store-memory={_STORE_BYTES}"]
        self.hosts.run(host, command, env={**self.env, **env})


@dataclass(frozen=True)
class Driver:
    """A command that runs on a host.

    Attributes
    ----------
    process : subprocess.Popen
        Which brings its exit code.
    folder : Path
        Of what it says.
    """

    process: subprocess.Popen[bytes]
    folder: Path

    @property
    def err(self) -> str:
        return (self.folder / "stderr").read_text()

    @property
    def status(self) -> int | None:
        return self.process.poll()

    def wait_until(self, is_true: Any, what: str, patience_s: float = 120.0) -> None:
        """Returns once something is true; fails where the command ends before."""
        deadline = time.monotonic() + patience_s
        while not is_true():
            if self.status is not None and not is_true():
                raise AssertionError(f"it ended with {self.status} before {what}:\n{self.err}")
            if time.monotonic() > deadline:
                raise AssertionError(f"{what} did not come within {patience_s:.0f} s:\n{self.err}")
            time.sleep(0.02)

    def wait(self, patience_s: float) -> int:
        """Its exit code."""
        try:
            return self.process.wait(patience_s)
        except subprocess.TimeoutExpired as error:
            raise AssertionError(f"it did not end within {patience_s:.0f} s:\n{self.err}") from error
