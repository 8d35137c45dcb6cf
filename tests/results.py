"""Results for tests: one good one with changes, and hypothesis' every one that can be written to the wire."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from hypothesis import strategies as st

from wms_tasks.result import Certificate, Evidence, Outcome, Phases, Reason, Result

SITE_ID = UUID("9f0e2f60-3f5e-5c0b-9f0e-77656273697a")

_GOOD: dict[str, Any] = {
    "site_id": SITE_ID,
    "site_name": "example",
    "location": "local",
    "scheduled_at": datetime(2026, 11, 23, 7, 0, tzinfo=UTC),
    "due_at": datetime(2026, 11, 23, 7, 0, 1, tzinfo=UTC),
    "started_at": datetime(2026, 11, 23, 7, 0, 1, 500, tzinfo=UTC),
    "attempt": 1,
    "outcome": "up",
    "reason": "ok",
    "detail": None,
    "status_code": 200,
    "response_time_ms": 12.5,
    "matched": None,
    "worker": "test",
    "spec_digest": "0123456789abcdef",
}


def a_result(**changes: Any) -> Result:
    """A good result with these fields changed."""
    return Result(**(_GOOD | changes))


# With every field filled, as a failure of an https site has them.
FULL: dict[str, Any] = {
    "outcome": "down",
    "reason": "status",
    "detail": "status 503, expected 2xx",
    "status_code": 503,
    "matched": False,
    "address": "2001:db8::1",
    "http_version": "1.1",
    "tls_version": "1.3",
    "tls_cipher": "TLS_AES_256_GCM_SHA384",
    "redirects": 1,
    "wire_bytes": 5_000_000_000,
    "body_bytes": 2_048,
    "content_type": 'text/html; charset="utf-8"',
    "phases": Phases(resolve_ms=1.5, connect_ms=2.25, tls_ms=30.125, processing_ms=40.0, transfer_ms=5.5),
    "certificate": Certificate(
        subject="CN=www.example.com",
        issuer='CN="Some, CA" \\1,C=DE',
        names=("www.example.com", "example.com", 'a"b\\c,{d}', "tab\there", "NULL", ""),
        expires_at=datetime(2027, 1, 2, 3, 4, 5, tzinfo=UTC),
        chain_expires_at=datetime(2026, 12, 2, 3, 4, 5, tzinfo=UTC),
    ),
    "evidence": Evidence(
        headers={"server": "nginx\\1", "retry-after": "120", "x": 'quote " and tab \t'},
        body="<h1>\nBusy\\n ü \x07</h1>",
    ),
}


# Every character that UTF-8 has, NUL and controls included; lone surrogates are no text.
TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=40)
INSTANTS = st.datetimes(timezones=st.just(UTC))
COUNTS = st.integers(0, 2**31 - 1)
TIMES = st.floats(allow_nan=False, allow_infinity=False)
RESULTS = st.builds(
    Result,
    site_id=st.uuids(),
    site_name=TEXTS,
    location=TEXTS.filter(bool),
    scheduled_at=INSTANTS,
    due_at=INSTANTS,
    started_at=st.none() | INSTANTS,
    attempt=COUNTS,
    outcome=st.sampled_from([str(one) for one in Outcome]),
    reason=st.sampled_from([str(one) for one in Reason]),
    detail=st.none() | TEXTS,
    status_code=st.none() | COUNTS,
    response_time_ms=st.none() | TIMES,
    matched=st.none() | st.booleans(),
    worker=TEXTS,
    spec_digest=TEXTS,
    address=st.none() | TEXTS,
    http_version=st.none() | TEXTS,
    tls_version=st.none() | TEXTS,
    tls_cipher=st.none() | TEXTS,
    redirects=st.none() | COUNTS,
    wire_bytes=st.none() | st.integers(0, 2**63 - 1),
    body_bytes=st.none() | st.integers(0, 2**63 - 1),
    content_type=st.none() | TEXTS,
    phases=st.none() | st.builds(Phases, **{name: st.none() | TIMES for name in Phases.__struct_fields__}),
    certificate=st.none()
    | st.builds(
        Certificate,
        subject=TEXTS,
        issuer=TEXTS,
        names=st.lists(TEXTS, max_size=5).map(tuple),
        expires_at=INSTANTS,
        chain_expires_at=INSTANTS,
    ),
    evidence=st.none() | st.builds(Evidence, headers=st.dictionaries(TEXTS, TEXTS, max_size=5), body=st.none() | TEXTS),
)
