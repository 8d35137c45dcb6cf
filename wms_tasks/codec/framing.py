"""
What stands before the bytes of an Avro value and says which schema they were written with. Pure.

Two framings: Confluent's, a zero and the schema's id in a registry (big-endian, 4 bytes); and Avro's own single-object
encoding, ``C3 01`` and the CRC-64-AVRO fingerprint of the schema (little-endian, 8 bytes). JSON begins with neither.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from wms_tasks.errors import CodecError

_CONFLUENT = b"\x00"
CONFLUENT_BYTES = 5
_SINGLE_OBJECT = b"\xc3\x01"
SINGLE_OBJECT_BYTES = 10


class Frame(NamedTuple):
    """``schema`` is an id in the registry, or a fingerprint; the Avro datum begins at ``start``."""

    schema: int | bytes
    start: int


def confluent(schema_id: int) -> bytes:
    """What stands before a value whose schema is in a registry."""
    return _CONFLUENT + struct.pack(">I", schema_id)


def single_object(fingerprint: bytes) -> bytes:
    """What stands before a value whose schema whoever reads it must have."""
    return _SINGLE_OBJECT + fingerprint


def is_framed(value: bytes | None) -> bool:
    """Whether it can only be Avro."""
    return value is not None and value.startswith((_CONFLUENT, _SINGLE_OBJECT))


def registry_id(value: bytes | None) -> int | None:
    """The schema's id, of a value in Confluent's framing; None of any other."""
    if value is None or len(value) < CONFLUENT_BYTES or value[0] != 0:
        return None
    return int.from_bytes(value[1:CONFLUENT_BYTES], "big")


def unframe(value: bytes | None) -> Frame:
    """
    Which schema it says, and where the datum begins.

    Raises:
        CodecError: it is empty, cut, or in no framing that we know.
    """
    if not value:
        raise CodecError("the value is empty")
    if value.startswith(_SINGLE_OBJECT) and len(value) >= SINGLE_OBJECT_BYTES:
        return Frame(value[2:SINGLE_OBJECT_BYTES], SINGLE_OBJECT_BYTES)
    if (schema_id := registry_id(value)) is not None:
        return Frame(schema_id, CONFLUENT_BYTES)
    raise CodecError(f"no Avro framing: the value begins with {value[:2].hex(' ')}, of {len(value)} bytes")
