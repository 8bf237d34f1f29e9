"""What a resume compares: net and data as they are now against those that a sweep began with.

Reads and writes no file; how a single value is described is in `descriptions`, specs compares `spec_changes`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from typing import Any

from skorch import NeuralNet
from skorch.callbacks import Callback
from torch.utils.data import Dataset

from search_spaces.labels import is_import_string
from search_spaces.space import SearchSpace
from sweeps.descriptions import counting, describe, sources_in, without_modules, without_sources
from sweeps.errors import SweepStateError
from sweeps.plan import SweepPlan
from trainables.data import TrialData

_ABSENT = "(absent)"
# Their minor releases may change how a net trains; no source of theirs is hashed.
_COMPARED_VERSIONS = ("torch", "skorch", "skorch-sweeps")


@dataclasses.dataclass(frozen=True)
class Changes:
    """How a sweep differs from what it began with.

    Attributes
    ----------
    refusing : tuple of str
        Differences after which its scores are not comparable, such as ``net.lr: 0.01 -> 0.02``.
    notes : tuple of str
        What a person should know, but need not accept.
    """

    refusing: tuple[str, ...]
    notes: tuple[str, ...]


def describe_net(net: NeuralNet) -> dict[str, str]:
    """Describe a net's class, parameters and callbacks.

    Parameters
    ----------
    net : skorch.NeuralNet
        The net, initialized or not.

    Returns
    -------
    dict of str to str
        Parameter as `set_params` names it -> its description, see `describe`, and the net's own class as ``class``.
        Weights and what a sweep replaces (`train_split`, the log) are left out.
    """
    params = {**_callback_params(net.callbacks), **net.get_params(deep=False)}
    if not isinstance(net.callbacks, str):  # "disable"; a list is described by its members
        del params["callbacks"]
    return {"class": describe(type(net)), **{name: describe(value) for name, value in counting(params)}}


def describe_choices(objects: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Describe the classes and functions that a space offers.

    Parameters
    ----------
    objects : mapping of str to mapping of str to object
        Parameter -> label -> object, as `SearchSpace.objects` gives them.

    Returns
    -------
    dict of str to str
        ``parameter=package.module:Name`` -> its description; what cannot be imported is left out.
    """
    return {
        f"{name}={label}": describe(value)
        for name, labels in objects.items()
        for label, value in labels.items()
        if is_import_string(label)
    }


def python_objects(objects: Mapping[str, Mapping[str, Any]]) -> dict[str, list[str]]:
    """Parameter -> labels of the objects, given as to `describe_choices`, that only Python can bring."""
    found = {name: [label for label in labels if not is_import_string(label)] for name, labels in objects.items()}
    return {name: labels for name, labels in found.items() if labels}


def describe_data(data: TrialData) -> dict[str, Any]:
    """Describe the data: fingerprint, rows, number of splits and, of a torch Dataset, its class."""
    kind = {"class": describe(type(data.X))} if isinstance(data.X, Dataset) else {}
    return {"fingerprint": data.fingerprint, "rows": data.n_rows, "splits": len(data.splits), **kind}


def comparable(plan: SweepPlan) -> dict[str, Any]:
    """What a manifest holds of net and data for a resume to compare: ``data`` and ``net_description``."""
    job = plan.job
    return {
        "data": describe_data(job.data),
        "net_description": describe_net(job.net) | describe_choices(job.objects),
    }


def changes(plan: SweepPlan, manifest: Mapping[str, Any]) -> Changes:
    """Compare a plan with what its sweep began with.

    Parameters
    ----------
    plan : SweepPlan
        Of the sweep as it is now.
    manifest : mapping
        What `make_manifest` wrote when it began.

    Returns
    -------
    Changes
        A parameter of the net that the space always sets does not count, nor does a class or function that the space
        offers only now or no more: that is a change of the spec. A manifest without a description of the net,
        from an earlier release, gives a note. Code that has no source gives a note, since it may have changed.
    """
    versions = _version_notes(manifest.get("versions", {}))
    begun = manifest.get("net_description")
    if begun is None:
        missing = "net: the sweep was begun by a release that did not describe the net, so changes of it are not seen"
        return Changes(tuple(_data_lines(plan, manifest)), (missing, *versions))
    now = describe_net(plan.job.net) | describe_choices(plan.job.objects)
    refusing, notes = list(_data_lines(plan, manifest)), list(versions)
    other_skorch = any(note.startswith("versions: skorch ") for note in versions)  # may have other parameters
    for name in sorted(begun.keys() | now.keys()):
        one_sided = name not in begun or name not in now
        if _is_set_by(plan.space, name) or (one_sided and "=" in name):
            continue
        lines = _lines(f"net.{name}", begun.get(name, _ABSENT), now.get(name, _ABSENT))
        (notes if one_sided and other_skorch else refusing).extend(lines)
        notes += _unknown(f"net.{name}", begun.get(name, ""), now.get(name, ""))
    return Changes(tuple(refusing), tuple(dict.fromkeys(notes)))


def refuse_changes(plan: SweepPlan, manifest: Mapping[str, Any], accept: bool) -> list[str]:
    """Refuse to go on with a sweep whose net or data are not those that it began with.

    Parameters
    ----------
    plan, manifest
        As for `changes`.
    accept : bool
        Whether to go on all the same.

    Returns
    -------
    list of str
        What to tell the user: notes and accepted differences.

    Raises
    ------
    SweepStateError
        There are differences that nobody accepted; the message lists them all.
    """
    found = changes(plan, manifest)
    if found.refusing and not accept:
        listed = "".join(f"\n  {line}" for line in found.refusing)
        raise SweepStateError(
            f"net or data are not those that {plan.config.name} began with:{listed}\nscores would not be comparable; "
            "bring the old ones back, or go on all the same with --accept-changes (in Python accept_changes=True)"
        )
    return [*(f"change accepted: {line}" for line in found.refusing), *found.notes]


def _callback_params(callbacks: Any) -> dict[str, Any]:
    """The callbacks and their parameters under the names that skorch gives them once it initializes them."""
    if not isinstance(callbacks, (list, tuple)):
        return {}
    named = [item if isinstance(item, (list, tuple)) else (_class_of(item).__name__, item) for item in callbacks]
    taken = [name for name, _ in named]
    params: dict[str, Any] = {}
    for position, (name, callback) in enumerate(named):
        unique = name if taken.count(name) == 1 else f"{name}_{taken[: position + 1].count(name)}"
        params[f"callbacks__{unique}"] = None if callback is None else _class_of(callback)
        own = callback.get_params(deep=False) if isinstance(callback, Callback) else {}
        params |= {f"callbacks__{unique}__{key}": value for key, value in counting(own)}
    return params


def _class_of(value: Any) -> type:
    return value if isinstance(value, type) else type(value)


def _data_lines(plan: SweepPlan, manifest: Mapping[str, Any]) -> Iterator[str]:
    begun, now = manifest["data"], describe_data(plan.job.data)
    if begun["fingerprint"] != now["fingerprint"]:
        before, after = (f"{data['rows']} rows ({data['fingerprint'][:19]})" for data in (begun, now))
        yield f"data: {before} -> {after}"
    if begun["splits"] != now["splits"]:
        yield f"data: {begun['splits']} splits -> {now['splits']}"
    if "class" in begun:
        yield from _lines("data", begun["class"], now.get("class", _ABSENT))


def _version_notes(begun: Mapping[str, str]) -> list[str]:
    now = {name: version(name) for name in _COMPARED_VERSIONS if name in begun}
    return [
        f"versions: {name} {begun[name]} -> {now[name]}" for name in now if _minor(begun[name]) != _minor(now[name])
    ]


def _minor(release: str) -> list[str]:
    return release.split(".")[:2]


def _is_set_by(space: SearchSpace, name: str) -> bool:
    """Whether every trial gets the parameter from the space; under a condition some keep the template's value."""
    always = [known for known in space.domains if known not in space.conditions]
    # Whoever sets a callback sets its parameters too; those of a module or an optimizer stay the template's.
    inside = tuple(f"{known}__" for known in always if known == "callbacks" or known.startswith("callbacks__"))
    return name in always or bool(inside and name.startswith(inside))


def _lines(name: str, begun: str, now: str) -> list[str]:
    if without_modules(begun) == without_modules(now):
        return []
    if without_sources(begun) != without_sources(now):
        return [f"{name}: {begun} -> {now}"]
    pairs = dict.fromkeys(zip(sources_in(begun), sources_in(now), strict=True))
    return [
        f"{name}: source of {label} changed ({_hash_of(old)} -> {_hash_of(new)})"
        for (_, old), (label, new) in pairs
        if old != new and "no source" not in (old, new)
    ]


def _hash_of(source: str) -> str:
    return source.removeprefix("source ")


def _unknown(name: str, begun: str, now: str) -> list[str]:
    labels = [label for label, source in sources_in(begun) + sources_in(now) if source == "no source"]
    return [f"{name}: {label} has no source to compare, so a change of it is not seen" for label in labels]
