"""
What Prometheus is told of each site, under the names that blackbox_exporter has for it, so that dashboards and alerts
made for that one work. Values in, text out; no input or output.

store/site_facts.py reads the values, roles/site_series.py serves the text on /metrics/sites; docs/reference/metrics.md
is made from `SERIES`. Written here and not by prometheus_client: 2,000 sites have 40,000 samples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import takewhile
from typing import NamedTuple

from wms_tasks.result import Outcome, Reason

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_ANSWERS = frozenset({str(Outcome.UP), str(Outcome.DOWN)})
_BY_REGEXP = frozenset({str(Reason.REGEXP), str(Reason.HEADER)})
_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteFacts:
    """
    A site that is scheduled now, seen from one location: its newest row, and its newest answer.

    An answer is a row that is up or down; from ``answer`` (its outcome) on, None where none is new enough. ``recent``:
    the outcomes of the newest rows, newest first.
    """

    url: str
    site_name: str
    location: str
    timeout_seconds: float
    outcome: str
    reason: str
    scheduled_at: datetime
    recent: list[str]
    answer: str | None = None
    answer_reason: str | None = None
    status_code: int | None = None
    response_time_ms: float | None = None
    address: str | None = None
    http_version: str | None = None
    tls_version: str | None = None
    tls_cipher: str | None = None
    redirects: int | None = None
    wire_bytes: int | None = None
    body_bytes: int | None = None
    resolve_ms: float | None = None
    connect_ms: float | None = None
    tls_ms: float | None = None
    processing_ms: float | None = None
    transfer_ms: float | None = None
    chain_expires_at: datetime | None = None

    @property
    def down_slots(self) -> int:
        """How many of the newest answers, one after the other, were down."""
        answers = [one for one in self.recent if one in _ANSWERS]
        return sum(1 for _ in takewhile(lambda one: one == Outcome.DOWN, answers))

    @property
    def phases(self) -> dict[str, float | None]:
        """blackbox_exporter's, in milliseconds."""
        return {
            "resolve": self.resolve_ms,
            "connect": self.connect_ms,
            "tls": self.tls_ms,
            "processing": self.processing_ms,
            "transfer": self.transfer_ms,
        }


# What a series is, of one site: further labels by name, and the value. No pairs: it has none.
Read = Callable[[SiteFacts], Iterable[tuple[dict[str, str], float]]]


class Series(NamedTuple):
    """One name. ``labels``: those beside instance, site and location."""

    name: str
    text: str
    labels: tuple[str, ...]
    read: Read


def _always(value: Callable[[SiteFacts], float]) -> Read:
    return lambda one: [({}, value(one))]


def _answered(value: Callable[[SiteFacts], float | None]) -> Read:
    """Only where there is an answer, and it has this."""

    def read(one: SiteFacts) -> Iterable[tuple[dict[str, str], float]]:
        found = value(one) if one.answer is not None else None
        return () if found is None else (({}, found),)

    return read


def _info(label: str, value: Callable[[SiteFacts], str | None]) -> Read:
    def read(one: SiteFacts) -> Iterable[tuple[dict[str, str], float]]:
        found = value(one) if one.answer is not None else None
        return () if found is None else (({label: found}, 1),)

    return read


def _duration(one: SiteFacts) -> float | None:
    """All of the probe, DNS included, as far as it came; of a row that is older than phases, without DNS."""
    spent = [value for value in one.phases.values() if value is not None]
    milliseconds = sum(spent) if spent else one.response_time_ms
    return None if milliseconds is None else milliseconds / 1000


def _phases(one: SiteFacts) -> Iterable[tuple[dict[str, str], float]]:
    """All five or none: what a probe did not need took no time."""
    if one.answer is None or not any(value is not None for value in one.phases.values()):
        return ()
    return [({"phase": name}, (value or 0.0) / 1000) for name, value in one.phases.items()]


def _version(one: SiteFacts) -> float:
    text = one.http_version or ""
    return float(text) if text.replace(".", "", 1).isdecimal() else 0.0


def _expiry(one: SiteFacts) -> float | None:
    return None if one.chain_expires_at is None else one.chain_expires_at.timestamp()


def _protocol(one: SiteFacts) -> float | None:
    return None if one.address is None else 6.0 if ":" in one.address else 4.0


def _tls(one: SiteFacts) -> str | None:
    return None if one.tls_version is None else f"TLS {one.tls_version}"


SERIES: tuple[Series, ...] = (
    Series(
        "probe_success", "1 if the site was up, 0 if it was down.", (), _answered(lambda one: one.answer == Outcome.UP)
    ),
    Series("probe_duration_seconds", "How long the probe took, its DNS lookup included.", (), _answered(_duration)),
    Series("probe_timeout_seconds", "How long it might have taken.", (), _answered(lambda one: one.timeout_seconds)),
    Series(
        "probe_dns_lookup_time_seconds",
        "Of that, the DNS lookup; 0 for an address.",
        (),
        _answered(lambda one: None if not _phases(one) else (one.resolve_ms or 0.0) / 1000),
    ),
    Series("probe_http_duration_seconds", "Where the time went, all hops together.", ("phase",), _phases),
    Series("probe_http_status_code", "The answer's; 0 without one.", (), _answered(lambda one: one.status_code or 0)),
    Series("probe_http_redirects", "How many were followed.", (), _answered(lambda one: one.redirects or 0)),
    Series("probe_http_ssl", "1 if the last hop was https.", (), _answered(lambda one: one.tls_version is not None)),
    Series("probe_http_version", "HTTP's version; 0 without an answer.", (), _answered(_version)),
    Series(
        "probe_http_content_length",
        "Bytes of the body as they came, as far as it was read.",
        (),
        _answered(lambda one: one.wire_bytes),
    ),
    Series(
        "probe_http_uncompressed_body_length",
        "Bytes of the body as decoded, as far as it was read.",
        (),
        _answered(lambda one: one.body_bytes),
    ),
    Series(
        "probe_failed_due_to_regex",
        "1 if a regexp of its body or headers is why it is down.",
        (),
        _answered(lambda one: one.answer == Outcome.DOWN and one.answer_reason in _BY_REGEXP),
    ),
    Series("probe_ip_protocol", "4 or 6; absent where nothing was connected to.", (), _answered(_protocol)),
    Series(
        "probe_ssl_earliest_cert_expiry",
        "When the first of the certificates that the server sent ends, also where it was refused; seconds since 1970.",
        (),
        _answered(_expiry),
    ),
    Series("probe_tls_version_info", "The last hop's TLS; always 1.", ("version",), _info("version", _tls)),
    Series("probe_tls_cipher_info", "Its cipher; always 1.", ("cipher",), _info("cipher", lambda one: one.tls_cipher)),
    Series(
        "wms_site_down_slots",
        "How many of the newest answers, one after the other, were down; up to ten are looked at.",
        (),
        _answered(lambda one: one.down_slots),
    ),
    Series(
        "wms_site_outcome_info",
        "How the newest slot ended, also where the site was not asked; always 1.",
        ("outcome", "reason"),
        lambda one: [({"outcome": one.outcome, "reason": one.reason}, 1)],
    ),
    Series(
        "wms_site_slot_timestamp_seconds",
        "When that slot began, in seconds since 1970.",
        (),
        _always(lambda one: one.scheduled_at.timestamp()),
    ),
)


# What blackbox_exporter says beside these, and a row knows nothing of; * is the rest of a name.
NOT_THERE = ("probe_ssl_last_chain_*", "probe_http_last_modified_timestamp_seconds", "probe_ip_addr_hash")


def page(facts: Sequence[SiteFacts]) -> bytes:
    """All series of these sites in Prometheus' text form; of a name without a sample nothing."""
    places = [(one, _labels({"instance": one.url, "site": one.site_name, "location": one.location})) for one in facts]
    lines: list[str] = []
    for series in SERIES:
        samples = [
            f"{series.name}{{{place}{',' if more else ''}{_labels(more)}}} {_text(value)}"
            for one, place in places
            for more, value in series.read(one)
        ]
        if samples:
            lines += [f"# HELP {series.name} {series.text}", f"# TYPE {series.name} gauge", *samples]
    return "".join(f"{line}\n" for line in lines).encode("utf-8", "replace")


def nothing(why: str) -> bytes:
    """A page without series that says why, to who looks at it."""
    return f"# No series: {why}.\n".encode()


def _labels(found: dict[str, str]) -> str:
    return ",".join(f'{name}="{text.translate(_ESCAPES)}"' for name, text in found.items())


def _text(value: float) -> str:
    return repr(float(value)) if isinstance(value, float) else str(int(value))
