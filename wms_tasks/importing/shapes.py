"""Parts of a file that others wrote, in the shape they should have; what has another is taken as nothing. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def mapping(value: Any) -> Mapping[str, Any]:
    """`value`, if it is a mapping."""
    return value if isinstance(value, dict) else {}


def items(value: Any) -> list[Any]:
    """`value` as a list; one value alone is a list of it."""
    if value is None:
        return []
    return list(value) if isinstance(value, list) else [value]


def mappings(value: Any) -> list[Mapping[str, Any]]:
    """The mappings in a list."""
    return [one for one in items(value) if isinstance(one, dict)]
