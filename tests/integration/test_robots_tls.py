"""robots.txt over https and by address family: fetched with what the site itself is asked with."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
import trustme

from tests.filling import ended, slot, worker
from tests.guards import ON_LOOPBACK
from tests.servers import LocalServer, answer
from wms_tasks.polite.robots import Robots
from wms_tasks.polite.store import MemoryRobotsStore
from wms_tasks.polite.way import way_of
from wms_tasks.probe.secrets import Secrets
from wms_tasks.result import Outcome, Reason
from wms_tasks.sites.record import Site, TlsOptions, site_id_for

AUTHORITY = trustme.CA()
CA = AUTHORITY.cert_pem.bytes().decode()
ROUTES = {"/": answer(), "/private": answer(), "/robots.txt": answer(b"User-agent: *\nDisallow: /private\n")}


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    """An empty Redis."""
    with redis.Redis.from_url(redis_url) as connected:
        connected.flushdb()
        yield connected


@pytest.fixture
def server() -> Iterator[LocalServer]:
    """A site whose certificate is from an authority of its own."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    AUTHORITY.issue_cert("127.0.0.1").configure_cert(context)
    with LocalServer(ROUTES, tls=context) as local:
        yield local


@pytest.fixture
def demanding_server() -> Iterator[LocalServer]:
    """The same, for clients that show a certificate."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    AUTHORITY.issue_cert("127.0.0.1").configure_cert(context)
    AUTHORITY.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    with LocalServer(ROUTES, tls=context) as local:
        yield local


def test_an_authority_of_ones_own_serves_robots_txt_too(client: redis.Redis, server: LocalServer) -> None:
    """Allowed pages are probed and forbidden ones are not; without the authority the origin is down for robots.txt."""
    trusting = {"robots": "respect", "tls": TlsOptions(ca=CA)}
    assert ended(slot(server.url("/"), **trusting), worker(client)).outcome == Outcome.UP
    forbidden = ended(slot(server.url("/private"), **trusting), worker(client))
    assert (forbidden.outcome, forbidden.reason) == (Outcome.SKIPPED, Reason.ROBOTS)
    plain = ended(slot(server.url("/"), name="plain", robots="respect"), worker(client))
    assert (plain.outcome, plain.reason) == (Outcome.DOWN, Reason.TLS_UNTRUSTED)
    assert "robots.txt" in (plain.detail or "")
    assert server.count("/robots.txt") == 1
    assert ended(slot(server.url("/"), **trusting), worker(client)).outcome == Outcome.UP


def test_secrets_are_resolved_for_it(client: redis.Redis, demanding_server: LocalServer, tmp_path: Path) -> None:
    """A client certificate from a file; where it is not there, nothing is asked of anybody, and the slot says why."""
    leaf = AUTHORITY.issue_cert("client@example.org")
    tls = TlsOptions(ca="${file:ca.pem}", certificate="${file:client.pem}")
    asked = {"robots": "respect", "tls": tls}
    secrets = Secrets({}, tmp_path)
    (tmp_path / "ca.pem").write_text(CA, encoding="utf-8")
    missing = ended(slot(demanding_server.url("/"), **asked), worker(client, secrets))
    assert (missing.outcome, missing.reason, missing.started_at) == (Outcome.SKIPPED, Reason.SECRET, None)
    assert "${file:client.pem}" in (missing.detail or "")
    assert demanding_server.seen == []
    (tmp_path / "client.pem").write_bytes(leaf.private_key_and_cert_chain_pem.bytes())
    assert ended(slot(demanding_server.url("/"), **asked), worker(client, secrets)).outcome == Outcome.UP
    assert [request.path for request in demanding_server.seen] == ["/robots.txt", "/"]
    kept = b"".join(client.keys("*") + [client.get(key) or b"" for key in client.keys("*robots*")])
    assert b"PRIVATE KEY" not in kept


def test_the_address_family_is_the_sites() -> None:
    """A host that has none of that family cannot be reached, by robots.txt as by the page."""
    with LocalServer(ROUTES) as local:
        url, found = local.url("/"), Robots(MemoryRobotsStore(), user_agent="wms/0.1.0 (+x)")
        four = found.fetch(url, deadline_seconds=5, guard=ON_LOOPBACK, ip="4", way="four")
        six = found.fetch(url, deadline_seconds=5, guard=ON_LOOPBACK, ip="6", way="six")
    assert (four.outcome, six.outcome, six.reason) == (None, Outcome.DOWN, Reason.DNS)


def test_ways_to_one_origin_are_told_apart() -> None:
    """By what decides how a connection is made, and by nothing else; never by a secret's value."""

    def way(**fields: object) -> str:
        return way_of(Site(site_id=site_id_for("x"), name="x", url="https://example.org/", **fields))  # type: ignore[arg-type]

    ways = [way(), way(ip="6"), way(tls=TlsOptions(verify=False)), way(tls=TlsOptions(ca="${file:ca.pem}"))]
    assert ways[0] == way(retries=3, headers={"X-A": "b"}) == ""
    assert len(set(ways)) == len(ways)
    assert ways[3] == way(tls=TlsOptions(ca="${file:ca.pem}"))
