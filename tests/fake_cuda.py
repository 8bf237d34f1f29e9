"""A CUDA that is none: torch.cuda answers as if there were cards, whose memory all processes share through a file.

It stands at the border to CUDA alone. Tensors "on" a card lie in the machine's memory; what is created on a card or
moved to it counts in bytes, what is computed from that does not. As the real one it reads CUDA_VISIBLE_DEVICES once.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode

MEMORY = "FAKE_CUDA_MEMORY"
"""Environment variable: the file that says which process holds how much of which card. Asks for the fake."""

MIB = 2**20
CARDS = 2
TOTAL_BYTES = 1024 * MIB
CONTEXT_BYTES = 4 * MIB
_BLOCK_BYTES = 2 * MIB
_NAME = "a card that is none"


class SharedMemory:
    """Which process holds how many bytes of which card; of processes that are gone nothing counts."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def used(self, card: int, but: int | None = None) -> int:
        """Bytes that are held of a card, but for those of one process."""
        with self._held() as held:
            return sum(size for pid, size in held.get(str(card), {}).items() if pid != str(but))

    def hold(self, card: int, size: int) -> bool:
        """Makes ``size`` bytes what this process holds; False, and nothing changes, where the card has not so much."""
        with self._held() as held:
            own = held.setdefault(str(card), {})
            others = sum(other for pid, other in own.items() if pid != str(os.getpid()))
            if others + size > TOTAL_BYTES:
                return False
            own[str(os.getpid())] = size
            return True

    @contextmanager
    def _held(self) -> Iterator[dict[str, dict[str, int]]]:
        with self._path.open("a+", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            held = json.loads(file.read() or "{}")
            held = {card: {pid: size for pid, size in of.items() if _lives(pid)} for card, of in held.items()}
            yield held
            file.truncate(0)
            file.write(json.dumps(held))


@dataclass
class Allocator:
    """What torch's allocator does with the first card that a process sees.

    Attributes
    ----------
    memory : SharedMemory
        Of all cards.
    """

    memory: SharedMemory
    fraction: float = 1.0
    reserved: int = 0
    peak_reserved: int = 0
    peak_allocated: int = 0
    is_initialized: bool = False
    _seen: list[int] | None = None
    _blocks: list[tuple[StorageWeakRef, int]] = field(default_factory=list)

    def seen(self) -> list[int]:
        """The cards that this process sees, in its own order; decided when it first asks."""
        if self._seen is None:
            given = os.environ.get("CUDA_VISIBLE_DEVICES")
            self._seen = list(range(CARDS)) if given is None else [int(part) for part in given.split(",") if part]
        return self._seen

    def card(self) -> int:
        """Number of the first one among all cards."""
        if not self.seen():
            raise RuntimeError("No CUDA GPUs are available")
        return self.seen()[0]

    def init(self) -> None:
        """Makes the process's context, if it has none."""
        if not self.is_initialized:
            self.memory.hold(self.card(), CONTEXT_BYTES)
            self.is_initialized = True

    def allocated(self) -> int:
        """Bytes of the tensors that live."""
        self._blocks = [block for block in self._blocks if not block[0].expired()]
        return sum(size for _, size in self._blocks)

    def take(self, tensor: torch.Tensor) -> None:
        """Counts a new tensor, or raises torch's error that there is no room."""
        self.init()
        storage = tensor.untyped_storage()
        needed = self.allocated() + storage.nbytes()
        if needed > self.reserved:
            self._reserve(-(-needed // _BLOCK_BYTES) * _BLOCK_BYTES, storage.nbytes())
        self._blocks.append((StorageWeakRef(storage), storage.nbytes()))
        self.peak_allocated = max(self.peak_allocated, needed)

    def empty_cache(self) -> None:
        """Gives back what no tensor holds."""
        if self.is_initialized:
            self.reserved = -(-self.allocated() // _BLOCK_BYTES) * _BLOCK_BYTES
            self.memory.hold(self.card(), CONTEXT_BYTES + self.reserved)

    def reset_peaks(self) -> None:
        """Begins new peaks at what is in use."""
        self.peak_allocated, self.peak_reserved = self.allocated(), self.reserved

    def _reserve(self, size: int, wanted: int) -> None:
        within = size <= self.fraction * TOTAL_BYTES
        if not within or not self.memory.hold(self.card(), CONTEXT_BYTES + size):
            raise torch.OutOfMemoryError(f"CUDA out of memory. Tried to allocate {wanted / MIB:.2f} MiB. GPU 0 is none")
        self.reserved = size
        self.peak_reserved = max(self.peak_reserved, size)


class OnCards(TorchFunctionMode):
    """Creates on the CPU, or moves to it, what is asked for on a card, and counts it."""

    def __init__(self, allocator: Allocator) -> None:
        super().__init__()
        self._allocator = allocator

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        on_card = any(_is_cuda(value) for value in (*args[1:], kwargs.get("device")))
        if not on_card or func is torch._C._nn._parse_to:
            return func(*args, **kwargs)
        args = (*args[:1], *(_on_cpu(value) for value in args[1:]))
        kwargs = {name: _on_cpu(value) for name, value in kwargs.items()}
        moved = func is torch.Tensor.to and not self._is_there(args[0])
        made = func(*args, **({**kwargs, "copy": True} if moved else kwargs))
        if moved or func is not torch.Tensor.to:
            self._allocator.take(made)
        return made

    def _is_there(self, tensor: torch.Tensor) -> bool:
        data = tensor.untyped_storage()._cdata
        return any(not ref.expired() and ref.cdata == data for ref, _ in self._allocator._blocks)


class _Generators(type):
    """Makes a generator of a card one of the CPU, which is what `isinstance` then takes for one."""

    def __call__(cls, device: Any = "cpu") -> Any:
        return _Generator(device=_on_cpu(torch.device(device)))

    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, _Generator)


_Generator = torch.Generator


class Generator(metaclass=_Generators):
    """Stands for torch.Generator."""


@contextmanager
def installed(memory: Path) -> Iterator[Allocator]:
    """Puts the fake in the place of CUDA in this process and, through the environment, in those that it starts.

    Parameters
    ----------
    memory : Path
        The file of all cards' memory.
    """
    allocator = Allocator(SharedMemory(memory))
    with ExitStack() as stack:
        stack.enter_context(mock.patch.dict(os.environ, {MEMORY: str(memory)}))
        stack.enter_context(mock.patch.multiple(torch.cuda, **_functions(allocator)))
        stack.enter_context(mock.patch.object(torch, "Generator", Generator))
        stack.enter_context(OnCards(allocator))
        yield allocator


def install_if_asked() -> None:
    """Installs the fake for the rest of a worker's life, where the environment asks for it and none is there yet."""
    if MEMORY in os.environ and torch.Generator is _Generator:
        _FOR_EVER.enter_context(installed(Path(os.environ[MEMORY])))


_FOR_EVER = ExitStack()


def _functions(allocator: Allocator) -> dict[str, Any]:
    streams = {"state": _Generator().manual_seed(0).get_state()}
    return {
        "is_available": lambda: bool(allocator.seen()),
        "device_count": lambda: len(allocator.seen()),
        "is_initialized": lambda: allocator.is_initialized,
        "init": allocator.init,
        "current_device": lambda: 0,
        "synchronize": lambda device=None: None,
        "manual_seed": lambda seed: None,
        "manual_seed_all": lambda seed: None,
        "get_rng_state": lambda device=None: streams["state"],
        "set_rng_state": lambda state, device=None: streams.update(state=state),
        "get_device_name": lambda device=None: _NAME,
        "get_device_properties": lambda device=None: SimpleNamespace(name=_NAME, total_memory=TOTAL_BYTES),
        "mem_get_info": lambda device=None: (TOTAL_BYTES - allocator.memory.used(allocator.card()), TOTAL_BYTES),
        "set_per_process_memory_fraction": lambda fraction, device=None: setattr(allocator, "fraction", fraction),
        "empty_cache": allocator.empty_cache,
        "reset_peak_memory_stats": lambda device=None: allocator.reset_peaks(),
        "memory_allocated": lambda device=None: allocator.allocated(),
        "memory_reserved": lambda device=None: allocator.reserved,
        "max_memory_allocated": lambda device=None: allocator.peak_allocated,
        "max_memory_reserved": lambda device=None: allocator.peak_reserved,
    }


def _is_cuda(value: Any) -> bool:
    return (isinstance(value, str) and value.startswith("cuda")) or (
        isinstance(value, torch.device) and value.type == "cuda"
    )


def _on_cpu(value: Any) -> Any:
    return torch.device("cpu") if _is_cuda(value) else value


def _lives(pid: str) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
