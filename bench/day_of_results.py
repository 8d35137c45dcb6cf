"""Results as the worker writes them by default: https sites with their certificates, nearly all up, a day ago. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from uuid import UUID, uuid5

from wms_tasks.result import Certificate, Evidence, Phases, Result

INTERVAL_SECONDS = 30
# Of so many results one is down, with what its site answered; of so many sites one is plain http.
DOWN_ONE_IN = 100
HTTP_ONE_IN = 5
_SITES = UUID("5c2a4a9e-6f0b-4d53-9a44-7d0a5b8f1c11")


def site_id(site: int) -> UUID:
    """The id of the site of this number."""
    return uuid5(_SITES, str(site))


def day_of_results(count: int, *, sites: int, day: date) -> Iterator[Result]:
    """So many, of these sites in turn, each site's `INTERVAL_SECONDS` apart, from noon (UTC) of the day on."""
    noon = datetime.combine(day, time(12), UTC)
    certificates = [None if site % HTTP_ONE_IN == 0 else _certificate(site, noon) for site in range(sites)]
    ids = [site_id(site) for site in range(sites)]
    for number in range(count):
        round_number, site = divmod(number, sites)
        slot = noon + timedelta(seconds=round_number * INTERVAL_SECONDS, microseconds=site * 2_987 % 30_000_000)
        yield _result(number, site, ids[site], slot, certificates[site])


def _result(number: int, site: int, of: UUID, slot: datetime, certificate: Certificate | None) -> Result:
    down = number % DOWN_ONE_IN == DOWN_ONE_IN - 1
    due_at = slot + timedelta(microseconds=number * 7_919 % 3_000_000)
    connect_ms = 4.0 + number % 89 / 7
    tls_ms = 2.1 * connect_ms if certificate is not None else None
    processing_ms = 21.0 + number % 1_013 / 11
    phases = Phases(
        resolve_ms=0.125 + number % 13 / 9,
        connect_ms=connect_ms,
        tls_ms=tls_ms,
        processing_ms=processing_ms,
        transfer_ms=0.25 + number % 17 / 3,
    )
    return Result(
        site_id=of,
        site_name=f"shop-{site}.example.com",
        location="local",
        scheduled_at=slot,
        due_at=due_at,
        started_at=due_at + timedelta(microseconds=1_500 + number % 997),
        attempt=1,
        outcome="down" if down else "up",
        reason="status" if down else "ok",
        detail="status 503, expected 2xx" if down else None,
        status_code=503 if down else 200,
        response_time_ms=processing_ms + 0.25 + number % 17 / 3,
        matched=None,
        worker="probe-7d9c6b5f4-x2x7k",
        spec_digest="0123456789abcdef",
        address=f"203.0.113.{site % 250}",
        http_version="1.1",
        tls_version=None if certificate is None else "1.3",
        tls_cipher=None if certificate is None else "TLS_AES_256_GCM_SHA384",
        redirects=0,
        wire_bytes=11_400 + number % 9_000,
        body_bytes=48_000 + number % 30_000,
        content_type="text/html; charset=utf-8",
        phases=phases,
        certificate=certificate,
        evidence=Evidence(headers={"server": "nginx", "retry-after": "120", "content-length": "162"}) if down else None,
    )


def _certificate(site: int, now: datetime) -> Certificate:
    name = f"shop-{site}.example.com"
    expires_at = now.replace(microsecond=0) + timedelta(days=20 + site % 70)
    return Certificate(
        subject=f"CN={name}",
        issuer="CN=R11,O=Let's Encrypt,C=US",
        names=(name, f"www.{name}"),
        expires_at=expires_at,
        chain_expires_at=expires_at,
    )
