"""Bounds, steps and the checks on them: the arithmetic that numeric domains share. Knows no domain."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Any

# Beyond these a float no longer tells neighbouring whole numbers apart, and an integer no longer fits into 64 bits.
_MOST_STEPS = 2**53
_MOST_INTEGER = 2**63 - 1


def is_number(value: Any) -> bool:
    """Tell whether a value is a finite number; a boolean is none.

    Parameters
    ----------
    value : Any
        A plain value.

    Returns
    -------
    bool
        Whether it is an ``int`` or a ``float`` that a finite ``float`` can hold.
    """
    return type(value) in (int, float) and abs(value) <= sys.float_info.max  # false for nan


def number_problems(values: Iterable[tuple[str, Any]]) -> list[str]:
    """Say which values are missing or no usable numbers.

    Parameters
    ----------
    values : iterable of (str, Any)
        Key and what was given for it; None counts as missing.

    Returns
    -------
    list of str
        One message for each unusable value.
    """
    return [problem for key, value in values for problem in _number_problem(key, value)]


def _number_problem(key: str, value: Any) -> Iterator[str]:
    if value is None:
        yield f"{key} is missing"
    elif isinstance(value, bool) or not isinstance(value, (int, float)):
        yield f"{key} must be a number, not {value!r}"
    elif not is_number(value):
        yield f"{key} must be finite, not {value!r}"


def range_problems(low: Any, high: Any, log: bool, q: Any, *, whole: bool) -> list[str]:
    """Say what is wrong with bounds and step.

    Parameters
    ----------
    low, high : Any
        The bounds, both inclusive; None counts as missing.
    log : bool
        Whether the scale is logarithmic.
    q : Any
        The step, or None.
    whole : bool
        Whether all three must be whole numbers.

    Returns
    -------
    list of str
        One message for each problem, in the words of a YAML file.
    """
    given = [("min", low), ("max", high), *([] if q is None else [("q", q)])]
    numbers = {key: value for key, value in given if is_number(value)}
    problems = number_problems(given)
    if whole:
        problems += [
            f"{key} must be a whole number that fits into 64 bits, not {value!r}"
            for key, value in numbers.items()
            if value != math.floor(value) or abs(value) > _MOST_INTEGER
        ]
    if log and numbers.get("min", 1) <= 0:
        problems.append(f"min must be greater than 0 on a log scale, not {low!r}; bounds are values, not exponents")
    if numbers.get("min", -math.inf) > numbers.get("max", math.inf):
        problems.append(f"min {low!r} is greater than max {high!r}; swap them")
    if numbers.get("q", 1) <= 0:
        problems.append(f"q must be greater than 0, not {q!r}")
    return problems or ([] if q is None else _step_problems(low, high, q, whole=whole))


def _step_problems(low: float, high: float, q: float, *, whole: bool) -> list[str]:
    if not whole and max(abs(low), abs(high)) / q >= _MOST_STEPS:
        return [f"q {q!r} is too small for bounds {low!r} and {high!r}; leave it out"]
    first, last = step_numbers(low, high, q)
    return [] if first <= last else [f"no multiple of q {q!r} lies between min {low!r} and max {high!r}"]


def step_numbers(low: float, high: float, q: float) -> tuple[int, int]:
    """Find the multiples of a step within bounds.

    Parameters
    ----------
    low, high : float
        The bounds, both inclusive. One that misses a multiple only by rounding counts as that multiple.
    q : float
        The step.

    Returns
    -------
    first, last : int
        The smallest and the largest ``k`` for which ``k * q`` lies within the bounds; ``first > last`` when none does.
    """
    if isinstance(low, int) and isinstance(high, int) and isinstance(q, int):
        return -(-low // q), high // q
    return _snapped(low / q, math.ceil(low / q)), _snapped(high / q, math.floor(high / q))


def _snapped(steps: float, inward: int) -> int:
    return round(steps) if math.isclose(steps, round(steps)) else inward


def multiple(k: int, q: float) -> float:
    """Multiply a step as its decimal digits say: three times 0.1 is 0.3.

    Parameters
    ----------
    k : int
        How many steps.
    q : float
        The step.

    Returns
    -------
    float
        ``k * q`` without the rounding error of a binary product.
    """
    return float(Decimal(repr(q)) * k)


def is_multiple(value: float, q: float | None) -> bool:
    """Tell whether a value is a multiple of a step, but for rounding.

    Parameters
    ----------
    value : float
        A finite number.
    q : float or None
        The step; None takes every value.

    Returns
    -------
    bool
        Whether it is.
    """
    steps = value if q is None else value / q
    return math.isfinite(steps) and (q is None or math.isclose(steps, round(steps)))


def between(low: float, high: float, share: float, *, log: bool) -> float:
    """Go a share of the way between two bounds.

    Parameters
    ----------
    low, high : float
        The bounds.
    share : float
        From 0 (``low``) to 1 (``high``).
    log : bool
        Whether the way is measured in logarithms.

    Returns
    -------
    float
        A value within the bounds.
    """
    if log:
        value = math.exp(between(math.log(low), math.log(high), share, log=False))
    else:
        value = low * (1 - share) + high * share  # high - low would overflow for very wide bounds
    return min(max(value, low), high)


def step_between(first: int, last: int, share: float, *, log: bool) -> int:
    """Go a share of the way through numbered steps.

    Parameters
    ----------
    first, last : int
        The numbers of the first and the last step.
    share : float
        From 0 to below 1.
    log : bool
        Whether a step ``k`` takes a share in proportion to ``log(k + 1/2) - log(k - 1/2)``, which is about ``1 / k``,
        as in Optuna, instead of equal shares.

    Returns
    -------
    int
        A number from ``first`` to ``last``.
    """
    if log:
        k = math.floor(between(first - 0.5, last + 0.5, share, log=True) + 0.5)
    else:
        k = first + int(share * (last - first + 1))
    return min(max(k, first), last)
