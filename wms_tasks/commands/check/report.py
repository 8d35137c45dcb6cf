"""A check as one JSON object: docs/check.md lists its keys, which stay. Pure; no secret comes here."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

import msgspec

from wms_tasks.commands.check.hint import hint_for
from wms_tasks.commands.check.run import Checked
from wms_tasks.commands.check.sources import Setting
from wms_tasks.net.hop import Hop
from wms_tasks.polite.robots import RobotsVerdict
from wms_tasks.probe.expectations import Checked as Expectation
from wms_tasks.result import Certificate, Phases, Reason

_DAY = timedelta(days=1)


def robots_word(robots: RobotsVerdict | None) -> str:
    """What robots.txt said, in a word or two; ``ignored`` where it was not asked."""
    if robots is None:
        return "ignored"
    if robots.outcome is None:
        return "allowed"
    return {Reason.ROBOTS: "forbidden", Reason.BLOCKED_ADDRESS: "not asked"}.get(robots.reason, "unreachable")


def days_left(until: datetime, now: datetime) -> int:
    """Whole days, below zero once it is over."""
    return (until - now) // _DAY


def as_json(checked: Checked, settings: Iterable[Setting] | None = None) -> str:
    """
    One object on one line; names as in the stored results. Milliseconds to the microsecond, instants as ISO 8601.

    Args:
        settings: where each came from, for the key ``settings``, which is else left out.
    """
    report = _report(checked)
    if settings is not None:
        report["settings"] = [setting._asdict() for setting in settings]
    return json.dumps(report, ensure_ascii=False)


def _report(checked: Checked) -> dict[str, Any]:
    verdict, met, robots = checked.verdict, checked.observed, checked.robots
    return {
        "site": checked.site.name,
        "enabled": checked.enabled,
        "url": checked.site.url,
        "method": checked.site.method,
        "checked_at": checked.checked_at.isoformat(),
        "outcome": verdict.outcome,
        "reason": verdict.reason,
        "detail": verdict.detail,
        "hint": hint_for(checked),
        "status_code": verdict.status_code,
        "response_time_ms": _rounded(verdict.response_time_ms),
        "matched": verdict.matched,
        "robots": robots_word(robots),
        "robots_detail": robots.detail if robots else None,
        "robots_ms": _rounded(checked.robots_ms),
        "robots_hops": [_hop(hop, checked.checked_at) for hop in checked.robots_hops],
        "crawl_delay_seconds": robots.crawl_delay_seconds if robots else None,
        "redirects": met.redirects or 0,
        "final_url": checked.final_url,
        "address": met.address,
        "http_version": met.http_version,
        "tls_version": met.tls_version,
        "tls_cipher": met.tls_cipher,
        "content_type": met.content_type,
        "wire_bytes": met.wire_bytes,
        "body_bytes": met.body_bytes,
        "truncated": checked.truncated,
        "phases": _phases(met.phases),
        "certificate": _certificate(checked.certificate, checked.checked_at),
        "hops": [_hop(hop, checked.checked_at) for hop in checked.hops],
        "expectations": [_expectation(one) for one in verdict.expectations],
        "evidence": None if met.evidence is None else msgspec.structs.asdict(met.evidence),
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def _phases(phases: Phases | None) -> dict[str, float | None] | None:
    if phases is None:
        return None
    return {name: _rounded(value) for name, value in msgspec.structs.asdict(phases).items()}


def _certificate(certificate: Certificate | None, now: datetime) -> dict[str, Any] | None:
    if certificate is None:
        return None
    return {
        "subject": certificate.subject,
        "issuer": certificate.issuer,
        "names": list(certificate.names),
        "expires_at": certificate.expires_at.isoformat(),
        "days_left": days_left(certificate.expires_at, now),
        "chain_expires_at": certificate.chain_expires_at.isoformat(),
        "chain_days_left": days_left(certificate.chain_expires_at, now),
    }


def _hop(hop: Hop, now: datetime) -> dict[str, Any]:
    return {
        "url": hop.url,
        "status_code": hop.status_code,
        "address": hop.address,
        "http_version": hop.http_version,
        "tls_version": hop.tls_version,
        "tls_cipher": hop.tls_cipher,
        "phases": _phases(hop.phases),
        "certificate": _certificate(hop.certificate, now),
    }


def _expectation(one: Expectation) -> dict[str, Any]:
    return {"name": one.name, "passed": one.passed, "expected": one.expected, "found": one.found}
