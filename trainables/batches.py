"""Batches of rows that lie in memory as tensors, drawn as torch's DataLoader draws them; holds no data of its own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from skorch import NeuralNet
from skorch.dataset import Dataset
from torch.utils.data import DataLoader, Subset

# What a DataLoader is told that changes neither the rows of a batch nor their order when the rows are in memory.
_WITHOUT_EFFECT = {"num_workers", "pin_memory", "persistent_workers", "prefetch_factor", "pin_memory_device"}
_UNDERSTOOD = {"batch_size", "shuffle", "drop_last"} | _WITHOUT_EFFECT


class TensorBatches:
    """Whole batches of a dataset of tensors, cut by one index operation a batch instead of one a row.

    Rows, order and the use of torch's global random numbers equal those of ``DataLoader(dataset, batch_size, shuffle,
    drop_last)`` with torch 2.13 to the bit, so that a net trains alike with either.

    Parameters
    ----------
    dataset : skorch.dataset.Dataset
        Its ``X`` is a tensor or a dict of tensors of shape (n, ...), its ``y`` a tensor of shape (n, ...), all on the
        device on which the net trains.
    batch_size : int, default=1
        Rows a batch; the last one may be shorter.
    shuffle : bool, default=False
        Draw a new order each time the batches are iterated.
    drop_last : bool, default=False
        Leave out a last batch that is shorter.

    Notes
    -----
    Batches are copies, as a DataLoader's are: a module that works in place does not change the data.
    """

    def __init__(
        self, dataset: Dataset, *, batch_size: int = 1, shuffle: bool = False, drop_last: bool = False
    ) -> None:
        self.dataset = dataset
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.drop_last = drop_last

    def __len__(self) -> int:
        n_rows = len(self.dataset)
        return n_rows // self.batch_size if self.drop_last else -(-n_rows // self.batch_size)

    def __iter__(self) -> Iterator[list[Any]]:
        # A DataLoader draws a seed for its workers first, also when it has none; the order's seed comes second.
        torch.empty((), dtype=torch.int64).random_()
        order = self._shuffled_order() if self.shuffle else None
        for number in range(len(self)):
            rows = slice(number * self.batch_size, (number + 1) * self.batch_size)
            index = rows if order is None else order[rows]
            yield [_take(self.dataset.X, index), _rows_of(self.dataset.y, index)]  # a list, as a DataLoader's

    def _shuffled_order(self) -> torch.Tensor:
        seed = int(torch.empty((), dtype=torch.int64).random_().item())
        order = torch.randperm(len(self.dataset), generator=torch.Generator().manual_seed(seed))
        return order.to(self.dataset.y.device)


def make_batches(net: NeuralNet, dataset: Any, *, training: bool) -> Iterable[Any]:
    """The batches that ``net`` would draw from ``dataset``, by index operations where that is possible.

    Parameters
    ----------
    net : skorch.NeuralNet
        Initialized; its ``iterator_train`` or ``iterator_valid`` and their parameters decide.
    dataset : torch.utils.data.Dataset
        What to draw from.
    training : bool
        Whether the batches are for training.

    Returns
    -------
    iterable
        `TensorBatches` for a dataset of tensors and a plain DataLoader; otherwise what ``net.get_iterator`` returns.
    """
    prefix = "iterator_train" if training else "iterator_valid"
    options = net.get_params_for(prefix)
    options.setdefault("batch_size", net.batch_size)
    if options["batch_size"] == -1:
        options["batch_size"] = len(dataset)
    if not (_holds_tensors(dataset) and _is_plain(net, prefix) and _are_understood(options)):
        iterator: Iterable[Any] = net.get_iterator(dataset, training=training)
        return iterator
    return TensorBatches(dataset, **{key: value for key, value in options.items() if key not in _WITHOUT_EFFECT})


def first_batch(net: NeuralNet, dataset: Any, n_rows: int) -> Any:
    """The first rows of a dataset as the net validates them, put together by its own ``collate_fn`` or iterator.

    Parameters
    ----------
    net : skorch.NeuralNet
        Initialized.
    dataset : torch.utils.data.Dataset
        What to draw from.
    n_rows : int
        Rows wanted. Fewer where the dataset is shorter, or the net validates in smaller batches of its own making.

    Returns
    -------
    object
        A batch, usually ``[X, y]``, which a module may change in place.
    """
    batches = make_batches(net, dataset, training=False)
    if isinstance(batches, TensorBatches):
        return [_take(dataset.X, slice(n_rows)), _rows_of(dataset.y, slice(n_rows))]
    if isinstance(batches, DataLoader) and batches.batch_sampler is not None:
        # Without iterating it: neither workers are started nor the numbers of its generator or sampler drawn.
        rows = range(min(n_rows, batches.batch_size or max(1, net.batch_size), len(dataset)))
        return batches.collate_fn([dataset[row] for row in rows])
    first = Subset(dataset, range(min(n_rows, len(dataset))))
    return next(iter(net.get_iterator(first, training=False)))


def _holds_tensors(dataset: Any) -> bool:
    if type(dataset) is not Dataset or not isinstance(dataset.y, torch.Tensor):
        return False
    parts = dataset.X.values() if isinstance(dataset.X, dict) else [dataset.X]
    return all(isinstance(part, torch.Tensor) for part in parts)


def _is_plain(net: NeuralNet, prefix: str) -> bool:
    return getattr(net, prefix) is DataLoader and type(net).get_iterator is NeuralNet.get_iterator


def _are_understood(options: Mapping[str, Any]) -> bool:
    # A batch size that is none is left to the DataLoader, which says what is wrong with it.
    batch_size = options["batch_size"]
    return options.keys() <= _UNDERSTOOD and type(batch_size) is int and batch_size > 0


def _take(X: Any, index: Any) -> Any:
    return {key: _rows_of(part, index) for key, part in X.items()} if isinstance(X, dict) else _rows_of(X, index)


def _rows_of(tensor: torch.Tensor, index: slice | torch.Tensor) -> torch.Tensor:
    # Like tensor[index], at half the cost for small batches.
    return tensor[index].clone() if isinstance(index, slice) else tensor.index_select(0, index)
