"""A cluster from start to end over ssh, as docs/cluster.md has it, and what goes wrong on the way there."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import sys
import time
from pathlib import Path

import pytest

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
PORT = 6379
HEAD, *WORKERS, LAPTOP = "h1", "h2", "h3", "h4"
BIN = Path(sys.executable).parent

CLUSTER = """\
cluster_name: lab
provider: {{type: local, head_ip: {head}, worker_ips: [{workers}]}}
auth: {{ssh_user: root, ssh_private_key: {key}}}
file_mounts: {{"~/.ray/auth_token": "~/.ray/auth_token"}}
setup_commands:
  - chmod 600 ~/.ray/auth_token
  - grep -qs RAY_AUTH_MODE ~/.bashrc || echo 'export PATH={bin}:$PATH {env}' >> ~/.bashrc
head_start_ray_commands:
  - {bin}/ray stop
  - >-
    unset OMP_NUM_THREADS PYTHONWARNINGS; export PATH={bin}:$PATH {env} PYTHONPATH={root};
    RAY_health_check_initial_delay_ms=5000 RAY_health_check_period_ms=2000
    RAY_health_check_timeout_ms=3000 RAY_health_check_failure_threshold=5
    ray start --head --port={port} --num-cpus=0 --num-gpus=0 --object-store-memory=100000000
    --dashboard-host=127.0.0.1 --autoscaling-config=~/ray_bootstrap_config.yaml
worker_start_ray_commands:
  - {bin}/ray stop
  - >-
    unset OMP_NUM_THREADS PYTHONWARNINGS; export PATH={bin}:$PATH {env} PYTHONPATH={root};
    ray start --address=$RAY_HEAD_IP:{port} --num-cpus=2 --num-gpus=4 --object-store-memory=100000000
"""
ENVIRONMENT = "RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0 RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO=1"
OF_RAY = re.compile(r"raylet/raylet |gcs/gcs_server |ray/dashboard/|monitor\.py ")


class Lab:
    """Three hosts for a cluster and one to launch it from, with a folder of a project and one that all share."""

    def __init__(self, hosts, folder: Path) -> None:
        self.hosts, self.folder = hosts, folder
        self.project, self.shared = folder / "project", folder / "shared"
        self.shared.mkdir()
        shutil.copytree(ROOT / "examples" / "digits", self.project / "examples" / "digits")
        (self.project / "examples" / "__init__.py").touch()
        self.file = self.project / "cluster.yaml"
        self.write()

    def write(self, *changes: tuple[str, str], name: str = "cluster.yaml") -> Path:
        """Write the cluster's file; each change is a pair of texts, what is there and what takes its place."""
        text = CLUSTER.format(
            head=self.hosts.address(HEAD),
            workers=", ".join(map(self.hosts.address, WORKERS)),
            key=self.hosts.ssh_key,
            bin=BIN,
            root=ROOT,
            env=ENVIRONMENT,
            port=PORT,
        )
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        path = self.project / name
        path.write_text(text)
        return path

    def type(self, line: str, *, expects: int = 0) -> str:
        """Type a command on the laptop, in the project; returns what it says, stdout and stderr."""
        shell = f"cd {shlex.quote(str(self.project))} && {{ {line}; }} 2>&1; echo exit $?"
        env = {"PATH": f"{BIN}:/usr/bin:/bin:/usr/sbin:/sbin", "PYTHONPATH": str(ROOT), "RAY_USAGE_STATS_ENABLED": "0"}
        said = self.hosts.run(LAPTOP, ["bash", "-c", shell], env, timeout_s=300).stdout
        text, _, code = said.rstrip().rpartition("exit ")
        assert int(code) == expects, f"{line}\n{text}"
        return text

    def of_ray(self) -> list[str]:
        """Command lines of Ray's processes on all hosts of the cluster."""
        lines = [line for host in (HEAD, *WORKERS) for line in self.hosts.processes(host).values()]
        return [line for line in lines if OF_RAY.search(line)]


@pytest.fixture(scope="module")
def lab(make_hosts, tmp_path_factory):
    return Lab(make_hosts(4), tmp_path_factory.mktemp("lab"))


def documented() -> list[str]:
    """The commands of the page, from the check of the file to the end of the cluster."""
    (block,) = re.findall(
        r"^```sh\n(sweeps cluster validate.*?)^```$", (ROOT / "docs" / "cluster.md").read_text(), re.M | re.S
    )
    return block.splitlines()


@pytest.mark.parametrize(
    ("changes", "code", "said"),
    [
        ([("cluster_name", "cluster_nam")], 2, "did you mean cluster_name"),
        ([("RAY_AUTH_MODE=token", "RAY_AUTH_MODE=disabled")], 2, "token"),
        ([("--dashboard-host=127.0.0.1", "--dashboard-host=0.0.0.0")], 2, "opens the Jobs server to the network"),
        ([("ssh_private_key: ", "ssh_private_key: /no")], 2, "/no"),
        ([("worker_ips: [", "worker_ips: [10.255.255.1, ")], 5, "10.255.255.1"),
    ],
)
def test_a_cluster_that_cannot_be_is_refused_in_one_line_and_nothing_runs(lab, changes, code, said):
    file = lab.write(*changes, name="wrong.yaml")
    found = lab.type(f"sweeps cluster up {file}", expects=code)
    errors = [line for line in found.splitlines() if line.startswith("error: ")]
    assert any(said in line for line in errors), found
    assert lab.of_ray() == []


def test_a_key_that_is_not_let_in_is_named(lab):
    key = lab.folder / "other"
    lab.hosts.run(LAPTOP, ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key])
    file = lab.write((str(lab.hosts.ssh_key), str(key)), name="wrong.yaml")
    found = lab.type(f"sweeps cluster up {file}", expects=5)
    assert "key" in found
    assert lab.of_ray() == []


def test_the_commands_of_the_page_run_as_they_stand_there(lab):
    said = {}
    for line in documented():
        begun = time.monotonic()
        words = line.replace("/mnt/sweeps", str(lab.shared))
        said[line] = lab.type(words)
        print(f"{time.monotonic() - begun:6.1f} s  {line}")
        if " status night" in line:
            _check_while_it_runs(lab)
        if " logs night" in line:
            apart = lab.type("sweeps doctor --cluster cluster.yaml --storage /root/results", expects=5)
            assert "/root/results" in apart.splitlines()[-1]
    assert "24/24" in said["sweeps show night --limit 3"] or "24 trials" in said["sweeps show night --limit 3"]
    assert lab.of_ray() == []
    trials = json.loads(lab.type("sweeps show results/night --limit 0 -o json"))
    assert len(trials["trials"]) == 24


def _check_while_it_runs(lab: Lab) -> None:
    """The driver, killed on the head, is started again, and what is said of the sweep stays true."""
    before = _state(lab)
    driver = _wait_for(lambda: _driver(lab))
    lab.hosts.kill(HEAD, driver)
    after = _state(lab)
    assert after["status"] in ("starting", "running", "restarting")
    assert after["job"]["status"] == "RUNNING"
    assert after.get("ended", 0) >= before.get("ended", 0)
    assert _wait_for(lambda: _driver(lab)) != driver
    again = f"sweeps submit examples/digits/sweep.yaml --cluster cluster.yaml --storage {lab.shared} --name night"
    assert "runs already" in lab.type(again, expects=4)


def _driver(lab: Lab) -> int | None:
    found = [pid for pid, line in lab.hosts.processes(HEAD).items() if re.search(r"-m sweeps (run|resume) ", line)]
    return found[0] if found else None


def _state(lab: Lab) -> dict:
    return json.loads(lab.type("sweeps status night --cluster cluster.yaml -o json 2>/dev/null"))


def _wait_for(find, patience_s: float = 60.0):
    deadline = time.monotonic() + patience_s
    while not (found := find()):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    return found
