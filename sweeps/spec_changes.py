"""How specs differ, key by key, and which changes of its own sweep.yaml a sweep goes on with. Reads no file."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any

from search_spaces.labels import as_plain, text_of
from search_spaces.space import SearchSpace
from sweeps.config import SweepConfig
from sweeps.errors import SweepStateError

_ABSENT = "(absent)"
# The records are judged by these keys of a spec; after a change of the others below, scores are not comparable.
_JUDGING = ("metric",)
_TRAINING = ("seed", "net", "data", "validation", "searcher.name", "searcher.seed", "matmul_precision")


def spec_differences(given: SweepConfig, stored: SweepConfig) -> list[str]:
    """List how a spec differs from the one that a sweep keeps.

    Parameters
    ----------
    given : SweepConfig
        What the user asks to run.
    stored : SweepConfig
        What the sweep's own sweep.yaml says, in which the data's path is absolute.

    Returns
    -------
    list of str
        ``searcher.num_samples: 24 -> 8`` for each dotted key, stored value first. Ignores `storage`, and a path of
        data that is the same but for being made absolute.
    """
    return list(_differences(spec_leaves(stored), spec_leaves(given)).values())


def spec_leaves(config: SweepConfig) -> dict[str, str]:
    """Dotted key -> value, as text, of all that a spec says but `storage`: what a sweep was last run with."""
    return dict(_leaves(_plain(config)))


def refuse_spec_changes(now: Mapping[str, str], before: Mapping[str, str], accept: bool) -> list[str]:
    """Refuse to go on with a sweep whose own sweep.yaml was edited so that its scores would not be comparable.

    Parameters
    ----------
    now : mapping of str to str
        `spec_leaves` of its sweep.yaml.
    before : mapping of str to str
        Those that it was last run with, or extended to.
    accept : bool
        Whether to go on all the same; not after a change of `metric`, by which all records are judged.

    Returns
    -------
    list of str
        What to tell the user: changes that do not matter so much, and accepted ones.

    Raises
    ------
    SweepStateError
        There are changes that nobody accepted, or may; the message lists them all.
    """
    found = _differences(before, now)
    judging = [line for key, line in found.items() if _is_below(key, _JUDGING)]
    training = [line for key, line in found.items() if _is_below(key, _TRAINING)]
    refused = [*judging, *([] if accept else training)]
    if refused:
        listed = "".join(f"\n  {line}" for line in refused)
        how = ["bring the old values back"]
        how += [] if judging else ["go on all the same with --accept-changes (in Python accept_changes=True)"]
        raise SweepStateError(
            f"the sweep's own sweep.yaml is not the one that it was last run with:{listed}\n"
            f"scores would not be comparable; {', '.join(how)}, or begin another sweep"
        )
    return [f"change accepted: {line}" if line in training else f"changed: {line}" for line in found.values()]


def _plain(config: SweepConfig) -> dict[str, Any]:
    data = config.model_dump(by_alias=True, exclude={"storage"})
    return data | {"parameters": SearchSpace(config.parameters).plain()}


def _leaves(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for name, part in value.items():
            yield from _leaves(part, f"{key}.{name}" if key else str(name))
    else:
        fits, plain = as_plain(value)
        yield key, text_of(plain) if fits else repr(value)


def _differences(old: Mapping[str, str], new: Mapping[str, str]) -> dict[str, str]:
    """Key -> how it differs; a path of data does not that is the same but for being made absolute."""
    return {
        key: f"{key}: {old.get(key, _ABSENT)} -> {new.get(key, _ABSENT)}"
        for key in dict.fromkeys([*old, *new])
        if old.get(key) != new.get(key) and not (key == "data.path" and _is_same_path(old, new))
    }


def _is_same_path(*specs: Mapping[str, str]) -> bool:
    # Ray unpacks what is submitted into a folder of another name each time.
    paths = [PurePath(re.sub(r"^.*/_ray_pkg_[^/]+/", "", json.loads(spec.get("data.path", '""')))) for spec in specs]
    if len(set(paths)) == 1:
        return True
    kept, asked = sorted(paths, key=PurePath.is_absolute, reverse=True)
    return not asked.is_absolute() and kept.is_absolute() and kept.parts[-len(asked.parts) :] == asked.parts


def _is_below(key: str, sections: Sequence[str]) -> bool:
    return any(key == section or key.startswith(f"{section}.") for section in sections)
