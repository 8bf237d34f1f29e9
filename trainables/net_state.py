"""Weights, optimisers, generators and history of a skorch net <-> plain values; knows no epochs, callbacks or files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from skorch import NeuralNet
from skorch.history import History

from trainables.plain import NotPlainError, from_plain, to_plain


def net_state(net: NeuralNet) -> dict[str, Any]:
    """What a net has learned, between two epochs.

    Parameters
    ----------
    net : skorch.NeuralNet
        Initialized.

    Returns
    -------
    dict
        Plain values and tensors.

    Raises
    ------
    NotPlainError
        The history or a state dict holds something that cannot be stored.
    """
    return {
        "modules": {name: _module_state(part) for name, part in learning_modules(net).items()},
        "gradients": _gradients(net),
        "optimizers": {name: to_plain(part.state_dict()) for name, part in _optimizers(net).items()},
        "generators": {name: part.get_state() for name, part in _generators(net).items()},
        "history": json.dumps(list(net.history), default=_json_number),
    }


def load_net_state(net: NeuralNet, state: Mapping[str, Any], *, keep_options: bool = False) -> None:
    """Gives an initialized net what `net_state` returned.

    Parameters
    ----------
    net : skorch.NeuralNet
        Of the same modules and optimisers.
    state : mapping
        What `net_state` returned.
    keep_options : bool, default=False
        Keep the net's own optimiser options; a learning rate schedule goes on where it was, from the own rate.
    """
    modules = learning_modules(net)
    for name, module in modules.items():
        _load_module(module, state["modules"][name])
    for name, gradients in state["gradients"].items():
        parameters = dict(modules[name].named_parameters())
        for key, gradient in gradients.items():
            parameters[key].grad = gradient.to(parameters[key].device)
    for name, optimizer in _optimizers(net).items():
        saved = from_plain(state["optimizers"][name])
        optimizer.load_state_dict(_with_options_of(optimizer, saved) if keep_options else saved)
    for name, generator in _generators(net).items():
        if name in state["generators"]:
            generator.set_state(state["generators"][name])
    net.history = History(json.loads(state["history"]))


def learning_modules(net: NeuralNet) -> dict[str, torch.nn.Module]:
    """Name without the trailing underscore -> module, criteria included where they are modules."""
    parts = {name.rstrip("_"): getattr(net, name.rstrip("_") + "_") for name in [*net._modules, *net._criteria]}
    return {name: part for name, part in parts.items() if isinstance(part, torch.nn.Module)}


def _optimizers(net: NeuralNet) -> dict[str, torch.optim.Optimizer]:
    return {name.rstrip("_"): getattr(net, name.rstrip("_") + "_") for name in net._optimizers}


def _generators(net: NeuralNet) -> dict[str, torch.Generator]:
    """Those among the net's parameters (``iterator_train__generator``), or inside of them, such as a sampler's."""
    found = {name: getattr(part, "generator", part) for name, part in net.get_params(deep=False).items()}
    return {name: part for name, part in found.items() if isinstance(part, torch.Generator)}


def _module_state(module: torch.nn.Module) -> dict[str, Any]:
    frozen = [name for name, parameter in module.named_parameters() if not parameter.requires_grad]
    return {"weights": to_plain(module.state_dict()), "frozen": frozen}


def _load_module(module: torch.nn.Module, saved: Mapping[str, Any]) -> None:
    module.load_state_dict(from_plain(saved["weights"]))
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(name not in saved["frozen"])


def _gradients(net: NeuralNet) -> dict[str, dict[str, torch.Tensor]]:
    # skorch's train_step drops gradients before each batch; another one may gather them over several.
    if type(net).train_step is NeuralNet.train_step:
        return {}
    return {
        name: {key: to_plain(part.grad) for key, part in module.named_parameters() if part.grad is not None}
        for name, module in learning_modules(net).items()
    }


def _with_options_of(optimizer: torch.optim.Optimizer, saved: dict[str, Any]) -> dict[str, Any]:
    groups = zip(saved["param_groups"], optimizer.param_groups, strict=True)
    return saved | {"param_groups": [_with_options(theirs, own) for theirs, own in groups]}


def _with_options(theirs: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    options = {key: value for key, value in own.items() if key != "params"}
    share = theirs["lr"] / theirs["initial_lr"] if theirs.get("initial_lr") else 1.0
    return theirs | options | {"lr": own["lr"] * share}


def _json_number(value: Any) -> Any:
    if isinstance(value, (np.ndarray, np.generic, torch.Tensor)):
        return value.tolist()
    raise NotPlainError(
        f"the net's history holds a {type(value).__qualname__}, which cannot be stored: record numbers, strings, lists"
    )
