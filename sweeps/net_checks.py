"""What a sweep cannot do with a net: its device, its callbacks, its way to the workers. Trains nothing."""

from __future__ import annotations

import pickle

import cloudpickle  # type: ignore[import-untyped]  # comes without hints
from skorch import NeuralNet
from skorch.callbacks import Checkpoint, LoadInitState, LRScheduler

from search_spaces.domains import Choice, Constant
from search_spaces.space import SearchSpace
from sweeps.config import SweepConfig
from sweeps.errors import Problem
from sweeps.population import mutable_names
from sweeps.resources import all_shares


def net_problems(config: SweepConfig, net: NeuralNet, space: SearchSpace) -> list[Problem]:
    """Everything that stands between a net and a sweep over it.

    Parameters
    ----------
    config : SweepConfig
        The spec.
    net : skorch.NeuralNet
        Template.
    space : SearchSpace
        What may vary.
    """
    return [
        *_device_problems(config, net),
        *_population_problems(config, net, space),
        *_callback_problems(net),
        *_compile_problems(net, space),
        *pickle_problems("net", net),
    ]


def _device_problems(config: SweepConfig, net: NeuralNet) -> list[Problem]:
    if not str(net.device).startswith("cuda") or any(share.gpu for share in all_shares(config.resources)):
        return []
    text = (
        f"the net's device is {net.device!r}, but resources.gpu is 0, so its trials would see no GPU; give each a share"
    )
    return [Problem(text, "resources.gpu")]


def _population_problems(config: SweepConfig, net: NeuralNet, space: SearchSpace) -> list[Problem]:
    if config.scheduler.name != "pbt":
        return []
    names = mutable_names(space)
    if not names:
        text = (
            "pbt changes parameters while a net trains, and none of these can be: add lr, batch_size or optimizer__..."
        )
        return [Problem(text, "scheduler")]
    callbacks = [part[-1] if isinstance(part, (list, tuple)) else part for part in (net.callbacks or [])]
    if "lr" in names and any(isinstance(part, LRScheduler) or part is LRScheduler for part in callbacks):
        text = "pbt and the net's LRScheduler would both set lr; make lr a constant or take the callback out"
        return [Problem(text, "scheduler")]
    return []


def _callback_problems(net: NeuralNet) -> list[Problem]:
    """Callbacks that write to one place for all trials, which would load each other's weights."""
    named = [part[-1] if isinstance(part, tuple) else part for part in (net.callbacks or []) if part != "disable"]
    own = {type(part).__name__ for part in named if isinstance(part, (Checkpoint, LoadInitState))}
    if not own:
        return []
    text = (
        f"{' and '.join(sorted(own))} would use the same files in every trial; take it out: a sweep keeps each "
        "trial's checkpoints and best weights itself, and EarlyStopping(load_best=True) restores the best in a net"
    )
    return [Problem(text, "net")]


def _compile_problems(net: NeuralNet, space: SearchSpace) -> list[Problem]:
    domain = space.domains.get("compile", Constant(net.compile))
    options = [name for name in space.domains if name.startswith("compile__")]
    never = isinstance(domain, (Choice, Constant)) and not any(domain.axis())
    if not options or not never:
        return []
    return [Problem("does nothing, since compile is false; add compile: true", f"parameters.{options[0]}")]


def pickle_problems(where: str, what: object) -> list[Problem]:
    """Whether something can travel to the workers."""
    try:
        cloudpickle.dumps(what)
    except (pickle.PicklingError, TypeError, AttributeError, ValueError) as error:
        text = f"cannot travel to the workers: {error}; keep open files, locks and connections out of it"
        return [Problem(text, where)]
    return []
