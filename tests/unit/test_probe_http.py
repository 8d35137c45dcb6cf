"""A probe of a real local server, from the site's spec to the verdict."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trustme

from tests.guards import ON_LOOPBACK
from tests.results import a_result
from tests.servers import (
    LocalServer,
    answer,
    encoded,
    failing,
    hang,
    head,
    huge,
    in_turn,
    raw,
    redirect,
    refusing_url,
    slow,
)
from wms_tasks.codec import json_codec
from wms_tasks.net.fetch import Fetcher
from wms_tasks.persist.copy_row import COLUMNS, copy_row
from wms_tasks.probe.http import probe, request_for
from wms_tasks.probe.judge import Verdict, judge
from wms_tasks.probe.observed import Observed, observed
from wms_tasks.probe.secrets import Secrets
from wms_tasks.result import Outcome, Reason, Result
from wms_tasks.sites.record import Expect, HeaderRule, Site, TlsOptions, site_id_for

JSON_TYPE = HeaderRule(name="content-type", regexp="^application/json$")
AGENT = "wms/0.1.0 (+https://example.org/)"


@pytest.fixture(scope="module")
def server() -> Iterator[LocalServer]:
    """Pages good and bad."""
    routes = {
        "/": answer(b"all systems go"),
        "/latin": answer("grün".encode("latin-1"), headers={"Content-Type": 'text/html; charset="ISO-8859-1"'}),
        "/failing": failing(503),
        "/later": failing(503, headers={"Retry-After": "120"}),
        "/json": answer(b'{"state": "ok"}', headers={"Content-Type": "application/json"}),
        "/slow": slow(0.2),
        "/packed": encoded(b"packed", "br"),
        "/moved-twice": redirect("/moved"),
        "/moved": redirect("/?token=secret"),
        "/hang": hang,
        "/huge": huge(3 * 2**20),
        "/flaky": in_turn([failing(502), answer()]),
        "/broken-error": raw(head(500, {"Content-Length": "100"}) + b"x"),
    }
    with LocalServer(routes) as local:
        yield local


def site(url: str, *, expect: Expect | None = None, **fields: Any) -> Site:
    """A site at `url`."""
    return Site(site_id=site_id_for(url), name="a", url=url, expect=expect or Expect(), **fields)


def verdict_on(watched: Site, *, deadline_seconds: float = 5.0) -> Verdict:
    """Probe and judge."""
    seen = probe(watched, deadline_seconds=deadline_seconds, user_agent=AGENT, guard=ON_LOOPBACK, fetcher=Fetcher())
    return judge(watched, seen)


def test_a_site_that_is_up(server: LocalServer) -> None:
    """It is asked as its spec says, and told who asks."""
    verdict = verdict_on(site(server.url("/?a=1"), method="HEAD", headers={"X-Probe": "1"}))
    assert (verdict.outcome, verdict.status_code) == (Outcome.UP, 200)
    request = server.seen[-1]
    assert (request.method, request.path) == ("HEAD", "/?a=1")
    assert request.headers["user-agent"] == AGENT
    assert request.headers["x-probe"] == "1"
    assert request.headers["accept-encoding"] == "gzip"
    assert request.headers["connection"] == "close"


def test_a_sites_header_replaces_ours() -> None:
    """Once, whatever its case."""
    headers = request_for(site("http://a/", headers={"user-agent": "own", "ACCEPT": "text/html"}), AGENT).headers
    assert headers == {"user-agent": "own", "ACCEPT": "text/html", "Accept-Encoding": "gzip", "Connection": "close"}


@pytest.mark.parametrize(
    ("path", "expect", "reason", "transient"),
    [
        ("/", Expect(body_regexp="systems go"), Reason.OK, False),
        ("/", Expect(body_regexp="nothing"), Reason.REGEXP, False),
        ("/", Expect(status=("404",)), Reason.STATUS, False),
        ("/latin", Expect(body_regexp="^grün$"), Reason.OK, False),
        ("/nowhere", Expect(status=("404",)), Reason.OK, False),
        ("/failing", Expect(), Reason.STATUS, True),
        ("/later", Expect(), Reason.STATUS, False),
        ("/moved", Expect(body_regexp="go"), Reason.OK, False),
        ("/moved", Expect(status=("302",), body_regexp="moved"), Reason.OK, False),
        ("/huge", Expect(), Reason.OK, False),
        ("/huge", Expect(body_regexp="y"), Reason.TOO_LARGE, False),
        ("/broken-error", Expect(), Reason.RESET, True),
    ],
)
def test_verdicts(server: LocalServer, path: str, expect: Expect, reason: Reason, transient: bool) -> None:
    """Every expectation of a spec, met and not."""
    verdict = verdict_on(site(server.url(path), expect=expect))
    assert verdict.reason == reason
    assert verdict.outcome == (Outcome.UP if reason == Reason.OK else Outcome.DOWN)
    assert verdict.transient is transient


@pytest.mark.parametrize(
    ("path", "fields", "reason", "detail"),
    [
        (
            "/json",
            {"expect": Expect(json=("state == 'ok'",), http_versions=("1.1",), tls="forbidden")},
            Reason.OK,
            None,
        ),
        ("/json", {"expect": Expect(json=("state == 'down'",))}, Reason.JSON, "json 'state == 'down'': not true"),
        ("/json", {"expect": Expect(headers=(JSON_TYPE,))}, Reason.OK, None),
        ("/json", {"expect": Expect(not_headers=(JSON_TYPE,))}, Reason.HEADER, "header content-type is"),
        ("/json", {"expect": Expect(http_versions=("1.0",))}, Reason.HTTP_VERSION, "HTTP version 1.1, expected 1.0"),
        ("/json", {"expect": Expect(tls="required")}, Reason.SCHEME, "the answer came over http, expected https"),
        ("/json", {"expect": Expect(certificate_days=1)}, Reason.SCHEME, "no certificate"),
        ("/", {"expect": Expect(body_not_regexps=("go",))}, Reason.REGEXP, "body_not_regexp 'go' in the"),
        ("/slow", {"expect": Expect(slow_seconds=0.05)}, Reason.SLOW, "response time"),
        ("/", {"max_body_bytes": 3, "expect": Expect(body_regexp="go")}, Reason.TOO_LARGE, "not in the first 3 bytes"),
        ("/moved", {"max_redirects": 0}, Reason.STATUS, "status 302, expected 2xx"),
        ("/moved", {"max_redirects": 1}, Reason.OK, None),
        ("/moved-twice", {"max_redirects": 1}, Reason.TOO_MANY_REDIRECTS, "more than 1"),
        ("/packed", {"compression": ("br",), "expect": Expect(body_regexp="^packed$")}, Reason.OK, None),
    ],
)
def test_what_a_site_asks_for(
    server: LocalServer, path: str, fields: dict[str, Any], reason: Reason, detail: str | None
) -> None:
    """From the spec over a real connection to the verdict, and nothing expected is left unknown."""
    verdict = verdict_on(site(server.url(path), **fields))
    assert verdict.reason == reason
    assert verdict.outcome == (Outcome.UP if reason in {Reason.OK, Reason.SLOW} else Outcome.DOWN)
    assert (verdict.detail or "").startswith(detail or "") or (detail or "") in (verdict.detail or "")
    if reason != Reason.TOO_MANY_REDIRECTS:
        assert all(checked.passed is not None for checked in verdict.expectations)


@pytest.mark.parametrize(
    ("expect", "reason"),
    [
        (Expect(tls="required", certificate_days=3), Reason.OK),
        (Expect(certificate_days=30), Reason.TLS_EXPIRING),
        (Expect(tls="forbidden"), Reason.SCHEME),
    ],
)
def test_a_site_over_tls(expect: Expect, reason: Reason) -> None:
    """What is expected of https, on a certificate of an authority of the site's own that ends in a week."""
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1", not_after=datetime.now(UTC) + timedelta(days=7)).configure_cert(context)
    tls = TlsOptions(ca=authority.cert_pem.bytes().decode())
    with LocalServer({"/": answer()}, tls=context) as local:
        verdict = verdict_on(site(local.url("/"), expect=expect, tls=tls))
    assert verdict.reason == reason
    assert verdict.outcome == (Outcome.DOWN if reason == Reason.SCHEME else Outcome.UP)


@pytest.mark.parametrize("trusted", [True, False])
def test_what_is_told_of_an_answer_over_tls(trusted: bool) -> None:
    """Each field from a real connection, the certificate also where it is not trusted; as it will be written."""
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1", "localhost").configure_cert(context)
    routes = {
        "/": answer(b"hello" * 100, headers={"Content-Type": "text/plain", "Set-Cookie": "id=hunter2"}),
        "/moved": redirect("/?token=hunter3"),
        "/packed": encoded(b"hello" * 100, "gzip"),
    }
    with LocalServer(routes, tls=context) as local:
        tls = TlsOptions(ca=authority.cert_pem.bytes().decode()) if trusted else TlsOptions()
        watched = site(local.url("/moved"), tls=tls, expect=Expect(status=("404",)))
        seen = probe(watched, deadline_seconds=5, user_agent=AGENT, guard=ON_LOOPBACK)
        packed = probe(site(local.url("/packed"), tls=tls), deadline_seconds=5, user_agent=AGENT, guard=ON_LOOPBACK)
    told = observed(seen, keep="body")
    assert told.address == "127.0.0.1"
    assert told.certificate is not None
    assert {"127.0.0.1", "localhost"} <= set(told.certificate.names)
    assert told.phases is not None
    assert min(told.phases.connect_ms or 0, told.phases.tls_ms or 0) > 0
    assert b"hunter" not in msgspec.json.encode(told)
    row = row_of(told)
    assert json_codec.decode(json_codec.encode(row)) == row
    assert copy_row(row).startswith(COLUMNS.to_bytes(2, "big"))
    if not trusted:
        assert (told.http_version, told.evidence) == (None, None)
        return
    assert (told.http_version, told.redirects, told.wire_bytes, told.body_bytes) == ("1.1", 1, 500, 500)
    assert told.evidence is not None
    assert told.evidence.body == "hello" * 100
    small = observed(packed)
    assert small.body_bytes == 500
    assert 0 < (small.wire_bytes or 0) < 100


def row_of(told: Observed) -> Result:
    """A result that tells this."""
    fields: dict[str, Any] = msgspec.structs.asdict(told)
    return a_result(**fields)


def test_a_body_is_sent(server: LocalServer) -> None:
    """As it is written, with its length, and with the encodings that are wanted."""
    fields: dict[str, Any] = {"headers": {"Content-Type": "application/json"}, "compression": ()}
    verdict = verdict_on(site(server.url("/"), method="POST", body='{"wörd": 1}', **fields))
    assert verdict.outcome == Outcome.UP
    request = server.seen[-1]
    assert (request.method, request.body.decode()) == ("POST", '{"wörd": 1}')
    assert request.headers["content-type"] == "application/json"
    assert request.headers["content-length"] == "12"
    assert request.headers["accept-encoding"] == "identity"


def test_secrets_reach_the_request(tmp_path: Path) -> None:
    """Body and TLS files with their secrets in them; what is asked of the network as the site says."""
    (tmp_path / "ca.pem").write_text("PEM of an authority")
    secrets = Secrets({"WMS_SECRET_TOKEN": "swordfish"}, tmp_path)
    tls = TlsOptions(ca="${file:ca.pem}", server_name="b")
    watched = site("https://a/", method="PUT", body="token=${WMS_SECRET_TOKEN}", tls=tls, ip="prefer_4")
    request = request_for(watched, AGENT, secrets.reveal(watched))
    assert request.body == b"token=swordfish"
    assert request.tls == TlsOptions(ca="PEM of an authority", server_name="b")
    assert request.ip == "prefer_4"


def test_a_second_attempt(server: LocalServer) -> None:
    """A passing trouble is over the second time."""
    first, second = verdict_on(site(server.url("/flaky"))), verdict_on(site(server.url("/flaky")))
    assert (first.transient, second.outcome) == (True, Outcome.UP)


def test_what_cannot_be_reached(server: LocalServer) -> None:
    """Down, with the reason, no status and no time."""
    for url, reason in ((server.url("/hang"), Reason.TIMEOUT), (refusing_url(), Reason.CONNECT_REFUSED)):
        verdict = verdict_on(site(url), deadline_seconds=0.3)
        assert (verdict.outcome, verdict.reason, verdict.transient) == (Outcome.DOWN, reason, True)
        assert (verdict.status_code, verdict.response_time_ms) == (None, None)


def test_a_header_beyond_ascii(server: LocalServer) -> None:
    """Sent as UTF-8."""
    verdict = verdict_on(site(server.url("/"), headers={"X-Name": "Grüße 緑"}))
    assert verdict.outcome == Outcome.UP
    assert server.seen[-1].headers["x-name"].encode("latin-1").decode() == "Grüße 緑"


def test_where_the_answer_came_from(server: LocalServer) -> None:
    """The last url, without its query."""
    seen = probe(site(server.url("/moved")), deadline_seconds=5, user_agent=AGENT, guard=ON_LOOPBACK)
    assert (seen.url, seen.redirects) == (server.url("/"), 1)
