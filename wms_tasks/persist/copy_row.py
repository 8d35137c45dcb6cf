"""
A result as one row of binary COPY: the number of columns, then each behind its length. Pure.

Binary, because Postgres takes in such a row with two thirds of the CPU time that text costs it (5.6 instead of 8.0 µs,
all indexes and checks included). No value is ever changed to fit its column: Postgres would take four bytes as they
are, so `fits.check` looks at every range before, and `struct` refuses what is outside.

Nearly all results are ASCII and short. Then the lengths are made part of one text, which is encoded at once: half the
time of encoding each text.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import msgspec

from wms_tasks.persist.fits import Unstorable, check, refuse_nul
from wms_tasks.result import Certificate, Phases, Result

COLUMNS = 35
# Postgres counts its instants from here, in microseconds.
EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_NO_PHASES = Phases()

_length = struct.Struct(">i").pack
NULL = _length(-1)
BOOLEANS = {None: NULL, False: _length(1) + b"\x00", True: _length(1) + b"\x01"}
# Each value behind its length; what is none has no bytes, so where one is they are made one by one.
_NUMBERS = [struct.Struct(f">i{code}") for code in "qidiqqdddd"]
_TLS = [struct.Struct(f">i{code}") for code in "dqq"]
_ALWAYS = "h i16s iq iq ii ii"
_always = struct.Struct(f">{_ALWAYS}").pack
all_numbers = struct.Struct(f">{_ALWAYS}" + "".join(one.format[1:] for one in _NUMBERS)).pack
all_tls = struct.Struct(">" + "".join(one.format[1:] for one in _TLS)).pack
NO_TLS = NULL * len(_TLS)
# One dimension, no NULL in it, of type text; its size and that its elements count from 1.
_ARRAY = struct.pack(">iii", 1, 0, 25)
_array = struct.Struct(">ii").pack
_EMPTY_ARRAY = struct.pack(">iiii", 12, 0, 0, 25)
# The same as Latin-1 text, in which each character is the byte of its number.
_LENGTHS = [_length(size).decode("latin-1") for size in range(256)]
_NULL_TEXT = NULL.decode("latin-1")
_ARRAY_TEXT = _ARRAY.decode("latin-1")
_EMPTY_ARRAY_TEXT = _EMPTY_ARRAY.decode("latin-1")
_ONE = _LENGTHS[1]


def copy_row(result: Result, *, ascii_only: bool = False) -> bytes:
    """
    The columns of results in the order of ``copy_results`` in store/queries.sql: first what has a fixed length.

    Args:
        ascii_only: all its texts are, and none holds the character NUL.
    Raises:
        Unstorable: a value does not fit its column.
    """
    check(result)
    if not ascii_only:
        refuse_nul(result)
    try:
        if ascii_only and result.evidence is None:
            return b"".join((_numbers(result), _tls(result), BOOLEANS[result.matched], _ascii_texts(result)))
    except IndexError:
        pass  # a text is longer than _LENGTHS knows
    try:
        return b"".join((_numbers(result), _tls(result), BOOLEANS[result.matched], _texts(result)))
    except UnicodeEncodeError as error:
        raise Unstorable("a text holds a lone surrogate, which is no Unicode text") from error


def _numbers(result: Result) -> bytes:
    """From site_id to transfer_ms."""
    site_id, attempt, version = result.site_id.bytes, result.attempt, result.schema_version
    slot = result.scheduled_at
    scheduled = (slot - EPOCH) // _MICROSECOND
    due = scheduled + _microseconds(result.due_at - slot)
    started = None if result.started_at is None else scheduled + _microseconds(result.started_at - slot)
    phases = result.phases or _NO_PHASES
    try:
        return all_numbers(
            COLUMNS, 16, site_id, 8, scheduled, 8, due, 4, attempt, 4, version,
            8, started, 4, result.status_code, 8, result.response_time_ms,
            4, result.redirects, 8, result.wire_bytes, 8, result.body_bytes,
            8, phases.resolve_ms, 8, phases.connect_ms, 8, phases.processing_ms, 8, phases.transfer_ms,
        )  # fmt: skip
    except struct.error:
        pass  # one of them is none
    always = _always(COLUMNS, 16, site_id, 8, scheduled, 8, due, 4, attempt, 4, version)
    return always + _each(
        _NUMBERS, started, result.status_code, result.response_time_ms,
        result.redirects, result.wire_bytes, result.body_bytes,
        phases.resolve_ms, phases.connect_ms, phases.processing_ms, phases.transfer_ms,
    )  # fmt: skip


def _microseconds(short: timedelta) -> int:
    """Half a microsecond a row less than to divide, which Python does in numbers of any size."""
    return short // _MICROSECOND if short.days else 1_000_000 * short.seconds + short.microseconds


def _tls(result: Result) -> bytes:
    """tls_ms and when the certificates end."""
    phases, certificate = result.phases or _NO_PHASES, result.certificate
    if certificate is None:
        return NO_TLS if phases.tls_ms is None else _each(_TLS, phases.tls_ms, None, None)
    expires = chain = (certificate.expires_at - EPOCH) // _MICROSECOND
    if certificate.chain_expires_at != certificate.expires_at:
        chain = (certificate.chain_expires_at - EPOCH) // _MICROSECOND
    if phases.tls_ms is None:
        return _each(_TLS, None, expires, chain)
    return all_tls(8, phases.tls_ms, 8, expires, 8, chain)


def _each(kinds: Sequence[struct.Struct], *values: float | None) -> bytes:
    return b"".join(
        [NULL if value is None else kind.pack(kind.size - 4, value) for kind, value in zip(kinds, values, strict=True)]
    )


def _ascii_texts(r: Result) -> bytes:
    """
    From location to evidence, which is none.

    Raises:
        IndexError: one of them is too long.
    """
    sized = _LENGTHS
    certificate = r.certificate
    text = (
        f"{sized[len(r.location)]}{r.location}{sized[len(r.outcome)]}{r.outcome}"
        f"{sized[len(r.reason)]}{r.reason}{sized[len(r.worker)]}{r.worker}"
        f"{_NULL_TEXT if r.http_version is None else sized[len(r.http_version)] + r.http_version}"
        f"{_NULL_TEXT if r.tls_version is None else sized[len(r.tls_version)] + r.tls_version}"
        f"{_NULL_TEXT if r.tls_cipher is None else sized[len(r.tls_cipher)] + r.tls_cipher}"
        f"{_NULL_TEXT if r.content_type is None else sized[len(r.content_type)] + r.content_type}"
        f"{sized[len(r.site_name)]}{r.site_name}{sized[len(r.spec_digest)]}{r.spec_digest}"
        f"{_NULL_TEXT if r.detail is None else sized[len(r.detail)] + r.detail}"
        f"{_NULL_TEXT if r.address is None else sized[len(r.address)] + r.address}"
        f"{_NULL_TEXT * 3 if certificate is None else _ascii_certificate(certificate)}{_NULL_TEXT}"
    )
    return text.encode("latin-1")


def _ascii_certificate(certificate: Certificate) -> str:
    sized, names = _LENGTHS, certificate.names
    elements = "".join([sized[len(name)] + name for name in names])
    array = (
        f"{sized[20 + len(elements)]}{_ARRAY_TEXT}{sized[len(names)]}{_ONE}{elements}" if names else _EMPTY_ARRAY_TEXT
    )
    subject, issuer = certificate.subject, certificate.issuer
    return f"{sized[len(subject)]}{subject}{sized[len(issuer)]}{issuer}{array}"


def _texts(result: Result) -> bytes:
    """From location to evidence, whatever they hold."""
    certificate, evidence = result.certificate, result.evidence
    texts = (
        *(result.location, result.outcome, result.reason, result.worker),
        *(result.http_version, result.tls_version, result.tls_cipher, result.content_type),
        *(result.site_name, result.spec_digest, result.detail, result.address),
    )
    return b"".join(
        (
            *map(text_of, texts),
            NULL * 3 if certificate is None else certificate_texts(certificate),
            NULL if evidence is None else _bytes(msgspec.json.encode(evidence)),
        )
    )


def certificate_texts(certificate: Certificate) -> bytes:
    elements = b"".join(map(text_of, certificate.names))
    count = len(certificate.names)
    array = _bytes(_ARRAY + _array(count, 1) + elements) if count else _EMPTY_ARRAY
    return text_of(certificate.subject) + text_of(certificate.issuer) + array


def text_of(value: str | None) -> bytes:
    return NULL if value is None else _bytes(value.encode())


def _bytes(value: bytes) -> bytes:
    return _length(len(value)) + value
