"""What one trial gets of a machine, and what fits. Pure arithmetic; Ray places the trials."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from search_spaces.conditions import Condition
from sweeps.config import ResourceRule, ResourcesConfig


@dataclass(frozen=True)
class Share:
    """Logical CPUs and GPUs of one trial."""

    cpu: float
    gpu: float


@dataclass(frozen=True)
class Node:
    """CPUs and GPUs of one machine."""

    cpus: float
    gpus: float


def share_of(config: ResourcesConfig, params: Mapping[str, Any]) -> Share:
    """What a trial with these params gets: the first rule that matches, else the general values."""
    for rule in config.rules:
        if Condition.from_plain(rule.when).matches(params):
            return _share(config, rule)
    return Share(config.cpu, config.gpu)


def all_shares(config: ResourcesConfig) -> list[Share]:
    """Every share that a trial of the sweep may get: the general one first, then one a rule."""
    return [Share(config.cpu, config.gpu), *(_share(config, rule) for rule in config.rules)]


def infeasible(config: ResourcesConfig, nodes: Sequence[Node]) -> list[str]:
    """Why some trials could never start on these machines; empty when all can.

    Parameters
    ----------
    config : ResourcesConfig
        What trials ask for.
    nodes : sequence of Node
        The machines.

    Returns
    -------
    list of str
        One message for each share that fits no single machine.
    """
    most_cpus = max((node.cpus for node in nodes), default=0)
    most_gpus = max((node.gpus for node in nodes), default=0)
    return [
        f"a trial asks for {share.cpu:g} CPU and {share.gpu:g} GPU, but no machine has both: the largest has "
        f"{most_cpus:g} CPU, the one with most GPUs {most_gpus:g}; lower resources.cpu or resources.gpu"
        for share in dict.fromkeys(all_shares(config))
        if not any(fits(share, node) for node in nodes)
    ]


def fits(share: Share, node: Node) -> bool:
    """Whether a machine has what a trial gets, were it free."""
    return share.cpu <= node.cpus and share.gpu <= node.gpus


def capacity(config: ResourcesConfig, nodes: Sequence[Node]) -> str:
    """How many trials of the general share run at once on these machines, and what keeps it from being more.

    Parameters
    ----------
    config : ResourcesConfig
        What trials ask for.
    nodes : sequence of Node
        The machines.
    """
    at_once, most = slots(config, nodes), sum(_on_node(config, node) for node in nodes)
    kinds = Counter(node for node in nodes if node.cpus or node.gpus)
    found = ", ".join(
        f"{count} machine{'s' * (count > 1)} with {node.cpus:g} CPU and {node.gpus:g} GPU{' each' * (count > 1)}"
        for node, count in kinds.items()
    )
    said = f"{found or 'no machine yet'}: {at_once} trial{'s' * (at_once > 1)} at once"
    if config.max_concurrent_trials is not None and config.max_concurrent_trials < most:
        return f"{said}, as resources.max_concurrent_trials says"
    without_cpus = config.model_copy(update={"cpu": 1e-9})
    by_gpu = sum(_on_node(without_cpus, node) for node in nodes) if config.gpu else 0
    if by_gpu > most:
        return f"{said}, as each takes {config.cpu:g} CPU; the GPUs would hold {by_gpu}"
    return f"{said}, as each takes {config.gpu:g} GPU" if config.gpu else said


def slots(config: ResourcesConfig, nodes: Iterable[Node]) -> int:
    """How many trials of the general share run at once.

    A share of a GPU is never spread over two: with ``gpu: 0.4`` two trials fit on each.
    """
    fitting = sum(_on_node(config, node) for node in nodes)
    return max(1, min(fitting, config.max_concurrent_trials or fitting))


def _share(config: ResourcesConfig, rule: ResourceRule) -> Share:
    return Share(config.cpu if rule.cpu is None else rule.cpu, config.gpu if rule.gpu is None else rule.gpu)


def _on_node(config: ResourcesConfig, node: Node) -> int:
    by_cpu = _times(config.cpu, node.cpus)
    if config.gpu <= 0:
        return by_cpu
    by_gpu = int(node.gpus) * _times(config.gpu, 1) if config.gpu <= 1 else _times(config.gpu, node.gpus)
    return min(by_cpu, by_gpu)


def _times(share: float, whole: float) -> int:
    return int(whole / share + 1e-9)  # 0.3 / 0.1 is a little less than 3
