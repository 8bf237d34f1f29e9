"""What the parts of a config share: the frozen model, and the kinds of value that its fields hold."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

_DURATION = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s)?")
_SECONDS_PER_UNIT = (86_400, 3_600, 60, 1)


class Part(BaseModel):
    """What all parts share: frozen, by keyword, no unknown keys, no coercion.

    `model_dump` leaves out what is None or does not count, so that its result is valid input again.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
        validate_by_name=True,
        validate_by_alias=True,
    )

    @model_serializer(mode="wrap")
    def _written(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {key: value for key, value in handler(self).items() if value is not None and self._counts(key)}

    def _counts(self, field: str) -> bool:
        """Tell whether the field means anything beside the others."""
        return True

    @classmethod
    def _refuse(cls, *errors: tuple[tuple[str | int, ...], str]) -> None:
        """Raise one error per (location below this part, message), if any."""
        details = [
            InitErrorDetails(type=PydanticCustomError("value_error", "{text}", {"text": text}), loc=loc, input=None)
            for loc, text in errors
        ]
        if details:
            raise ValidationError.from_exception_data(cls.__name__, details)


def _check_name(name: str) -> str:
    """Return `name` when it may name a sweep, a directory below the storage."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name) or ".." in name:
        raise ValueError(
            f"{name!r} cannot name a sweep; use at most 64 letters, digits, '.', '_' or '-', "
            "a letter or digit first and no '..'"
        )
    return name


def _parse_duration(value: object) -> object:
    """Turn `2h`, `1h30m`, `90s` or `1d` into seconds; what is no text passes unchanged."""
    if not isinstance(value, str):
        return value
    found = _DURATION.fullmatch(value)
    if not value or found is None:
        raise ValueError(f"{value!r} is no duration; give seconds (5400) or a text such as 2h, 1h30m or 90s")
    return sum(float(count or 0) * unit for count, unit in zip(found.groups(), _SECONDS_PER_UNIT, strict=True))


def _check_reference(reference: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*", reference):
        raise ValueError(f"{reference!r} is no module:attribute; give one such as examples.digits.model:make_net")
    return reference


def _check_whole_above_one(gpu: float) -> float:
    if gpu > 1 and gpu != int(gpu):
        raise ValueError(f"{gpu} is no share of a GPU; give 0 to 1, or a whole number of GPUs")
    return gpu


Reference = Annotated[str, AfterValidator(_check_reference)]
Names = Annotated[tuple[str, ...], Field(strict=False)]
Cpu = Annotated[float, Field(gt=0)]
Gpu = Annotated[float, Field(ge=0), AfterValidator(_check_whole_above_one)]
Count = Annotated[int, Field(ge=1)]
Natural = Annotated[int, Field(ge=0)]
SweepName = Annotated[str, AfterValidator(_check_name)]
Seconds = Annotated[float, BeforeValidator(_parse_duration), Field(gt=0)]
