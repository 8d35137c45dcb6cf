"""
A `Result` as JSON: the value of a message on ``{env}.scraped-metrics.v1``.

Used by wire.py, which chooses the codec. Reading takes what a newer writer of the same schema version adds (fields,
outcomes, reasons); it takes nothing that would have to be changed to be stored.
"""

from __future__ import annotations

import msgspec

from wms_tasks.codec.envelope import JSON, Headers, content_type_of, headers_of
from wms_tasks.codec.rules import check_readable, check_writable, one_line
from wms_tasks.codec.upcast import UPCASTS, upcast
from wms_tasks.errors import CodecError
from wms_tasks.result import Result

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Result)


class _Version(msgspec.Struct):
    schema_version: int


_version_decoder = msgspec.json.Decoder(_Version)


def encode(result: Result) -> bytes:
    """
    The message's value.

    Raises:
        CodecError: a text is no valid Unicode, or a time is no finite number, which JSON would turn to null.
    """
    check_writable(result)
    try:
        return _encoder.encode(result)
    except UnicodeEncodeError as error:
        raise CodecError(f"a text holds a lone surrogate: {error.reason}") from error


def headers(result: Result) -> list[tuple[str, bytes]]:
    """The headers of a message whose value is JSON."""
    return headers_of(result, JSON)


def decode(value: bytes | None, message_headers: Headers = ()) -> Result:
    """
    The inverse of `encode`.

    Args:
        message_headers: a ``content-type`` among them must be JSON's; messages without headers are taken as JSON.
    Raises:
        CodecError: one line that says what is wrong.
    """
    if (found := content_type_of(message_headers)) not in {None, JSON}:
        raise CodecError(f"content-type is {found!r}, not {JSON.decode()}")
    return decode_value(value)


def decode_value(value: bytes | None) -> Result:
    """
    The inverse of `encode`, of a value that is known to be JSON.

    Raises:
        CodecError: one line that says what is wrong.
    """
    if not value:
        raise CodecError("the value is empty")
    try:
        return _decode_ours(value)
    except CodecError:
        if UPCASTS and (version := _version_of(value)) in UPCASTS:
            return upcast(version, msgspec.json.decode(value))
        raise


def _decode_ours(value: bytes) -> Result:
    try:
        result = _decoder.decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise CodecError(one_line(error)) from error
    check_readable(result)
    return result


def _version_of(value: bytes) -> int | None:
    try:
        return _version_decoder.decode(value).schema_version
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
