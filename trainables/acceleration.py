"""What trains a net faster at a price, switched on by a person: compiled modules, faster multiplications of matrices.

Measures nothing and decides nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from skorch import NeuralNet
from torch import nn
from torch.utils._pytree import tree_map_only


def compile_in_place(net: NeuralNet) -> None:
    """Makes a net with ``compile=True`` compile its modules as they are; call it before ``net.initialize``.

    skorch puts compiled modules into a wrapper. That changes the names of all weights, so that groups of the optimiser
    and saved weights no longer fit, and hides what a criterion is: with skorch's default, ``NLLLoss``, it then trains
    on another loss. The training begins as in a fresh process: PyTorch otherwise gives up compiling after 8 variants of
    a module, with no more than a warning, and keeps the CUDA graphs of nets that are gone.

    Parameters
    ----------
    net : skorch.NeuralNet
        Not initialized; one without ``compile=True`` is left as it is.
    """
    if net.compile:
        torch.compiler.reset()
        net.torch_compile = partial(_compiled, net)


@contextmanager
def without_compilation(net: NeuralNet) -> Iterator[None]:
    """Runs a net's compiled modules as they are written, and compiles none."""
    if not net.compile:  # to ask loads PyTorch's compiler
        yield
        return
    with torch.compiler.set_stance("force_eager"):
        yield


@contextmanager
def float32_matmuls(precision: str | None) -> Iterator[None]:
    """Multiplies float32 matrices with a precision, and with the process's own again at the end.

    Parameters
    ----------
    precision : {"highest", "high", "medium"} or None
        As ``torch.set_float32_matmul_precision`` has it; None changes nothing.
    """
    if precision is None:
        yield
        return
    outside = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(outside)


def _compiled(net: NeuralNet, module: nn.Module, name: str) -> Any:
    compiled: Any = type(net).torch_compile(net, module, name=name)  # which a class may override
    if getattr(compiled, "_orig_mod", None) is not module:
        return compiled
    module.compile(**net.get_params_for("compile"))
    if torch.device(net.device or "cpu").type == "cuda":
        # The next batch overwrites what a CUDA graph returned, and losses and predictions are kept to the epoch's end.
        module._compiled_call_impl = partial(_copied, module._compiled_call_impl)
    return module


def _copied(call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    return tree_map_only(torch.Tensor, torch.clone, call(*args, **kwargs))
