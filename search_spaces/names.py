"""Parameter names against a net or another scikit-learn estimator: which ones it has.

Neither torch nor skorch is loaded: a net is told by its ``prefixes_``. Sets nothing and checks no value.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from search_spaces.problems import SpaceError, did_you_mean
from search_spaces.space import SearchSpace

# skorch adds these to `prefixes_` only when a net is initialised.
_COMPONENTS = ("module", "criterion", "optimizer")
# What skorch itself passes to a component, so that no parameter can.
_PASSED = {"optimizer": {"params"}, "iterator_train": {"dataset"}, "iterator_valid": {"dataset"}, "dataset": {"X", "y"}}
_ADDED = {"optimizer": {"param_groups"}}


def check_names(space: SearchSpace, net: Any) -> None:
    """Refuse a space with a parameter that a net does not have.

    Parameters
    ----------
    space : SearchSpace
        The space; its choices of components (such as optimizers) count beside the net's own. Objects that it names by
        ``package.module:Name`` are imported.
    net : sklearn.base.BaseEstimator
        A skorch net, initialised or not, or another estimator.

    Raises
    ------
    SpaceError
        When there is one, or when an object cannot be imported; names all of them.
    """
    problems = unknown_names(space.domains, net, space.objects())
    if problems:
        raise SpaceError(problems)


def unknown_names(
    names: Iterable[str], net: Any, objects: Mapping[str, Mapping[str, Any]] | None = None
) -> list[tuple[str, str]]:
    """List the parameter names that an estimator does not have.

    A name of ``get_params()`` is known. Of a net so is ``prefix__rest`` where ``rest`` is a parameter of the class or
    function that the net has at ``prefix``, or of one of the candidates for it.

    Parameters
    ----------
    names : iterable of str
        Parameter names.
    net : sklearn.base.BaseEstimator
        A skorch net, initialised or not, or another estimator, such as a pipeline with a net in it.
    objects : mapping of str to mapping of str to object, optional
        Candidates: parameter name to label to object, as `SearchSpace.objects` gives them.

    Returns
    -------
    list of (str, str)
        Name and message with a suggestion, for each unknown name.
    """
    known = set(_known_names(net, objects or {}))
    open_prefixes = tuple(name.removesuffix("**") for name in known if name.endswith("**"))
    return [
        (name, f"{type(net).__name__} has no such parameter{did_you_mean(name, sorted(known))}")
        for name in names
        if name not in known and not (open_prefixes and name.startswith(open_prefixes))
    ]


def _known_names(net: Any, objects: Mapping[str, Mapping[str, Any]], path: str = "") -> Iterator[str]:
    """Give every name that is known, and ``prefix__**`` where any name after the prefix is."""
    params = net.get_params(deep=True)
    yield from (f"{path}{name}" for name in params if not name.startswith("_") and not name.endswith("_"))
    if not hasattr(net, "prefixes_"):
        for name, value in params.items():
            if hasattr(value, "prefixes_"):
                yield from _known_names(value, objects, f"{path}{name}__")
        return
    for prefix in _prefixes(net, params):
        candidates = [_component(net, prefix), *objects.get(f"{path}{prefix}", {}).values()]
        rest = {name for candidate in candidates for name in _arguments(candidate)} - _PASSED.get(prefix, set())
        yield from (f"{path}{prefix}__{name}" for name in rest | _ADDED.get(prefix, set()))
    for callbacks in [net.callbacks, *objects.get(f"{path}callbacks", {}).values()]:
        yield from (f"{path}callbacks__{name}" for name in _callback_names(callbacks))


def _prefixes(net: Any, params: Mapping[str, Any]) -> list[str]:
    """Give the net's prefixes, and the torch classes that a subclass of a net holds beside the usual ones."""
    own = [name for name, value in params.items() if "__" not in name and _is_torch_class(value)]
    return [name for name in dict.fromkeys([*net.prefixes_, *_COMPONENTS, *own]) if name != "callbacks"]


def _is_torch_class(value: Any) -> bool:
    return isinstance(value, type) and any(base.__module__.startswith("torch.") for base in value.__mro__)


def _component(net: Any, prefix: str) -> Any:
    # `compile` is a switch; its parameters go to torch.compile.
    return getattr(sys.modules.get("torch"), "compile", None) if prefix == "compile" else getattr(net, prefix, None)


def _arguments(component: Any) -> Iterator[str]:
    """Give the names of a class's or a function's arguments; an instance stands for its class, as in skorch."""
    if component is None:
        return
    callable_ = component if callable(component) and not _is_torch_class(type(component)) else type(component)
    try:
        parameters = inspect.signature(callable_).parameters.values()
    except (TypeError, ValueError):  # some classes written in C have no signature
        yield "**"
        return
    for parameter in parameters:
        if parameter.kind is parameter.VAR_KEYWORD:
            yield "**"
        elif parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            yield parameter.name


def _callback_names(callbacks: Any) -> Iterator[str]:
    """Give the names under which skorch files callbacks, and those of their parameters; see `initialize_callbacks`."""
    if not isinstance(callbacks, (list, tuple)):
        return
    named = [item if isinstance(item, (list, tuple)) else (_class_of(item).__name__, item) for item in callbacks]
    taken = [name for name, _ in named]
    for position, (name, callback) in enumerate(named):
        unique = name if taken.count(name) == 1 else f"{name}_{taken[: position + 1].count(name)}"
        yield unique
        yield from (f"{unique}__{argument}" for argument in _arguments(_class_of(callback)))


def _class_of(value: Any) -> type:
    return value if isinstance(value, type) else type(value)
