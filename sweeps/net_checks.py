"""What a sweep cannot do with a net: its device, its callbacks, its way to the workers. Trains nothing."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Mapping
from typing import Any

import cloudpickle  # type: ignore[import-untyped]  # comes without hints
import numpy as np
import torch
from sklearn.base import clone
from skorch import NeuralNet
from skorch.callbacks import Checkpoint, LoadInitState, LRScheduler

from search_spaces.domains import Choice, Constant
from search_spaces.space import SearchSpace
from sweeps.config import SweepConfig
from sweeps.errors import Problem
from sweeps.population import mutable_names
from sweeps.probe import Attempt
from sweeps.resources import all_shares, share_of
from trainables.net_state import learning_modules
from trainables.randomness import OwnRandomness
from trainables.trial import resolve_params

# Configs that are drawn to see which shares there are; a rare one that none of them has is refused in its trial.
_DRAWS = 200
_PARALLEL = """a module in torch.nn.DataParallel, which splits each batch among them:
    def parallel(**sizes): return torch.nn.DataParallel(MyModule(**sizes))
    net = NeuralNetClassifier(parallel, device="cuda", ...)
or write resources.gpu: 1, for more trials at once"""


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
        *_device_problems(config, net, space),
        *_several_problems(config, net, space),
        *_population_problems(config, net, space),
        *_callback_problems(net),
        *_compile_problems(net, space),
        *pickle_problems("net", net),
    ]


def _device_problems(config: SweepConfig, net: NeuralNet, space: SearchSpace) -> list[Problem]:
    """Nets on GPUs that their trials would not see."""
    varied = space.domains.get("device")
    devices = varied.axis() if isinstance(varied, (Choice, Constant)) else [net.device]
    on_gpu = [str(device) for device in devices if str(device).startswith("cuda")]
    shares = [share_of(config.resources, params).gpu for params in _drawn(config, space) if _on_gpu(net, params)]
    if on_gpu and not all(shares):
        some = "some of its trials" if any(shares) else "its trials"
        given = (
            "resources.gpu is 0" if not any(shares) else "not every rule of resources.rules and resources.gpu is one"
        )
        text = f"the net's device is {on_gpu[0]!r}, but {given}, so {some} would see no GPU; give each a share"
        return [Problem(text, "resources.gpu")]
    if wrong := [name for name in on_gpu if varied is not None and name not in ("cuda", "cuda:0")]:
        text = f"{wrong[0]!r} is no device of a trial, which sees its own GPU alone, as 'cuda'; write 'cuda'"
        return [Problem(text, "parameters.device")]
    return []


def _on_gpu(net: NeuralNet, params: Mapping[str, Any]) -> bool:
    return str(params.get("device", net.device)).startswith("cuda")


def _several_problems(config: SweepConfig, net: NeuralNet, space: SearchSpace) -> list[Problem]:
    """Nets that would train on one of their GPUs and leave the others idle."""
    if all(share.gpu < 2 for share in all_shares(config.resources)):
        return []
    name = type(net).__qualname__
    if any(kind.__name__ == "AccelerateMixin" for kind in type(net).__mro__):
        text = f"{name} uses several GPUs through AccelerateMixin, which needs a process for each, and a trial is one"
        return [Problem(f"{text}; take {_PARALLEL}", "resources.gpu")]
    several = {str(params.get("module")): params for params in _drawn(config, space) if _gpus(config, params) >= 2}
    problems = []
    for params in several.values():
        made = _initialized(net, params, space, config.seed)
        if made is not None and not _is_parallel(made):
            text = f"its trials get {_gpus(config, params):g} GPUs, but the net would train on the first alone"
            problems.append(Problem(f"{text}; take {_PARALLEL}", "resources.gpu"))
        elif made is not None and not _on_gpu(net, params):
            text = f"the net's device is {str(net.device)!r}, but DataParallel has the weights on its first GPU"
            problems.append(
                Problem(f"{text}; give the net device='cuda', which a machine without one reads as 'cpu'", "net")
            )
    return problems[:1]


def _gpus(config: SweepConfig, params: Mapping[str, Any]) -> float:
    return share_of(config.resources, params).gpu


def _drawn(config: SweepConfig, space: SearchSpace) -> Iterator[dict[str, Any]]:
    rng = np.random.default_rng(config.seed)
    return (space.sample(rng) for _ in range(_DRAWS))


def _initialized(net: NeuralNet, params: Mapping[str, Any], space: SearchSpace, seed: int) -> NeuralNet | None:
    """The net as a trial would make it, but on the CPU; None where that fails, which others then tell."""
    with Attempt(), OwnRandomness(seed).in_use():
        given = {**resolve_params(params, space.objects()), "device": "cpu", "verbose": 0}
        made = clone(net).set_params(**given)
        return made.initialize()
    return None


def _is_parallel(net: NeuralNet) -> bool:
    parts = (part for module in learning_modules(net).values() for part in module.modules())
    return any(isinstance(part, torch.nn.DataParallel) for part in parts)


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
