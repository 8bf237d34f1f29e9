"""The rows of a TrialData as datasets on a net's device, made once and shared by the trials of a process."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from skorch import NeuralNet
from skorch.dataset import Dataset
from torch.utils.data import Subset

from trainables.data import TrialData


class TensorData:
    """Hands out the training and validation rows of a split.

    Parameters
    ----------
    data : TrialData
        Arrays become tensors on the device of the first net that asks; a torch dataset is only indexed.
    """

    def __init__(self, data: TrialData) -> None:
        self.source = data
        self._made: dict[tuple[int | None, str], tuple[Any, Any]] = {}

    def datasets(self, net: NeuralNet, split: int | None) -> tuple[Any, Any]:
        """The two datasets of a split.

        Parameters
        ----------
        net : skorch.NeuralNet
            Its ``device`` says where tensors lie; one that makes its datasets in its own way (``dataset``,
        ``dataset__...``, ``get_dataset``) gets arrays instead.
        split : int or None
            Index into ``data.splits``; None for all rows to train on and none to validate.

        Returns
        -------
        tuple of dataset and (dataset or None)
        """
        if split is None:
            return self._rows(net, None), None
        if not _takes_tensors(net):
            parts = self.source.splits[split]
            return self._rows(net, parts.train), self._rows(net, parts.valid)
        key = (split, str(net.device))
        if key not in self._made:
            parts = self.source.splits[split]
            self._made[key] = (self._rows(net, parts.train), self._rows(net, parts.valid))
        return self._made[key]

    def _rows(self, net: NeuralNet, index: np.ndarray[Any, Any] | None) -> Any:
        X, y = self.source.X, self.source.y
        if isinstance(X, torch.utils.data.Dataset):
            return net.get_dataset(X if index is None else Subset(X, index.tolist()))
        X = {key: _select(part, index) for key, part in X.items()} if isinstance(X, dict) else _select(X, index)
        y = None if y is None else _select(y, index)
        if y is None or not _takes_tensors(net):
            return net.get_dataset(X, y)
        device = net.device
        tensors = {k: _tensor(part, device) for k, part in X.items()} if isinstance(X, dict) else _tensor(X, device)
        return Dataset(tensors, _tensor(y, device))


def _takes_tensors(net: NeuralNet) -> bool:
    is_usual = net.dataset is Dataset and type(net).get_dataset is NeuralNet.get_dataset
    return is_usual and not net.get_params_for("dataset")


def _select(array: np.ndarray[Any, Any], index: np.ndarray[Any, Any] | None) -> np.ndarray[Any, Any]:
    return array if index is None else array[index]


def _tensor(array: np.ndarray[Any, Any], device: Any) -> torch.Tensor:
    # Arrays out of an object store are read-only, which torch cannot express: such an array is copied once.
    return torch.from_numpy(array if array.flags.writeable else array.copy()).to(device or "cpu")
