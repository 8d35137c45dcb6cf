"""
A `Result` as Avro: the datum, without the framing before it. fastavro does the bytes.

Used by wire.py. A datum is read with the schema that it was written with, so that nothing of it is lost to a reader
whose schema is older; what that schema lacks has the default that the record gives it.
"""

from __future__ import annotations

from datetime import datetime
from io import BytesIO
from typing import Any
from uuid import UUID

import msgspec
from fastavro import schemaless_reader, schemaless_writer

from wms_tasks.codec.avro_schema import AvroSchema, current
from wms_tasks.codec.rules import check_readable, check_writable, one_line
from wms_tasks.codec.upcast import upcast
from wms_tasks.errors import CodecError
from wms_tasks.result import SCHEMA_VERSION, Outcome, Result

_INT_MAX = 2**31 - 1
_LONG_MAX = 2**63 - 1
_OUTCOMES = frozenset(Outcome)
# What fastavro raises of bytes that are no datum of the schema.
_MALFORMED = (EOFError, ValueError, IndexError, OverflowError, MemoryError, TypeError, KeyError, RecursionError)


def encode(result: Result) -> bytes:
    """
    The datum, by this release's schema.

    Raises:
        CodecError: a text is no valid Unicode, a number is none that its type holds, an outcome is none of ours.
    """
    check_writable(result)
    _check_numbers(result)
    if result.outcome not in _OUTCOMES:
        raise CodecError(f"outcome {result.outcome!r} is none of {', '.join(Outcome)}")
    fields = msgspec.to_builtins(result, builtin_types=(datetime, UUID))
    written = BytesIO()
    try:
        schemaless_writer(written, current().parsed, fields)
    except UnicodeEncodeError as error:
        raise CodecError(f"a text holds a lone surrogate: {error.reason}") from error
    except (ValueError, TypeError, OverflowError, AttributeError) as error:
        raise CodecError(one_line(error)) from error
    return written.getvalue()


def decode(value: bytes, start: int, schema: AvroSchema) -> Result:
    """
    The inverse of `encode`.

    Args:
        start: where in the value the datum begins; it ends where the value does.
        schema: the one it was written with.
    Raises:
        CodecError: one line that says what is wrong.
    """
    fields = fields_of(value, start, schema.parsed)
    if schema.n != SCHEMA_VERSION:
        return upcast(schema.n, fields)
    try:
        result = msgspec.convert(fields, Result)
    except msgspec.MsgspecError as error:
        raise CodecError(one_line(error)) from error
    check_readable(result)
    return result


def fields_of(value: bytes, start: int, parsed: Any) -> Any:
    """
    What fastavro makes of the bytes from there on.

    Args:
        parsed: the schema, of a whole record or of what is left of one.
    Raises:
        CodecError: they are none, or more.
    """
    source = BytesIO(value)
    source.seek(start)
    try:
        fields: Any = schemaless_reader(source, parsed, None)
    except _MALFORMED as error:
        raise CodecError(f"no Avro of its schema: {one_line(error)}") from error
    if (left := len(value) - source.tell()) > 0:
        raise CodecError(f"no Avro of its schema: {left} bytes follow the record")
    return fields


def _check_numbers(result: Result) -> None:
    """Against the types of the schema; fastavro writes an int that is too large without a word."""
    for name in ("schema_version", "attempt", "status_code", "redirects"):
        _within(name, getattr(result, name), _INT_MAX)
    for name in ("wire_bytes", "body_bytes"):
        _within(name, getattr(result, name), _LONG_MAX)


def _within(name: str, number: int | None, largest: int) -> None:
    if number is not None and not -largest - 1 <= number <= largest:
        raise CodecError(f"{name} {number} is outside {-largest - 1}…{largest}")
