"""Distributions without fixed bounds: normal ones, and by name any other of scipy.stats, loaded when one is made."""

from __future__ import annotations

import importlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Any

from search_spaces.domains import Domain, assign, make_plain
from search_spaces.labels import as_plain
from search_spaces.problems import did_you_mean, refuse
from search_spaces.ranges import is_multiple, is_number, multiple, number_problems

_LEAST_SHARE = 2.0**-54  # the quantile of share 0 may be minus infinity


@dataclass(frozen=True, slots=True)
class Normal(Domain):
    """A normally distributed number; with ``log`` its logarithm is, and with ``q`` it is rounded to a multiple."""

    mu: float
    sigma: float
    log: bool = False
    q: float | None = None

    def __post_init__(self) -> None:
        make_plain(self, "mu", "sigma", "q")
        given = [("mu", self.mu), ("sigma", self.sigma), *([] if self.q is None else [("q", self.q)])]
        problems = number_problems(given)
        positive = [(key, value) for key, value in given[1:] if not number_problems([(key, value)])]
        problems += [f"{key} must be greater than 0, not {value!r}" for key, value in positive if value <= 0]
        # A draw lies within nine sigmas; past e**700 it would overflow.
        if not problems and self.log and abs(self.mu) + 9 * self.sigma > 700:
            problems.append(f"mu {self.mu!r} and sigma {self.sigma!r} are of the logarithm; these overflow")
        if not problems and self.q and not math.isfinite(self._reach() / self.q):
            problems.append(f"q {self.q!r} is too small for mu {self.mu!r} and sigma {self.sigma!r}; leave it out")
        refuse(problems)
        assign(self, mu=float(self.mu), sigma=float(self.sigma), q=None if self.q is None else float(self.q))

    def _reach(self) -> float:
        reach = abs(self.mu) + 9 * self.sigma
        return math.exp(reach) if self.log else reach

    def at(self, share: float) -> float:
        """Give the value at a share of all draws."""
        value = NormalDist(self.mu, self.sigma).inv_cdf(max(share, _LEAST_SHARE))
        value = math.exp(value) if self.log else value
        return value if self.q is None else multiple(round(value / self.q), self.q)

    def contains(self, value: Any) -> bool:
        """Tell whether a plain value could be drawn."""
        if not is_number(value) or (self.log and (value < 0 or (value == 0 and self.q is None))):
            return False
        return is_multiple(value, self.q)

    def plain(self) -> dict[str, Any]:
        """Describe the domain as `as_domain` reads it."""
        kind = "lognormal" if self.log else "normal" if self.q is None else "qnormal"
        step = {} if self.q is None else {"q": self.q}
        return {"distribution": kind, "mu": self.mu, "sigma": self.sigma, **step}


@dataclass(frozen=True, slots=True)
class Quantile(Domain):
    """A distribution of ``scipy.stats`` by its name and arguments; a discrete one gives whole numbers.

    Parameters
    ----------
    name : str
        Its name in ``scipy.stats``, such as ``"beta"``.
    args : sequence of float, default ()
        Positional arguments: shapes, then ``loc`` and ``scale``.
    kwds : mapping of str to float, default {}
        The same by keyword.

    Raises
    ------
    SpaceError
        When scipy is not installed, has no such distribution or refuses the arguments.
    """

    name: str
    args: tuple[Any, ...] = ()
    kwds: Mapping[str, Any] = field(default_factory=dict)
    _frozen: Any = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        (args_fit, args), (kwds_fit, kwds) = as_plain(self.args), as_plain(self.kwds)
        name: Any = self.name
        problems = []
        if not isinstance(name, str):
            problems.append("name is missing" if name is None else f"name must be a string, not {name!r}")
        if not args_fit or not isinstance(args, list):
            problems.append(f"args must be a list of numbers, not {self.args!r}")
        if not kwds_fit or not isinstance(kwds, dict):
            problems.append(f"kwds must be a mapping of numbers, not {self.kwds!r}")
        refuse(problems)
        assign(self, args=tuple(args), kwds=kwds, _frozen=_freeze(self.name, args, kwds))

    @property
    def is_discrete(self) -> bool:
        """Whether it gives whole numbers only."""
        return hasattr(self._frozen, "pmf")

    def at(self, share: float) -> float | int:
        """Give the value at a share of all draws."""
        value = float(self._frozen.ppf(max(share, _LEAST_SHARE)))
        return round(value) if self.is_discrete else value

    def contains(self, value: Any) -> bool:
        """Tell whether a number lies in the distribution's support."""
        low, high = self._frozen.support()
        return is_number(value) and bool(low <= value <= high) and not (self.is_discrete and type(value) is not int)

    def plain(self) -> dict[str, Any]:
        """Describe it by name and arguments."""
        return {"distribution": "scipy", "name": self.name, "args": list(self.args), "kwds": dict(self.kwds)}


def _freeze(name: str, args: list[Any], kwds: dict[str, Any]) -> Any:
    try:
        stats = importlib.import_module("scipy.stats")  # here, because most spaces do without its second of loading
    except ImportError as error:
        refuse([f"distribution scipy needs scipy: {error}"])
    distribution: Any = getattr(stats, name, None)
    if not hasattr(distribution, "ppf") or not hasattr(distribution, "freeze"):
        known = [word for word in dir(stats) if hasattr(getattr(stats, word), "ppf")]
        refuse([f"scipy.stats has no distribution {name!r}{did_you_mean(name, known)}"])
    try:
        frozen = distribution(*args, **kwds)
        finite = math.isfinite(float(frozen.ppf(0.5)))
    except (TypeError, ValueError) as error:
        refuse([f"scipy.stats.{name} refuses args {args!r} and kwds {kwds!r}: {error}"])
    if not finite:
        refuse([f"scipy.stats.{name} has no values for args {args!r} and kwds {kwds!r}; see its parameters"])
    return frozen
