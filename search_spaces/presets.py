"""Ready parameter mappings for skorch nets, to read and to copy: plain data, as a `sweep.yaml` would hold it.

They are starting points, and build no `SearchSpace`: put several together with ``{**presets.optimizer(), ...}``. What a
knob costs is said as arithmetic for float32 (4 bytes a number); what it costs on a machine is for a sweep to measure.
"""

from __future__ import annotations

from typing import Any


def batch_size() -> dict[str, Any]:
    """Vary the rows per optimisation step, from 32 to 256.

    Twice the rows take twice the memory for activations and none more for weights, and an epoch has half as many steps,
    so it takes less time until the device is busy. Half as many steps also learn less in an epoch at the same learning
    rate: search both together, and compare at equal time rather than at equal epochs.

    Returns
    -------
    dict
        ``batch_size``.
    """
    return {"batch_size": [32, 64, 128, 256]}


def epochs(most: int = 27) -> dict[str, Any]:
    """Fix the most epochs that a trial may train.

    Training time grows in proportion; memory and inference do not change. It is a constant because early stopping by
    the scheduler finds the number of epochs; 27 is 3 to the power of 3, so a reduction factor of 3 compares at epochs
    1, 3 and 9.

    Parameters
    ----------
    most : int, default 27
        Epochs.

    Returns
    -------
    dict
        ``max_epochs``.
    """
    return {"max_epochs": most}


def hidden_layers() -> dict[str, Any]:
    """Vary the hidden layers of `trainables.MLP`, from 1 to 4.

    Each layer of n nodes between others of n adds n * (n + 1) weights: 16,512 for 128 nodes, which is 64.5 KiB, and as
    many multiplications for each row. Weights, activations, training and inference time all grow in proportion.

    Returns
    -------
    dict
        ``module__layers``.
    """
    return {"module__layers": {"distribution": "int_uniform", "min": 1, "max": 4}}


def nodes_per_layer() -> dict[str, Any]:
    """Vary the nodes in each hidden layer of `trainables.MLP`, from 16 to 256 on a log scale.

    Twice the nodes make four times the weights between two hidden layers and twice those at the input and the output;
    activations double. The time of small layers goes into calls and not into arithmetic, so it hardly grows at first.

    Returns
    -------
    dict
        ``module__nodes``.
    """
    return {"module__nodes": {"distribution": "int_loguniform", "min": 16, "max": 256}}


def learning_rate() -> dict[str, Any]:
    """Vary the learning rate, from 0.0001 to 0.1 on a log scale, so that each factor of ten gets a third of the draws.

    It costs neither memory nor time in an epoch; it decides how many epochs are needed, and whether a trial diverges.

    Returns
    -------
    dict
        ``lr``.
    """
    return {"lr": {"distribution": "loguniform", "min": 1e-4, "max": 1e-1}}


def optimizer() -> dict[str, Any]:
    """Choose between SGD, with its momentum from 0 to 0.95, and Adam.

    While training, a weight and its gradient take 8 bytes. SGD with momentum keeps one more number for each weight (12
    bytes), Adam two (16 bytes). A trained net is the same size after either.

    Returns
    -------
    dict
        ``optimizer`` and, where it is SGD, ``optimizer__momentum``.
    """
    return {
        "optimizer": ["torch.optim:SGD", "torch.optim:Adam"],
        "optimizer__momentum": {
            "distribution": "uniform",
            "min": 0.0,
            "max": 0.95,
            "when": {"optimizer": "torch.optim:SGD"},
        },
    }


def mlp() -> dict[str, Any]:
    """Vary everything above at once, for a skorch net around `trainables.MLP`.

    The largest net has 256² / 16² = 256 times the weights of the smallest in a layer between hidden ones, and three
    such layers instead of none. Six parameters vary, or five with Adam; ``max_epochs`` is fixed at 27.

    Returns
    -------
    dict
        The parameters of all the other presets.
    """
    return {
        **learning_rate(),
        **batch_size(),
        **epochs(),
        **hidden_layers(),
        **nodes_per_layer(),
        **optimizer(),
    }
