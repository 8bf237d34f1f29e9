"""Whatever describes a domain -> a domain: mappings, lists, scalars, scipy.stats distributions, Ray Tune's domains.

The objects of other libraries are told by the module of their type, so neither library is loaded here.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from search_spaces.distributions import Normal, Quantile
from search_spaces.domains import Choice, Constant, Domain, Float, Integer
from search_spaces.labels import as_plain
from search_spaces.problems import SpaceError, did_you_mean, refuse

_RAY_DOMAINS = "ray.tune.search.sample"


def as_domain(spec: Any) -> Domain:
    """Read one parameter's domain.

    Parameters
    ----------
    spec : Any
        A domain; a list, tuple, range or array (a choice); a scalar or any other object (a constant); a frozen
        ``scipy.stats`` distribution; a domain or ``grid_search`` of Ray Tune; or a mapping as written in YAML, such as
        ``{"distribution": "loguniform", "min": 1e-4, "max": 0.1}``, ``{"min": 1, "max": 4}`` (whole numbers when both
        are), ``{"values": [...]}``, ``{"value": ...}`` or ``{"mu": 0, "sigma": 1}``. Bounds are inclusive values.

    Returns
    -------
    Domain
        The domain. Those of Ray Tune keep their values: an exclusive upper bound becomes the inclusive one below it.

    Raises
    ------
    SpaceError
        When it cannot be a domain; names every problem of it.
    """
    if isinstance(spec, Domain):
        return spec
    if isinstance(spec, Mapping):
        return _from_mapping(spec)
    if _is_of(spec, _RAY_DOMAINS):
        return _from_ray(spec)
    if _is_of(spec, "scipy.stats") or (hasattr(spec, "rvs") and not isinstance(spec, type)):
        return _from_scipy(spec)
    if isinstance(spec, (set, frozenset)):
        refuse([f"a set has no order: {spec!r}; give a list"])
    is_plain, value = as_plain(spec)
    if isinstance(spec, (list, tuple, range)) or (is_plain and isinstance(value, list)):
        return _choice(value, is_grid=False)
    return Constant(spec)


def _is_of(value: object, module: str) -> bool:
    """Tell whether an instance is of a class of a module, or of a class derived from one."""
    return any(base.__module__.startswith(module) for base in type(value).__mro__)


def _choice(values: Any, *, is_grid: bool) -> Choice:
    # A domain among the values would become a label of itself and be tuned by nobody.
    inside = [value for value in values if _is_domain(value)] if isinstance(values, (list, tuple)) else []
    refuse(
        f"the choice holds a domain, {value!r}; make it a parameter of its own, with `when` if it depends on this one"
        for value in inside
    )
    return Choice(values, is_grid)


def _is_domain(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(_is_domain(item) for item in value.values())
    return isinstance(value, Domain) or _is_of(value, _RAY_DOMAINS) or _is_of(value, "scipy.stats")


@dataclass(frozen=True)
class _Kind:
    """One ``distribution`` of a mapping: its keys and how they become a domain, which finds missing numbers itself."""

    needs: tuple[str, ...]
    build: Callable[[Mapping[str, Any]], Domain]
    may: tuple[str, ...] = ()


def _range(cls: type[Float] | type[Integer], *, log: bool, needs_q: bool = False) -> _Kind:
    def build(spec: Mapping[str, Any]) -> Domain:
        return cls(spec.get("min"), spec.get("max"), log, spec.get("q"))  # type: ignore[arg-type]  # checked there

    return _Kind(("min", "max", "q"), build) if needs_q else _Kind(("min", "max"), build, ("q",))


def _normal(*, log: bool, needs_q: bool = False) -> _Kind:
    def build(spec: Mapping[str, Any]) -> Domain:
        return Normal(spec.get("mu"), spec.get("sigma"), log, spec.get("q"))  # type: ignore[arg-type]  # checked there

    return _Kind(("mu", "sigma", "q"), build) if needs_q else _Kind(("mu", "sigma"), build, ("q",))


def _quantile(spec: Mapping[str, Any]) -> Domain:
    return Quantile(spec.get("name"), spec.get("args", ()), spec.get("kwds", {}))  # type: ignore[arg-type]  # checked there


_KINDS = {
    "uniform": _range(Float, log=False),
    "loguniform": _range(Float, log=True),
    "quniform": _range(Float, log=False, needs_q=True),
    "qloguniform": _range(Float, log=True, needs_q=True),
    "int_uniform": _range(Integer, log=False),
    "int_loguniform": _range(Integer, log=True),
    "normal": _normal(log=False),
    "qnormal": _normal(log=False, needs_q=True),
    "lognormal": _normal(log=True),
    "choice": _Kind(("values",), lambda spec: _choice(spec.get("values"), is_grid=False)),
    "grid": _Kind(("values",), lambda spec: _choice(spec.get("values"), is_grid=True)),
    "constant": _Kind(("value",), lambda spec: Constant(spec.get("value"))),
    "scipy": _Kind(("name",), _quantile, ("args", "kwds")),
}

# Names that W&B, Optuna or Ray give to something close; some of theirs take exponents, so none is an alias.
_ELSEWHERE = {
    "categorical": "choice",
    "float": "uniform",
    "grid_search": "grid",
    "int": "int_uniform",
    "log_normal": "lognormal",
    "log_uniform": "loguniform",
    "log_uniform_values": "loguniform",
    "lograndint": "int_loguniform",
    "q_log_uniform": "qloguniform",
    "q_log_uniform_values": "qloguniform",
    "q_normal": "qnormal",
    "q_uniform": "quniform",
    "randint": "int_uniform",
    "randn": "normal",
    "reciprocal": "loguniform",
}
_EXPONENTS = ("log_uniform", "q_log_uniform")


def _from_mapping(spec: Mapping[Any, Any]) -> Domain:
    if "when" in spec:
        refuse(["`when` belongs to a parameter of a SearchSpace; a domain alone has no condition"])
    for key, build in (("domain", as_domain), ("grid_search", lambda values: _choice(values, is_grid=True))):
        if key in spec:
            refuse(_unknown_keys(spec, (key,)))
            return build(spec[key])
    name = spec["distribution"] if "distribution" in spec else _guessed_kind(spec)
    kind = _KINDS.get(name) if isinstance(name, str) else None
    if kind is None:
        raise SpaceError([("", _unknown_kind(name))])
    problems = _unknown_keys(spec, ("distribution", *kind.needs, *kind.may))
    problems += [f"{key} is missing" for key in kind.needs if key not in spec]
    return _built(kind, spec, problems)


def _built(kind: _Kind, spec: Mapping[str, Any], problems: list[str]) -> Domain:
    try:
        domain = kind.build(spec)
    except SpaceError as error:
        refuse([*problems, *(message for _, message in error.problems)])
        raise
    refuse(problems)
    return domain


def _guessed_kind(spec: Mapping[Any, Any]) -> str:
    if "values" in spec:
        return "choice"
    if "value" in spec:
        return "constant"
    if "mu" in spec or "sigma" in spec:
        return "normal"
    if "min" in spec or "max" in spec:
        numbers = [as_plain(spec[key])[1] for key in ("min", "max", "q") if key in spec]
        return "int_uniform" if all(type(number) is int for number in numbers) else "uniform"
    raise SpaceError([("", f"cannot tell what {dict(spec)!r} is; give distribution, min and max, values or value")])


def _unknown_keys(spec: Mapping[Any, Any], allowed: tuple[str, ...]) -> list[str]:
    return [
        f"unknown key {key!r}{did_you_mean(key, allowed)} (allowed here: {', '.join(allowed)})"
        for key in spec
        if key not in allowed
    ]


def _unknown_kind(name: Any) -> str:
    known = _ELSEWHERE.get(name) if isinstance(name, str) else None
    hint = f"; did you mean {known!r}?" if known else did_you_mean(name, _KINDS)
    remark = " Bounds here are values, not exponents." if name in _EXPONENTS else ""
    return f"unknown distribution {name!r}{hint}{remark} (allowed: {', '.join(_KINDS)})"


def _from_ray(spec: Any) -> Domain:
    # The classes are Float, Integer, Categorical and Function, or derived from one of these.
    kinds = {base.__name__ for base in type(spec).__mro__ if base.__module__ == _RAY_DOMAINS}
    if "Categorical" in kinds:
        return _choice(list(spec.categories), is_grid=bool(spec.is_grid()))
    if not kinds & {"Float", "Integer"}:
        refuse(
            [
                f"{type(spec).__name__} (tune.sample_from) runs code that can be neither checked nor recorded; "
                "give a list or a distribution, with `when` if it depends on another parameter"
            ]
        )
    sampler, q = spec.get_sampler(), None
    if hasattr(sampler, "q"):
        sampler, q = sampler.get_sampler(), sampler.q
    if hasattr(sampler, "sd"):
        return Normal(sampler.mean, sampler.sd, q=q)
    log = "LogUniform" in {base.__name__ for base in type(sampler).__mro__}
    if "Float" in kinds:
        return Float(spec.lower, spec.upper, log, q)
    # Ray leaves out the upper bound, except of a quantised domain whose step is not 1.
    return Integer(spec.lower, spec.upper if q not in (None, 1) else spec.upper - 1, log, None if q == 1 else q)


def _from_scipy(spec: Any) -> Domain:
    distribution: Any = getattr(spec, "dist", None)
    if distribution is None or not hasattr(spec, "ppf") or not _is_of(spec, "scipy.stats"):
        refuse([f"{spec!r} is not a frozen scipy.stats distribution, such as scipy.stats.beta(2, 5)"])
    low, high = (as_plain(bound)[1] for bound in spec.support())
    if distribution.name == "uniform":
        return Float(low, high)
    if distribution.name in ("loguniform", "reciprocal") and not _location(spec):
        return Float(low, high, log=True)
    if distribution.name == "randint" and _location(spec) == round(_location(spec)):
        return Integer(low, high)
    if distribution.name == "norm":
        return Normal(float(spec.mean()), float(spec.std()))
    if type(getattr(sys.modules.get("scipy.stats"), distribution.name, None)) is not type(distribution):
        refuse([f"{spec!r} is not one of the distributions that scipy.stats names, so it cannot be written down"])
    return Quantile(distribution.name, tuple(spec.args), spec.kwds)


def _location(spec: Any) -> Any:
    after_shapes = spec.args[spec.dist.numargs :]
    return spec.kwds.get("loc", after_shapes[0] if after_shapes else 0)
