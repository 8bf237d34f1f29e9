"""Values as strict JSON text, for other programs to read. The journal has an encoding of its own."""

from __future__ import annotations

import json
import math
from datetime import date
from typing import Any


def as_json(value: Any) -> str:
    """Strict JSON, indented; what JSON does not know (NaN, infinity) is null, times are ISO 8601."""
    return json.dumps(_strict(value), indent=1, ensure_ascii=False, default=_as_text) + "\n"


def _as_text(value: object) -> str:
    return value.isoformat() if isinstance(value, date) else str(value)


def _strict(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _strict(part) for key, part in value.items()}
    return [_strict(part) for part in value] if isinstance(value, (list, tuple)) else value
