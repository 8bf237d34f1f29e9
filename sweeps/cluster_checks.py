"""What is wrong in a cluster.yaml, by dotted key: its form by Ray's schema, then what Ray would find out too late."""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.util import find_spec
from os.path import expanduser
from pathlib import Path
from typing import Any

from jsonschema import Draft7Validator, ValidationError  # type: ignore[import-untyped]  # published without type information

from sweeps.command_checks import START, command_problems
from sweeps.errors import InfeasibleError, Problem, did_you_mean

TOKEN_MOUNT = ".ray/auth_token"
"""End of the path at which Ray looks for the cluster's token on every machine."""
DEFAULT_MAX_WORKERS = 2
"""What Ray takes for `max_workers` where machines come from a provider."""

_PROVIDERS = ("local", "aws", "gcp", "azure", "aliyun", "vsphere", "external", "fake_multinode")
_OF_EVERY_PROVIDER = (
    "type",
    "use_internal_ips",
    "use_external_head_ip",
    "disable_node_updaters",
    "disable_launch_config_check",
    "foreground_node_launch",
    "worker_liveness_check",
)
_OF_PROVIDER = {  # what Ray reads below `provider`; its schema lets everything through there
    "local": ("head_ip", "worker_ips", "external_head_ip"),
    "aws": (
        *("region", "availability_zone", "cache_stopped_nodes"),
        *("key_pair", "security_group", "aws_credentials", "cloudwatch"),
    ),
    "gcp": ("region", "availability_zone", "project_id", "cache_stopped_nodes", "gcp_credentials"),
}
_NOT_FOR_FILES = {"no_restart"}  # in the schema, but only a flag of Ray's command may set it
_WORDS = {
    "array": "a list",
    "boolean": "true or false",
    "integer": "a whole number",
    "number": "a number",
    "object": "a mapping",
    "string": "text",
}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def cluster_problems(data: Any) -> list[Problem]:
    """Everything that is wrong with a cluster.yaml.

    Parameters
    ----------
    data
        What the file holds, as plain data.

    Returns
    -------
    list of Problem
        By dotted key, without lines. Of a section whose form is wrong, nothing else is said.
    """
    if not isinstance(data, dict):
        return [Problem("holds no mapping; give cluster_name, provider and the rest of a cluster.yaml")]
    errors = list(Draft7Validator(_schema()).iter_errors({key: data[key] for key in data if key != "min_workers"}))
    if isinstance(data.get("min_workers", 0), bool) or not isinstance(data.get("min_workers", 0), int):
        errors.append(_NoWholeNumber(data["min_workers"]))
    found = [problem for error in errors for problem in _as_problems(error)]
    broken = {str(error.absolute_path[0]) for error in errors if error.validator in ("type", "minimum") and error.path}
    sound = {key: value for key, value in data.items() if key not in broken}
    later = [problem for check in _CHECKS for problem in check(sound) if _section(problem) not in broken]
    return [*found, *later]


class _NoWholeNumber(ValidationError):  # type: ignore[misc]  # published without type information
    """What the schema would say of `min_workers`, which it does not know though Ray reads it for provider local."""

    def __init__(self, given: object) -> None:
        super().__init__("", validator="type", path=["min_workers"], instance=given, validator_value="integer")


def _section(problem: Problem) -> str:
    return problem.where.partition(".")[0]


@cache
def _schema() -> dict[str, Any]:
    found = find_spec("ray")
    if found is None or found.origin is None:
        raise InfeasibleError("Ray is not installed here; pip install 'skorch-sweeps[cluster]'")
    schema: dict[str, Any] = json.loads((Path(found.origin).parent / "autoscaler" / "ray-schema.json").read_text())
    for name in _NOT_FOR_FILES:
        schema["properties"].pop(name, None)
    return schema


def _as_problems(error: ValidationError) -> Iterator[Problem]:
    """One error of jsonschema in the words of a cluster.yaml."""
    where = ".".join(map(str, error.absolute_path))
    below = f"{where}." if where else ""
    if error.validator == "additionalProperties":
        allowed = error.schema.get("properties", {})
        for key in error.instance:
            if key not in allowed:
                yield Problem(f"unknown key; {did_you_mean(key, allowed)}", f"{below}{key}")
    elif error.validator == "required":
        key = re.findall(r"'([^']+)' is a required property", error.message)[0]
        yield Problem("required, but not given", f"{below}{key}")
    elif error.validator == "type":
        kinds = [error.validator_value] if isinstance(error.validator_value, str) else error.validator_value
        allowed = " or ".join(_WORDS.get(kind, kind) for kind in kinds)
        yield Problem(f"is {json.dumps(error.instance)[:60]}, but must be {allowed}", where)
    elif error.validator == "minimum":
        yield Problem(f"is {error.instance}, but must be at least {error.validator_value}", where)
    else:
        yield Problem(error.message, where)


def _name_problems(data: Mapping[str, Any]) -> Iterator[Problem]:
    name = data.get("cluster_name", "default")
    if not _NAME.fullmatch(name):
        yield Problem(f"{name!r} is no name for files and tags; give letters, digits, -, _ and .", "cluster_name")


def _provider_problems(data: Mapping[str, Any]) -> Iterator[Problem]:
    provider = data.get("provider")
    if not isinstance(provider, dict) or not isinstance(kind := provider.get("type"), str):
        return  # which the schema has said
    if kind not in _PROVIDERS:
        yield Problem(f"unknown provider {kind}; {did_you_mean(kind, _PROVIDERS)}", "provider.type")
        return
    allowed = (*_OF_EVERY_PROVIDER, *_OF_PROVIDER.get(kind, provider))
    for key in provider:
        if key not in allowed:
            yield Problem(f"unknown key; {did_you_mean(key, allowed)}", f"provider.{key}")
    yield from _local_problems(data, provider) if kind == "local" else _cloud_problems(data)
    for key, who in START.items():
        if key not in data:
            text = f"required; what Ray would start on the {who} by default has no token authentication"
            yield Problem(text, key)


def _local_problems(data: Mapping[str, Any], provider: Mapping[str, Any]) -> Iterator[Problem]:
    if not isinstance(provider.get("head_ip", ""), str) or not provider.get("head_ip"):
        yield Problem("required with provider local; give the address of the head", "provider.head_ip")
    ips = provider.get("worker_ips")
    if ips is None:
        yield Problem("required with provider local; give a list of addresses", "provider.worker_ips")
    elif isinstance(ips, list):
        if not all(isinstance(ip, str) for ip in ips):
            yield Problem("must be a list of addresses", "provider.worker_ips")
        elif len({*ips, provider.get("head_ip")}) != len(ips) + 1:
            yield Problem("names a host twice, or the head as a worker; name each once", "provider.worker_ips")
    if isinstance(auth := data.get("auth", {}), dict) and "ssh_user" not in auth:
        yield Problem("required with provider local; give the user who logs in on the hosts", "auth.ssh_user")
    for key in ("available_node_types", "head_node_type"):
        if key in data:
            yield Problem("not for provider local; Ray counts the CPUs and GPUs of the hosts", key)
    if data.get("docker"):
        text = "not for provider local; `down` cannot end what runs in containers there. Take it out"
        yield Problem(text, "docker")


def _cloud_problems(data: Mapping[str, Any]) -> Iterator[Problem]:
    if "min_workers" in data:
        yield Problem("Ray ignores it here; give min_workers of a node type", "min_workers")
    if "setup_commands" not in data:
        text = "required; by default Ray installs a nightly build of itself. Give [] if the image has all it takes"
        yield Problem(text, "setup_commands")
    kinds, head = data.get("available_node_types"), data.get("head_node_type")
    if kinds is None:
        yield Problem("required; say what machines there may be", "available_node_types")
    elif head is None:
        yield Problem("required with available_node_types; give the head's one of them", "head_node_type")
    elif isinstance(kinds, dict) and isinstance(head, str) and head not in kinds:
        yield Problem(f"{head} is no node type; {did_you_mean(head, kinds)}", "head_node_type")


def _node_problems(data: Mapping[str, Any]) -> Iterator[Problem]:
    n_ips = len(data.get("provider", {}).get("worker_ips", ()))
    kinds = data.get("available_node_types", {})
    most = data.get("max_workers", n_ips or DEFAULT_MAX_WORKERS)
    for name, kind in {"": data, **kinds}.items():
        where = f"available_node_types.{name}." if name else ""
        at_least, at_most = kind.get("min_workers", 0), kind.get("max_workers", most)
        for key in ("min_workers", "max_workers"):
            if kind.get(key, 0) < 0:
                yield Problem(f"is {kind[key]}, but must be at least 0", where + key)
        if at_least > at_most:
            yield Problem(f"is {at_least}, more than max_workers ({at_most}); lower it", f"{where}min_workers")
    total = sum(kind.get("min_workers", 0) for kind in kinds.values())
    if total > most:
        text = f"is {most}, but the node types' min_workers are {total} together; raise it or lower them"
        yield Problem(text, "max_workers")
    if n_ips and max(data.get("min_workers", 0), data.get("max_workers", 0)) > n_ips:
        key = "max_workers" if data.get("max_workers", 0) > n_ips else "min_workers"
        yield Problem(f"is {data[key]}, but provider.worker_ips names {n_ips}; lower it or name more", key)


def _key_problems(data: Mapping[str, Any]) -> Iterator[Problem]:
    given = data.get("auth", {}).get("ssh_private_key")
    if given is None:
        return
    path = Path(expanduser(given))  # that of Path raises where there is no such user
    if not path.is_file():
        yield Problem(f"no such file: {given}; give the private key that opens the machines", "auth.ssh_private_key")
    elif path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        yield Problem(f"ssh refuses a key that others may read; chmod 600 {given}", "auth.ssh_private_key")


def _mount_problems(data: Mapping[str, Any]) -> Iterator[Problem]:
    mounts = data.get("file_mounts", {})
    for there, here in mounts.items():
        where = f"file_mounts.{there}"
        if not isinstance(here, str):
            yield Problem("must be the path of a file or folder on this machine", where)
        elif expanduser(here).startswith("~"):
            yield Problem(f"no such user on this machine: {here.partition('/')[0]}", where)
        elif not there.endswith(TOKEN_MOUNT) and not Path(expanduser(here)).exists():
            yield Problem(f"no such file or folder on this machine: {here}", where)
    if not any(there.endswith(TOKEN_MOUNT) for there in mounts):
        text = f'lacks the cluster\'s token; add "~/{TOKEN_MOUNT}": "~/{TOKEN_MOUNT}" (`up` makes the file)'
        yield Problem(text, "file_mounts")


_CHECKS = (_name_problems, _provider_problems, _node_problems, _key_problems, command_problems, _mount_problems)
