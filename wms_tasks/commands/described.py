"""
A stored result in words: all that is known of it, one line each. Pure.

What came from a stranger's server is made printable, so that it cannot steer the reader's terminal.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from wms_tasks.commands.columns import instant, milliseconds, printable
from wms_tasks.result import Certificate, Evidence, Phases
from wms_tasks.store.read import StoredResult

_NAME_WIDTH = 16


def phases_in_short(phases: Phases | None) -> str:
    """``1+12+30+40+5``: whole milliseconds of each phase, - where there was none; empty for no phases at all."""
    if phases is None:
        return ""
    return "+".join("-" if value is None else f"{value:.0f}" for value in msgspec.structs.astuple(phases))


def described(result: StoredResult) -> Iterator[str]:
    """A heading, then a line for each thing that is known; a body's own lines are indented below it."""
    yield printable(f"{instant(result.scheduled_at)}  {result.site_name}  {result.location}  {result.outcome}")
    for name, value in _facts(result):
        if value:
            yield f"  {name:{_NAME_WIDTH}}{printable(value)}"
    if result.evidence is not None:
        yield from _evidence(result.evidence)


def _facts(result: StoredResult) -> Iterator[tuple[str, str]]:
    yield "reason", result.reason if result.detail is None else f"{result.reason}: {result.detail}"
    yield "status", _number(result.status_code)
    yield "matched", "" if result.matched is None else str(result.matched).lower()
    yield "attempt", str(result.attempt)
    yield "due", instant(result.due_at)
    yield "started", instant(result.started_at)
    yield "stored", instant(result.stored_at)
    yield "time", milliseconds(result.response_time_ms)
    for name, value in msgspec.structs.asdict(result.phases or Phases()).items():
        yield f"  {name.removesuffix('_ms')}", milliseconds(value)
    yield "address", result.address or ""
    yield "http", result.http_version or ""
    yield "tls", " ".join(filter(None, (result.tls_version, result.tls_cipher)))
    yield "redirects", _number(result.redirects)
    yield "wire bytes", _number(result.wire_bytes)
    yield "body bytes", _number(result.body_bytes)
    yield "content type", result.content_type or ""
    if result.certificate is not None:
        yield from _certificate(result.certificate)
    yield "worker", result.worker
    yield "spec", result.spec_digest


def _certificate(certificate: Certificate) -> Iterator[tuple[str, str]]:
    yield "certificate", certificate.subject
    yield "  issuer", certificate.issuer
    yield "  names", ", ".join(certificate.names)
    yield "  expires", instant(certificate.expires_at)
    yield "  chain expires", instant(certificate.chain_expires_at)


def _evidence(evidence: Evidence) -> Iterator[str]:
    for name, value in evidence.headers.items():
        yield f"  {'answered':{_NAME_WIDTH}}{printable(f'{name}: {value}')}"
    for line in (evidence.body or "").splitlines():
        yield f"  {'body':{_NAME_WIDTH}}{printable(line)}"


def _number(value: int | None) -> str:
    return "" if value is None else f"{value:,}"
