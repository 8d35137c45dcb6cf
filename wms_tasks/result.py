"""
What we saw: one `Result` a (site, location, slot). The record is the wire format of ``{env}.scraped-metrics.v1``.

Writers use the closed enums `Outcome` and `Reason`; the record keeps plain strings, because a reader must take a
value that a newer writer invented. Instants are aware UTC.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from uuid import UUID

import msgspec

from wms_tasks.prepared import prepared

SCHEMA_VERSION = 1


class Outcome(StrEnum):
    """How a slot ended. ``skipped``: we decided not to probe. ``missed``: we failed to."""

    UP = "up"
    DOWN = "down"
    SKIPPED = "skipped"
    MISSED = "missed"


class Reason(StrEnum):
    """Why. Lower-case words, because they become labels and rows."""

    OK = "ok"
    DNS = "dns"
    CONNECT_REFUSED = "connect_refused"
    CONNECT_TIMEOUT = "connect_timeout"
    CONNECT_FAILED = "connect_failed"
    TLS_EXPIRED = "tls_expired"
    TLS_HOSTNAME = "tls_hostname"
    TLS_UNTRUSTED = "tls_untrusted"
    TLS_OTHER = "tls_other"
    TIMEOUT = "timeout"
    RESET = "reset"
    PROTOCOL = "protocol"
    TOO_MANY_REDIRECTS = "too_many_redirects"
    STATUS = "status"
    REGEXP = "regexp"
    HEADER = "header"
    JSON = "json"
    HTTP_VERSION = "http_version"
    SCHEME = "scheme"
    TOO_LARGE = "too_large"
    BLOCKED_ADDRESS = "blocked_address"
    # Up all the same.
    SLOW = "slow"
    TLS_EXPIRING = "tls_expiring"
    ROBOTS = "robots"
    ROBOTS_UNREACHABLE = "robots_unreachable"
    RATE_LIMITED = "rate_limited"
    OFFLINE = "offline"
    SECRET = "secret"
    # Of missed slots; docs/ledger.md says what each proves.
    SCHEDULER_DOWN = "scheduler_down"
    BROKER_DOWN = "broker_down"
    EXPIRED = "expired"
    WORKER_LOST = "worker_lost"
    NOT_PUBLISHED = "not_published"
    REJECTED = "rejected"
    WORKER_TOO_OLD = "worker_too_old"
    LOST_IN_KAFKA = "lost_in_kafka"
    UNKNOWN = "unknown"


# Of missed slots, and where the site is not asked at all: no attempt ends for these.
MISSED_REASONS = frozenset(
    {
        Reason.SCHEDULER_DOWN,
        Reason.BROKER_DOWN,
        Reason.EXPIRED,
        Reason.WORKER_LOST,
        Reason.NOT_PUBLISHED,
        Reason.REJECTED,
        Reason.WORKER_TOO_OLD,
        Reason.LOST_IN_KAFKA,
        Reason.UNKNOWN,
    }
)
NOT_ASKED_REASONS = frozenset(
    {Reason.ROBOTS, Reason.ROBOTS_UNREACHABLE, Reason.RATE_LIMITED, Reason.OFFLINE, Reason.SECRET}
)


class RejectReason(StrEnum):
    """Why a message became no row; open when read, as `Reason` is."""

    UNDECODABLE = "undecodable"
    UNSTORABLE = "unstorable"
    NO_PARTITION = "no_partition"


class Certificate(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """
    The peer's certificate, verified or not. ``names`` are its DNS names and addresses; ``chain_expires_at`` is the
    earliest end of those that the peer sent. Instants are aware UTC.
    """

    subject: str
    issuer: str
    names: tuple[str, ...]
    expires_at: datetime
    chain_expires_at: datetime


class Phases(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """
    Where the time of all hops together went, in milliseconds; blackbox_exporter's words. None: not reached, or not
    needed (``tls_ms`` over http, ``resolve_ms`` for an address). A phase that failed has the time until then.
    """

    resolve_ms: float | None = None
    connect_ms: float | None = None
    tls_ms: float | None = None
    processing_ms: float | None = None
    transfer_ms: float | None = None


class Evidence(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Of an answer that was not as expected: headers without Set-Cookie, and the body's first 2 KiB where asked for."""

    headers: dict[str, str]
    body: str | None = None


@prepared
class Result(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """
    One probe's end, exactly one a slot. Identity: (site_id, location, scheduled_at).

    ``scheduled_at`` is the slot, ``due_at`` the slot plus its jitter, ``started_at`` when the last attempt began
    (None where nothing was sent to the site). ``response_time_ms`` runs from the first byte we sent to the last we
    read, redirects included. ``matched`` is None where no body regexp was asked for or no body was read. ``detail``
    is one redacted line. ``spec_digest`` names the version of the site's spec that was probed.

    From ``address`` to ``certificate``, what the last hop was; None where it was not reached, and in messages of
    releases before 0.2. ``wire_bytes`` is the body as it came, ``body_bytes`` as decoded, both as far as read.

    The order is that of the JSON: first what stays the same for a site from slot to slot, which persist knows by its
    bytes (persist/json_row.py). Readers need not care.
    """

    schema_version: int = SCHEMA_VERSION
    site_id: UUID
    site_name: str
    location: str
    spec_digest: str
    address: str | None = None
    http_version: str | None = None
    tls_version: str | None = None
    tls_cipher: str | None = None
    content_type: str | None = None
    certificate: Certificate | None = None
    scheduled_at: datetime
    due_at: datetime
    started_at: datetime | None
    attempt: int
    outcome: str
    reason: str
    detail: str | None
    status_code: int | None
    response_time_ms: float | None
    matched: bool | None
    redirects: int | None = None
    wire_bytes: int | None = None
    body_bytes: int | None = None
    phases: Phases | None = None
    evidence: Evidence | None = None
    worker: str
