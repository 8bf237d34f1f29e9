"""What one parameter may be: a constant, a choice, a range of real or of whole numbers; each a small frozen value.

Nothing here reads YAML or the objects of other libraries (see `reading`), nor loads one (see `distributions`). Sampled
values are plain Python: numbers, text, booleans, None, lists and mappings; objects appear as their labels.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from search_spaces.labels import as_plain, fresh, labelled, same_value, text_of
from search_spaces.problems import refuse
from search_spaces.ranges import (
    between,
    is_multiple,
    is_number,
    multiple,
    range_problems,
    step_between,
    step_numbers,
)

if TYPE_CHECKING:
    import numpy as np

_LONGEST_AXIS = 1000  # a grid over more whole numbers than this is a mistake, not a wish


class Domain(ABC):
    """The values that one parameter may take, and how likely each is. Every draw takes one number from the stream."""

    __slots__ = ()

    def sample(self, rng: np.random.Generator) -> Any:
        """Draw one value; advances ``rng`` by exactly one uniform number."""
        return self.at(rng.random())

    @abstractmethod
    def at(self, share: float) -> Any:
        """Give the value at a share of all draws, from 0 to below 1: the quantile function."""

    @abstractmethod
    def contains(self, value: Any) -> bool:
        """Tell whether a plain value, such as one of an earlier result, could be drawn."""

    @abstractmethod
    def plain(self) -> Any:
        """Describe the domain as JSON and YAML can hold it; `as_domain` reads an equal domain back."""

    @property
    def size(self) -> int | None:
        """How many distinct values there are; None for more than can be counted."""
        return None

    @property
    def is_grid_axis(self) -> bool:
        """Whether a grid can walk it: a choice, a constant, or at most 1000 whole numbers, not on a log scale."""
        return False

    def axis(self) -> Sequence[Any]:
        """List the distinct values in order; empty where `size` is None."""
        return ()


@dataclass(frozen=True, slots=True)
class Constant(Domain):
    """One value; an object is kept under its label, and ``objects`` takes no part in comparisons."""

    value: Any
    objects: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        (value,), objects = labelled([self.value])
        refuse(_finite_problems(objects))
        assign(self, value=value, objects={**self.objects, **objects})

    def at(self, share: float) -> Any:
        """Give the value at a share of all draws."""
        return fresh(self.value)

    def contains(self, value: Any) -> bool:
        """Tell whether a plain value could be drawn."""
        return same_value(self.value, value)

    def plain(self) -> Any:
        """Describe the domain as `as_domain` reads it."""
        return {"value": fresh(self.value)} if isinstance(self.value, (list, dict)) else self.value

    @property
    def size(self) -> int:
        """How many distinct values there are."""
        return 1

    @property
    def is_grid_axis(self) -> bool:
        """Whether a grid can walk it."""
        return True

    def axis(self) -> Sequence[Any]:
        """List the distinct values in order."""
        return (self.value,)


@dataclass(frozen=True, slots=True)
class Choice(Domain):
    """One of some values, all equally likely; ``is_grid`` marks an axis that grid and TPE search walk whole.

    Objects are kept under their labels; ``objects`` takes no part in comparisons.
    """

    values: tuple[Any, ...]
    is_grid: bool = False
    objects: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        given: Any = self.values
        if not isinstance(given, (list, tuple)):
            refuse(["values is missing" if given is None else f"values must be a list, not {given!r}"])
        values, objects = labelled(given)
        counts = Counter(map(text_of, values))
        refuse(
            [
                *([] if values else ["values is empty; give at least one"]),
                *_finite_problems(objects),
                *(f"the value {text} is listed {count} times" for text, count in counts.items() if count > 1),
            ]
        )
        assign(self, values=tuple(values), objects={**self.objects, **objects})

    def at(self, share: float) -> Any:
        """Give the value at a share of all draws."""
        return fresh(self.values[step_between(0, len(self.values) - 1, share, log=False)])

    def contains(self, value: Any) -> bool:
        """Tell whether a plain value could be drawn."""
        return any(same_value(known, value) for known in self.values)

    def plain(self) -> Any:
        """Describe the domain as `as_domain` reads it."""
        values = [fresh(value) for value in self.values]
        return {"distribution": "grid", "values": values} if self.is_grid else values

    @property
    def size(self) -> int:
        """How many distinct values there are."""
        return len(self.values)

    @property
    def is_grid_axis(self) -> bool:
        """Whether a grid can walk it."""
        return True

    def axis(self) -> Sequence[Any]:
        """List the distinct values in order."""
        return self.values


@dataclass(frozen=True, slots=True)
class Float(Domain):
    """A real number from ``low`` to ``high``, both included; with ``q`` a multiple of ``q``.

    ``log`` is uniform in the logarithm. The bounds are values in either case. Multiples are equally likely, or about
    as ``1 / k`` with ``log``.
    """

    low: float
    high: float
    log: bool = False
    q: float | None = None

    def __post_init__(self) -> None:
        make_plain(self, "low", "high", "q")
        refuse(range_problems(self.low, self.high, self.log, self.q, whole=False))
        assign(self, low=float(self.low), high=float(self.high), q=None if self.q is None else float(self.q))

    def at(self, share: float) -> float:
        """Give the value at a share of all draws."""
        if self.q is None:
            return between(self.low, self.high, share, log=self.log)
        first, last = step_numbers(self.low, self.high, self.q)
        return self._step(step_between(first, last, share, log=self.log), self.q)

    def _step(self, k: int, q: float) -> float:
        return min(max(multiple(k, q), self.low), self.high)

    def contains(self, value: Any) -> bool:
        """Tell whether a plain value could be drawn."""
        return is_number(value) and self.low <= value <= self.high and is_multiple(value, self.q)

    def plain(self) -> dict[str, Any]:
        """Describe the domain as `as_domain` reads it."""
        step = {} if self.q is None else {"q": self.q}
        kind = "q" * len(step) + ("loguniform" if self.log else "uniform")
        return {"distribution": kind, "min": self.low, "max": self.high, **step}

    @property
    def size(self) -> int | None:
        """How many distinct values there are."""
        if self.q is None:
            return 1 if self.low == self.high else None
        first, last = step_numbers(self.low, self.high, self.q)
        return last - first + 1

    def axis(self) -> Sequence[float]:
        """List the distinct values in order."""
        if self.q is None:
            return (self.low,) if self.low == self.high else ()
        first, last = step_numbers(self.low, self.high, self.q)
        return [self._step(k, self.q) for k in range(first, last + 1)]


@dataclass(frozen=True, slots=True)
class Integer(Domain):
    """A whole number from ``low`` to ``high``, both included; with ``q`` a multiple of ``q``.

    All are equally likely, or about as ``1 / value`` with ``log``.
    """

    low: int
    high: int
    log: bool = False
    q: int | None = None

    def __post_init__(self) -> None:
        make_plain(self, "low", "high", "q")
        refuse(range_problems(self.low, self.high, self.log, self.q, whole=True))
        assign(self, low=int(self.low), high=int(self.high), q=None if self.q is None else int(self.q))

    def at(self, share: float) -> int:
        """Give the value at a share of all draws."""
        axis = self.axis()
        step = axis.step
        return step_between(axis[0] // step, axis[-1] // step, share, log=self.log) * step

    def contains(self, value: Any) -> bool:
        """Tell whether a plain value could be drawn."""
        return type(value) is int and value in self.axis()

    def plain(self) -> dict[str, Any]:
        """Describe the domain as `as_domain` reads it."""
        kind = "int_loguniform" if self.log else "int_uniform"
        step = {} if self.q is None else {"q": self.q}
        return {"distribution": kind, "min": self.low, "max": self.high, **step}

    @property
    def size(self) -> int:
        """How many distinct values there are."""
        first, last = step_numbers(self.low, self.high, self.q or 1)
        return last - first + 1

    @property
    def is_grid_axis(self) -> bool:
        """Whether a grid can walk it."""
        return not self.log and self.size <= _LONGEST_AXIS

    def axis(self) -> range:
        """List the distinct values in order."""
        step = self.q or 1
        first, last = step_numbers(self.low, self.high, step)
        return range(first * step, last * step + 1, step)


def assign(domain: Domain, **fields: Any) -> None:
    """Settle fields of a frozen domain while it is made."""
    for name, value in fields.items():
        object.__setattr__(domain, name, value)


def make_plain(domain: Domain, *names: str) -> None:
    """Turn numbers of other libraries in some fields of a frozen domain into plain ones, while it is made."""
    assign(domain, **{name: as_plain(getattr(domain, name))[1] for name in names})


def _finite_problems(objects: Mapping[str, Any]) -> list[str]:
    return [f"{value!r} is not finite; give a number or null" for value in objects.values() if isinstance(value, float)]
