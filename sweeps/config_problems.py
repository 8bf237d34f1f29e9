"""What pydantic finds wrong with a `SweepConfig`, in the words and the dotted keys of a sweep.yaml."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from sweeps.config import SweepConfig
from sweeps.errors import Problem, did_you_mean

_PLAIN_WORDS = {
    "bool_type": "must be true or false",
    "dict_type": "must be a mapping",
    "float_type": "must be a number",
    "int_from_float": "must be a whole number",
    "int_type": "must be a whole number",
    "missing": "required, but not given",
    "model_attributes_type": "must be a mapping",
    "model_type": "must be a mapping",
    "string_type": "must be text",
    "tuple_type": "must be a list",
    "union_tag_not_found": "needs a type",
}


def config_problems(error: ValidationError) -> list[Problem]:
    """Put what pydantic found wrong with a `SweepConfig` into the words of a sweep.yaml."""
    return [
        Problem(_message(detail, location), ".".join(map(str, location)))
        for detail in error.errors(include_url=False)
        for location in [_without_kind(detail["loc"])]
    ]


def _without_kind(location: tuple[str | int, ...]) -> tuple[str | int, ...]:
    """Turn `data, npz, path` into `data, path`: a sweep.yaml gives the kind as a value, not as a level."""
    return (location[0], *location[2:]) if location[:2] in _KINDS else location


def _message(detail: Mapping[str, Any], location: tuple[str | int, ...]) -> str:
    kind, given = detail["type"], detail["input"]
    if kind == "extra_forbidden":
        return f"unknown key; {did_you_mean(str(location[-1]), _allowed_keys(detail['loc'][:-1]))}"
    if kind == "value_error":
        return str(detail.get("ctx", {}).get("error", detail["msg"]))
    if kind in ("literal_error", "union_tag_invalid"):
        return _not_among(detail, location)
    words = _PLAIN_WORDS.get(kind) or detail["msg"].replace("Input should be", "must be")
    return words if kind in ("missing", "union_tag_not_found") else f"{words}; given {_short(given)}"


def _not_among(detail: Mapping[str, Any], location: tuple[str | int, ...]) -> str:
    expected = detail["ctx"].get("expected") or detail["ctx"]["expected_tags"]
    allowed = re.findall(r"'([^']*)'", expected) or [expected]
    given = detail["ctx"].get("tag", detail["input"])
    name = "type " if detail["type"] == "union_tag_invalid" else ""
    return f"{name}{_short(given)} is not known; {did_you_mean(str(given), allowed)}"


def _allowed_keys(location: tuple[str | int, ...]) -> list[str]:
    model = _MODELS[tuple(part for part in location if isinstance(part, str))]
    return [info.alias or name for name, info in model.model_fields.items()]


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _models(
    model: type[BaseModel], location: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], type[BaseModel]]]:
    """Every part of a config by its location as pydantic reports it: keys, and the kind of data or validation."""
    yield location, model
    for name, info in model.model_fields.items():
        for part in _parts_in(info.annotation):
            kind = (part.model_fields["type"].default,) if "type" in part.model_fields else ()
            yield from _models(part, (*location, info.alias or name, *kind))


def _parts_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    else:
        for argument in get_args(annotation):
            yield from _parts_in(argument)


_MODELS = dict(_models(SweepConfig))
_KINDS = {location for location in _MODELS if len(location) == 2 and location[:1] not in _MODELS}
