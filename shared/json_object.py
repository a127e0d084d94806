"""Reads what other programs wrote in Redis as JSON, which may be anything."""

import json
from typing import Any


def json_object(raw: str | bytes) -> dict[str, Any] | None:
    """Return the object of a JSON text; None if the text is no JSON, or something else."""
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError):  # a number too long for Python raises ValueError
        return None
    return value if isinstance(value, dict) else None
