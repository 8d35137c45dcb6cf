"""What holds of every `Result` on the wire, whatever the codec. Called by the codecs; pure."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, datetime

import msgspec

from wms_tasks.errors import CodecError
from wms_tasks.result import SCHEMA_VERSION, Result


def check_readable(result: Result) -> None:
    """
    Of a result that was read.

    Raises:
        CodecError: it is of another schema version, or an instant is not in UTC.
    """
    if result.schema_version != SCHEMA_VERSION:
        raise CodecError(f"schema version {result.schema_version}, and this release reads {SCHEMA_VERSION}")
    check_instants(result)


def check_writable(result: Result) -> None:
    """
    Of a result that is to be written.

    Raises:
        CodecError: a time is no finite number, or an instant is not in UTC.
    """
    for name, number in _times(result):
        if number is not None and not math.isfinite(number):
            raise CodecError(f"{name} is {number}, which is no time")
    check_instants(result)


def check_instants(result: Result) -> None:
    """
    Every instant is aware and in UTC.

    Raises:
        CodecError: one is not.
    """
    # What the codecs make of an instant in UTC is this very object: all but broken messages end here.
    if (
        result.scheduled_at.tzinfo is UTC
        and result.due_at.tzinfo is UTC
        and (result.started_at is None or result.started_at.tzinfo is UTC)
        and (
            result.certificate is None
            or (result.certificate.expires_at.tzinfo is UTC and result.certificate.chain_expires_at.tzinfo is UTC)
        )
    ):
        return
    for name, instant in _instants(result):
        if instant is not None and not _is_utc(instant):
            raise CodecError(f"{name} is not an instant in UTC: {instant.isoformat()}")


def one_line(error: BaseException) -> str:
    """What it says, on one line."""
    return " ".join(str(error).split()) or type(error).__name__


def _times(result: Result) -> Iterator[tuple[str, float | None]]:
    yield "response_time_ms", result.response_time_ms
    if result.phases is not None:
        yield from msgspec.structs.asdict(result.phases).items()


def _instants(result: Result) -> Iterator[tuple[str, datetime | None]]:
    yield "scheduled_at", result.scheduled_at
    yield "due_at", result.due_at
    yield "started_at", result.started_at
    if result.certificate is not None:
        yield "certificate.expires_at", result.certificate.expires_at
        yield "certificate.chain_expires_at", result.certificate.chain_expires_at


def _is_utc(instant: datetime) -> bool:
    offset = instant.utcoffset()
    return offset is not None and not offset
