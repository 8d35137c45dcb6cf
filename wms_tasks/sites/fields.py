"""
What the models of the file are made of: validators that turn the text of a value into what is kept, or say in a
pydantic error what is wrong. Used by spec.py and expect_spec.py only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainValidator

from wms_tasks.sites.durations import format_duration, parse_duration_ms
from wms_tasks.sites.sizes import format_size, parse_size_bytes


class Strict(BaseModel):
    """A mapping of the file: no key but those it names."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def text(check: Callable[[str], Any]) -> PlainValidator:
    """A single value, as `check` makes it; what `check` says in a ValueError is what the user reads."""

    def checked(value: object) -> Any:
        if type(value) is not str:
            raise ValueError("has no value" if value is None else "must be one value, not a list or a mapping")
        return check(value)

    return PlainValidator(checked, json_schema_input_type=str)


def duration(limits_ms: tuple[int, int]) -> PlainValidator:
    """A duration between two others, in milliseconds."""
    return _between(parse_duration_ms, format_duration, limits_ms)


def size(limits_bytes: tuple[int, int]) -> PlainValidator:
    """A size between two others, in bytes."""
    return _between(parse_size_bytes, format_size, limits_bytes)


def _between(parse: Callable[[str], int], format_: Callable[[int], str], limits: tuple[int, int]) -> PlainValidator:
    low, high = limits

    def checked(written_text: str) -> int:
        value = parse(written_text)
        if value < low:
            raise ValueError(f"{written_text} is below {format_(low)}, the least")
        if value > high:
            raise ValueError(f"{written_text} is above {format_(high)}, the most")
        return value

    return text(checked)


def written(value: object) -> object:
    """
    Any value at all.

    Raises:
        ValueError: there is none.
    """
    if value is None:
        raise ValueError("has no value")
    return value


def as_list(value: object) -> object:
    """One value as a list of one; the rest is for the model to look at."""
    return [value] if type(value) is str else written(value)


def distinct(values: tuple[str, ...]) -> tuple[str, ...]:
    """Each once, in the order written."""
    return tuple(dict.fromkeys(values)) if len(values) > 1 else values


def one_spelling(headers: dict[str, Any]) -> dict[str, Any]:
    """
    Headers, no name of which is there twice in another case.

    Raises:
        ValueError: names both.
    """
    if len(headers) > 1:
        seen: dict[str, str] = {}
        for name in headers:
            other = seen.setdefault(name.lower(), name)
            if other != name:
                raise ValueError(f"{other} and {name} are the same header")
    return headers


WRITTEN = BeforeValidator(written)
ONE_OR_MORE = BeforeValidator(as_list)
