"""One check as a record, the same at each run: for the tests of how it is shown, and for docs/check.md."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from wms_tasks.commands.check.run import Checked, checked_of
from wms_tasks.net.hop import Hop
from wms_tasks.polite.robots import RobotsVerdict
from wms_tasks.probe.seen import Seen
from wms_tasks.result import Certificate, Phases, Reason
from wms_tasks.sites.record import Expect, HeaderRule, Site, site_id_for

NOW = datetime(2026, 3, 2, 8, 30, tzinfo=UTC)
SITE = Site(
    site_id=site_id_for("shop"),
    name="Shop",
    url="http://shop.example/",
    expect=Expect(
        body_regexp="Add to basket",
        headers=(HeaderRule(name="content-type", regexp="^text/html"),),
        slow_seconds=0.5,
        certificate_days=30,
    ),
)
CERTIFICATE = Certificate(
    subject="CN=shop.example",
    issuer="CN=R11,O=Let's Encrypt,C=US",
    names=("shop.example", "www.shop.example"),
    expires_at=NOW + timedelta(days=71, hours=5),
    chain_expires_at=NOW + timedelta(days=71, hours=5),
)
MOVED = Hop(
    url="http://shop.example/",
    status_code=301,
    address="192.0.2.10",
    http_version="1.1",
    phases=Phases(resolve_ms=21.3, connect_ms=11.8, processing_ms=13.1),
)
PAGE = Hop(
    url="https://shop.example/",
    status_code=200,
    address="192.0.2.10",
    http_version="1.1",
    tls_version="TLSv1.3",
    tls_cipher="TLS_AES_256_GCM_SHA384",
    certificate=CERTIFICATE,
    phases=Phases(resolve_ms=0.9, connect_ms=11.6, tls_ms=25.4, processing_ms=182.7, transfer_ms=31.2),
)
SEEN = Seen(
    url="https://shop.example/",
    redirects=1,
    status_code=200,
    body=b"<html>Sold out</html>" + b" " * 18_400,
    wire_bytes=5_212,
    charset="utf-8",
    headers={"content-type": "text/html; charset=utf-8", "server": "nginx", "content-length": "5212"},
    response_time_ms=298.4,
    hops=(MOVED, PAGE),
    seen_at=NOW,
)
ROBOTS = RobotsVerdict(outcome=None, reason=Reason.OK, detail="robots.txt allows it (status 200)")


def checked(site: Site = SITE, seen: Seen = SEEN) -> Checked:
    """A shop that is sold out."""
    return replace(checked_of(site, seen), robots=ROBOTS, robots_ms=68.2)
