"""What is noted of each hop: phases on the monotonic clock, address, HTTP version; also of one that failed."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from tests.guards import ON_LOOPBACK
from tests.servers import LocalServer, answer, black_hole, close, hang, head, raw, redirect, refusing_url, repeat, slow
from wms_tasks.net.fetch import Answer, Fetcher
from wms_tasks.net.hop import Hop, sum_of
from wms_tasks.net.redirect import Request
from wms_tasks.net.resolve import Resolver
from wms_tasks.result import Phases, Reason

BODY_SECONDS = 0.2


def _slowly(*_: object) -> list[object]:
    threading.Event().wait(0.1)
    return [(2, 1, 6, "", ("127.0.0.1", 0))]


@pytest.fixture(scope="module")
def server() -> Iterator[LocalServer]:
    """Pages that take their time in one phase each."""
    late_body = repeat(b"x", first=head(headers={"Content-Length": "2"}), every_seconds=BODY_SECONDS)
    old = raw(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok")
    routes = {"/": answer(), "/slow": slow(0.2), "/late-body": late_body, "/old": old, "/close": close, "/hang": hang}
    with LocalServer(routes | {"/there": redirect("/slow?token=secret"), "/loop": redirect("/loop")}) as local:
        yield local


def get(url: str, fetcher: Fetcher | None = None, *, deadline_seconds: float = 10.0) -> Answer:
    """A GET."""
    request = Request(method="GET", url=url)
    return (fetcher or Fetcher()).fetch(request, deadline_seconds=deadline_seconds, guard=ON_LOOPBACK)


def reached(hop: Hop) -> set[str]:
    """The phases that have a time, which is never negative."""
    found = {name: getattr(hop.phases, name) for name in Phases.__struct_fields__}
    assert all(value is None or value >= 0 for value in found.values())
    return {name for name, value in found.items() if value is not None}


def test_a_plain_page(server: LocalServer) -> None:
    """Everything but the resolver, which an address does not need, and TLS."""
    got = get(server.url("/"))
    (hop,) = got.hops
    assert reached(hop) == {"connect_ms", "processing_ms", "transfer_ms"}
    assert (hop.address, hop.http_version, hop.status_code) == ("127.0.0.1", "1.1", 200)
    assert (hop.tls_version, hop.tls_cipher, hop.certificate) == (None, None, None)
    assert hop.url == server.url("/")


def test_each_phase_gets_its_time(server: LocalServer) -> None:
    """A slow resolver, a slow head, a slow body: each is seen where it is, and the sum is the response time."""
    got = get(server.url("/slow", host="slow.example"), Fetcher(resolver=Resolver(_slowly)))
    phases = got.hops[0].phases
    assert phases.resolve_ms is not None
    assert phases.processing_ms is not None
    assert phases.resolve_ms > 95
    assert phases.processing_ms > 195

    got = get(server.url("/late-body"))
    phases = got.hops[0].phases
    assert phases.transfer_ms is not None
    assert phases.processing_ms is not None
    assert phases.transfer_ms > 950 * BODY_SECONDS > phases.processing_ms
    assert got.elapsed_ms is not None
    parts = [getattr(phases, name) for name in Phases.__struct_fields__]
    assert sum(part for part in parts if part is not None) == pytest.approx(got.elapsed_ms)


def test_an_older_http(server: LocalServer) -> None:
    """1.0 is said to be that."""
    assert get(server.url("/old")).hops[0].http_version == "1.0"


def test_a_hop_each(server: LocalServer) -> None:
    """In order, without queries, the redirect without a transfer; and their sum."""
    first, second = hops = get(server.url("/there")).hops
    assert (first.url, first.status_code) == (server.url("/there"), 302)
    assert (second.url, second.status_code) == (server.url("/slow"), 200)
    assert reached(first) == {"connect_ms", "processing_ms"}
    whole = sum_of(hops)
    assert whole.processing_ms is not None
    assert whole.processing_ms > 195
    assert whole.tls_ms is None
    assert whole.transfer_ms == second.phases.transfer_ms


def test_a_loop_has_its_hops(server: LocalServer) -> None:
    """The first and the five that were followed."""
    got = get(server.url("/loop"))
    assert got.failure is not None
    assert [hop.status_code for hop in got.hops] == [302] * 6


@pytest.mark.parametrize(
    ("path", "phases", "last"),
    [
        ("/close", {"connect_ms", "processing_ms"}, "processing_ms"),
        ("/hang", {"connect_ms", "processing_ms"}, "processing_ms"),
    ],
)
def test_a_hop_that_failed(server: LocalServer, path: str, phases: set[str], last: str) -> None:
    """Its last phase has the time until then."""
    got = get(server.url(path), deadline_seconds=0.4)
    (hop,) = got.hops
    assert got.failure is not None
    assert (reached(hop), hop.address, hop.status_code) == (phases, "127.0.0.1", None)
    if got.failure.reason == Reason.TIMEOUT:
        assert getattr(hop.phases, last) >= 350


def test_hops_that_never_connected() -> None:
    """A name that is none, an address where nobody listens, one that is silent: no address, and the phase it was."""
    (nameless,) = get("http://nothing.invalid/").hops
    (refused,) = get(refusing_url()).hops
    with black_hole() as url:
        (silent,) = get(url, deadline_seconds=0.4).hops
    assert [reached(hop) for hop in (nameless, refused, silent)] == [{"resolve_ms"}, {"connect_ms"}, {"connect_ms"}]
    assert [hop.address for hop in (nameless, refused, silent)] == [None] * 3
    assert silent.phases.connect_ms is not None
    assert silent.phases.connect_ms >= 350


def test_a_request_that_cannot_be_sent() -> None:
    """There is a hop, and nothing in it."""
    (hop,) = get("http://a..example/").hops
    assert reached(hop) <= {"resolve_ms"}
    assert hop.address is None
