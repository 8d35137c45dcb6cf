"""
What stands around a message's value: its headers. Pure; used by the codecs, and by persist, which reads the slot of a
message whose value cannot be read.

docs/contract.md promises them to other readers. One more, `tracing.HEADER`, is no affair of a codec's: the producer
(publish/producer.py) adds it to a message that belongs to a trace.
"""

from __future__ import annotations

from collections.abc import Iterable

from wms_tasks.errors import CodecError
from wms_tasks.result import Result

JSON = b"application/json"
AVRO = b"avro/binary"
CONTENT_TYPE = "content-type"
SCHEDULED_AT = "scheduled_at"

Headers = Iterable[tuple[str, bytes | str | None]]


def headers_of(result: Result, content_type: bytes) -> list[tuple[str, bytes]]:
    """A message's headers; ``scheduled_at`` names the slot even where the value cannot be decoded."""
    return [
        (CONTENT_TYPE, content_type),
        ("schema-version", str(result.schema_version).encode()),
        (SCHEDULED_AT, result.scheduled_at.isoformat().encode()),
    ]


def content_type_of(headers: Headers) -> bytes | None:
    """
    What the value is said to be; None where nothing is said.

    Raises:
        CodecError: two are said.
    """
    found: bytes | None = None
    for name, content in headers:
        if name == CONTENT_TYPE:
            said = content.encode("utf-8", "replace") if isinstance(content, str) else content or b""
            if found is not None and found != said:
                raise CodecError(f"content-type is {found!r}, and {said!r} too")
            found = said
    return found
