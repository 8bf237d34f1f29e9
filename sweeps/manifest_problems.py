"""What is wrong with the content of a manifest.json, as a reader would stumble over it. Reads no file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any

Check = Callable[[Any], bool]


def manifest_problems(manifest: Mapping[str, Any]) -> list[str]:
    """Everything that is missing or of another kind than `sweeps.manifest.make_manifest` writes; what is more is not.

    Parameters
    ----------
    manifest : mapping
        What the file holds, of a format that is known.

    Returns
    -------
    list of str
        ``key: what is wrong`` each; empty where nothing is.
    """
    data = manifest.get("data")
    return [*_problems(manifest, _KINDS), *(_problems(data, _DATA, "data.") if isinstance(data, dict) else ())]


def _problems(given: Mapping[str, Any], kinds: Mapping[str, tuple[str, Check]], above: str = "") -> Iterator[str]:
    for key, (kind, is_right) in kinds.items():
        if key not in given and key not in _MAY_LACK:
            yield f"{above}{key}: missing"
        elif key in given and not is_right(given[key]):
            yield f"{above}{key}: {str(given[key])[:40]!r} is not {kind}"


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_number(value: Any) -> bool:
    return type(value) is int and value >= 0


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def _is_time(value: Any) -> bool:
    try:
        return datetime.fromisoformat(value).tzinfo is not None
    except (TypeError, ValueError):
        return False


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _is_mapping(value: Any) -> bool:
    return isinstance(value, dict)


def _is_mapping_of_text(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_is_text, value.values()))


_TEXT, _NUMBER, _FLAG = ("text", _is_text), ("a whole number", _is_number), ("true or false", _is_flag)
_TEXTS, _MAPPING_OF_TEXT = ("a list of texts", _is_texts), ("a mapping to texts", _is_mapping_of_text)
_KINDS: dict[str, tuple[str, Check]] = {
    "name": _TEXT,
    "created": ("a time such as 2025-01-31T12:00:00Z", _is_time),
    "metric": _TEXT,
    "goal": ("minimize or maximize", lambda value: value in ("minimize", "maximize")),
    "net": ("text or null", lambda value: value is None or _is_text(value)),
    "net_is_callable": _FLAG,
    "takes_classes": _FLAG,
    "classes": ("a list or null", lambda value: value is None or isinstance(value, list)),
    "objects": (
        "a mapping to lists of texts",
        lambda value: _is_mapping(value) and all(map(_is_texts, value.values())),
    ),
    "search_path": _TEXTS,
    "n_trials": _NUMBER,
    "max_epochs": _NUMBER,
    "data": ("a mapping", _is_mapping),
    "net_description": _MAPPING_OF_TEXT,
    "notes": _TEXTS,
    "versions": _MAPPING_OF_TEXT,
}
_DATA: dict[str, tuple[str, Check]] = {
    "rows": _NUMBER,
    "splits": _NUMBER,
    "fingerprint": _TEXT,
    "class": _TEXT,
}
# A release before described no net, and only data of a class of its own have one.
_MAY_LACK = ("net_description", "class")
