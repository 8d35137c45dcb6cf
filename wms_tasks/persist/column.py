"""Values as binary COPY has them, each behind its length (PostgreSQL's documentation, COPY, Binary Format). Pure."""

from __future__ import annotations

import struct
from datetime import UTC, datetime, timedelta

from wms_tasks.persist.fits import NUL, Unstorable

# Postgres counts its instants from here, in microseconds.
EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

_length = struct.Struct(">i").pack
NULL = _length(-1)
BOOLEANS = {None: NULL, False: _length(1) + b"\x00", True: _length(1) + b"\x01"}
# One dimension, no NULL in it, of type text; its size and that its elements count from 1.
_ARRAY = struct.pack(">iii", 1, 0, 25)
_array = struct.Struct(">ii").pack
_EMPTY_ARRAY = struct.pack(">iii", 0, 0, 25)


def microseconds(instant: datetime) -> int:
    """As Postgres counts them."""
    return (instant - EPOCH) // _MICROSECOND


def bytes_of(value: bytes) -> bytes:
    """Whatever it holds."""
    return _length(len(value)) + value


def text_of(value: str | None) -> bytes:
    """
    A text, or NULL.

    Raises:
        Unstorable: it holds NUL, which Postgres cannot store.
        UnicodeEncodeError: it is no Unicode text.
    """
    if value is None:
        return NULL
    if "\x00" in value:
        raise Unstorable(NUL)
    return bytes_of(value.encode())


def texts_of(values: tuple[str, ...]) -> bytes:
    """An array of texts; raises as `text_of` does."""
    if not values:
        return bytes_of(_EMPTY_ARRAY)
    return bytes_of(b"".join((_ARRAY, _array(len(values), 1), *map(text_of, values))))
