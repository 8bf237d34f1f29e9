"""The files that describe clusters, as far as they can be held to account without one."""

from __future__ import annotations

import json
import os
import re
import subprocess
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

from sweeps.origin import Origin, folder_origin
from sweeps.starter import Template, cluster_text

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(__file__).parent / "data"
INDEX = Origin("'skorch-sweeps[cluster]==0.1.0' 'ray[default]==2.60.0'")
LAUNCHED = (Template.CLUSTER_AWS, Template.CLUSTER_GCP, Template.CLUSTER_LOCAL)
COMMANDS = (
    "initialization_commands",
    "setup_commands",
    "head_setup_commands",
    "worker_setup_commands",
    "head_start_ray_commands",
    "worker_start_ray_commands",
)
TEXTS = {
    "cluster.yaml": (ROOT / "cluster.yaml").read_text(),
    **{f"{template} of a folder": cluster_text(template, folder_origin(ROOT), "3.12") for template in LAUNCHED},
    **{f"{template} of an index": cluster_text(template, INDEX, "3.12") for template in LAUNCHED},
}
every_cluster = pytest.mark.parametrize("name", TEXTS)


@pytest.fixture
def rayjob():
    return yaml.safe_load(cluster_text(Template.KUBERAY, folder_origin(ROOT), "3.12"))


@pytest.fixture
def node(tmp_path):
    """The home of a node, whose `ray`, `python` and `uv` only note that they were called."""
    programs = tmp_path / "sweeps-venv" / "bin"
    programs.mkdir(parents=True)
    for folder in (".ray", ".local/bin", "skorch-sweeps"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / ".ray" / "auth_token").touch(0o644)
    for name in ("pyproject.toml", "constraints.txt"):
        (tmp_path / "skorch-sweeps" / name).write_text((ROOT / name).read_text())
    for program in (programs / "ray", programs / "python", tmp_path / ".local/bin/uv"):
        program.write_text('#!/bin/bash\necho "$(basename "$0") $*" >> ~/calls\nenv > ~/environment\n')
        program.chmod(0o755)
    return tmp_path


def run_on(home: Path, commands: list[str]) -> list[str]:
    """Runs commands as Ray's launcher does; returns the calls so far."""
    for command in commands:
        script = f"source ~/.bashrc 2>/dev/null; export OMP_NUM_THREADS=1 PYTHONWARNINGS=ignore && ({command})"
        env = {"HOME": str(home), "PATH": os.environ["PATH"], "RAY_HEAD_IP": "192.0.2.10"}
        subprocess.run(["bash", "-c", script], env=env, check=True, cwd=home)
    return (home / "calls").read_text().splitlines()


def cluster(name: str) -> dict:
    return yaml.safe_load(TEXTS[name])


def environment(home: Path) -> dict[str, str]:
    return dict(line.split("=", 1) for line in (home / "environment").read_text().splitlines() if "=" in line)


def test_the_cluster_of_this_project_is_the_template_for_this_folder():
    text = cluster_text(Template.CLUSTER_AWS, folder_origin(Path(os.path.relpath(ROOT))), "3.11")
    local = os.path.relpath(ROOT) + "/"
    assert TEXTS["cluster.yaml"] == text.replace(f'"{local}', '"'), "write cluster.yaml anew from its template"


@pytest.mark.parametrize("name", [*TEXTS, "kuberay"])
def test_no_mark_is_left(name):
    text = TEXTS.get(name) or cluster_text(Template.KUBERAY, INDEX, "3.12")
    assert not re.search(r"__[A-Z]+__", text)


@every_cluster
def test_ray_accepts_a_cluster(name):
    config = prepare_config(cluster(name))
    validate_config(config)
    assert config["head_start_ray_commands"] == cluster(name)["head_start_ray_commands"]


@every_cluster
def test_commands_are_valid_shell(name):
    commands = [command for key in COMMANDS for command in cluster(name)[key]]
    assert len(commands) >= 7
    for command in commands:
        done = subprocess.run(["bash", "-n", "-c", command], capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, ""), command


@every_cluster
def test_files_to_copy_exist_beside_the_token(name):
    mounts = dict(cluster(name)["file_mounts"])
    assert mounts.pop("~/.ray/auth_token") == "~/.ray/auth_token"
    assert [local for local in mounts.values() if not (ROOT / local).exists()] == []
    assert bool(mounts) == (" of an index" not in name)


@every_cluster
def test_a_node_installs_once_and_again_when_a_version_changes(name, node):
    def installed() -> list[str]:
        return [call for call in run_on(node, cluster(name)["setup_commands"]) if "pip install" in call]

    assert len(installed()) == 1
    [call] = installed()
    assert (node / ".ray" / "auth_token").stat().st_mode & 0o777 == 0o600
    assert (node / ".bashrc").read_text().count("sweeps-venv") == 1
    if "of an index" in name:
        assert call == "python -m pip install skorch-sweeps[cluster]==0.1.0 ray[default]==2.60.0"
        return
    source = node / "skorch-sweeps"
    assert call == f"python -m pip install -c {source}/constraints.txt -e {source}[cluster]"
    (source / "constraints.txt").write_text("torch==3.0.0\n")
    assert len(installed()) == 2


@every_cluster
def test_the_environment_is_made_where_there_is_none(name, node):
    (node / "sweeps-venv" / "bin" / "python").unlink()
    if name.startswith("cluster-local"):
        command = cluster(name)["setup_commands"][1]
        assert "python3.12 -m venv ~/sweeps-venv" in command
        return
    wanted = "3.11" if name == "cluster.yaml" else "3.12"
    commands = cluster(name)["setup_commands"][:3]
    assert run_on(node, commands)[-1] == f"uv venv --seed --python {wanted} {node}/sweeps-venv"


@every_cluster
@pytest.mark.parametrize("role", ["head", "worker"])
def test_ray_starts_with_a_token_and_with_this_environment_first(name, role, node):
    calls = run_on(node, cluster(name)[f"{role}_start_ray_commands"])
    assert calls[0] == "ray stop"
    assert len(calls) == 2
    found = environment(node)
    assert found["PATH"].split(":")[0] == f"{node}/sweeps-venv/bin"
    assert found["RAY_AUTH_MODE"] == "token"
    assert found["RAY_USAGE_STATS_ENABLED"] == "0"
    assert found["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] == "1"
    assert not {"OMP_NUM_THREADS", "PYTHONWARNINGS"} & set(found)


@every_cluster
def test_the_head_shows_itself_to_no_other_machine_and_knows_a_lost_one_within_25_s(name, node):
    call = run_on(node, cluster(name)["head_start_ray_commands"])[-1].split()
    assert {"--head", "--port=6379", "--autoscaling-config=~/ray_bootstrap_config.yaml"} <= set(call)
    assert [word for word in call if "host" in word] == ["--dashboard-host=127.0.0.1"]
    ms = {
        key.removeprefix("RAY_health_check_"): int(value) for key, value in environment(node).items() if "check" in key
    }
    per_try = ms["period_ms"] + ms["timeout_ms"]
    assert per_try * ms["failure_threshold"] <= 25_000
    assert ms["initial_delay_ms"] <= 5_000


@every_cluster
def test_a_worker_joins_the_head(name, node):
    assert run_on(node, cluster(name)["worker_start_ray_commands"])[-1] == "ray start --address=192.0.2.10:6379"


@every_cluster
def test_no_port_is_opened_beside_what_ray_opens_itself(name):
    assert "IpPermissions" not in cluster(name)["provider"].get("security_group", {})
    assert "0.0.0.0" not in TEXTS[name]


@pytest.mark.parametrize("name", [name for name in TEXTS if "cluster-local" not in name])
def test_trials_run_on_machines_that_come_and_go_and_never_on_the_head(name):
    config = cluster(name)
    types = config["available_node_types"]
    head = types.pop(config["head_node_type"])
    assert head["resources"] == {"CPU": 0, "GPU": 0}
    assert len([one for one in types.values() if "spot" in yaml.safe_dump(one).lower()]) == 1
    assert all(one["resources"]["GPU"] > 1 and one["min_workers"] < one["max_workers"] for one in types.values())
    assert config["max_workers"] <= sum(one["max_workers"] for one in types.values())
    assert config["idle_timeout_minutes"] > 0


def test_the_lab_runs_no_trial_on_its_head(node):
    commands = cluster("cluster-local of a folder")["head_start_ray_commands"]
    assert {"--num-cpus=0", "--num-gpus=0"} <= set(run_on(node, commands)[-1].split())


def test_the_constraints_are_the_versions_of_this_installation():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    wanted = dict(line.split("==") for line in lines if not line.startswith("#"))
    for name in ("ray", "torch", "skorch", "hyperopt", "pyarrow", "scikit-learn"):
        assert wanted[name] == version(name).partition("+")[0]


def test_every_field_of_the_rayjob_is_known_to_its_operator(rayjob):
    fields = json.loads((DATA / "rayjob_fields.json").read_text())["fields"]
    assert list(wrong_fields(rayjob, fields)) == []
    rayjob["spec"]["rayClusterSpec"]["workerGroupSpecs"][0]["maxReplica"] = 4
    rayjob["spec"]["backoffLimit"] = "2"
    assert sorted(wrong_fields(rayjob, fields)) == [
        "spec.backoffLimit: str, not integer",
        "spec.rayClusterSpec.workerGroupSpecs[].maxReplica: unknown",
    ]


def wrong_fields(value: object, fields: dict[str, str], path: str = ""):
    """Names fields of a manifest that the operator would drop or refuse."""
    types = {"object": dict, "array": list, "string": str, "boolean": bool, "integer": int, "int-or-string": (int, str)}
    kind = fields.get(path, "object" if not path else None)
    if kind is None:
        yield f"{path}: unknown"
    elif not isinstance(value, types[kind]) or (kind != "boolean" and isinstance(value, bool)):
        yield f"{path}: {type(value).__name__}, not {kind}"
    elif isinstance(value, list):
        for item in value:
            yield from wrong_fields(item, fields, f"{path}[]")
    elif isinstance(value, dict) and path != "metadata":
        for key, item in value.items():
            below = f"{path}.{key}".lstrip(".")
            yield from wrong_fields(item, fields, f"{path}.*" if f"{path}.*" in fields else below)


def test_the_rayjob_runs_the_installed_version_with_a_token_everywhere(rayjob):
    spec = rayjob["spec"]["rayClusterSpec"]
    assert spec["rayVersion"] == version("ray")
    assert spec["authOptions"] == {"mode": "token"}
    groups = [spec["headGroupSpec"], *spec["workerGroupSpecs"]]
    for group in groups:
        [container] = group["template"]["spec"]["containers"]
        env = {one["name"]: one["value"] for one in container["env"]}
        assert env["RAY_AUTH_MODE"] == "token"
        assert env["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] == "1"
        assert container["image"].endswith(f":{version('skorch-sweeps')}")
        mounted = {one["name"] for one in container["volumeMounts"]}
        assert mounted == {one["name"] for one in group["template"]["spec"]["volumes"]} == {"sweeps", "shm"}


def test_the_rayjob_says_what_its_autoscaler_may_add(rayjob):
    spec = rayjob["spec"]["rayClusterSpec"]
    [group] = spec["workerGroupSpecs"]
    limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
    env = {one["name"]: one["value"] for one in spec["headGroupSpec"]["template"]["spec"]["containers"][0]["env"]}
    [kind] = json.loads(env["SWEEPS_NODE_TYPES"])
    assert kind == {"cpus": int(limits["cpu"]), "gpus": int(limits["nvidia.com/gpu"]), "count": group["maxReplicas"]}
    assert spec["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    assert spec["enableInTreeAutoscaling"] is True
    assert group["minReplicas"] < group["maxReplicas"]


def test_the_image_of_the_rayjob_installs_what_is_installed_here():
    text = cluster_text(Template.KUBERAY, INDEX, "3.12")
    assert f"#   FROM rayproject/ray:{version('ray')}-py312-gpu\n#   RUN pip install {INDEX.arguments}\n" in text
    text = cluster_text(Template.KUBERAY, folder_origin(ROOT), "3.12")
    assert "#   COPY --chown=ray sweeps /home/ray/skorch-sweeps/sweeps\n" in text
    assert '#   RUN pip install -c ~/skorch-sweeps/constraints.txt "$HOME/skorch-sweeps[cluster]"\n' in text
