"""What is sent, to which of the addresses, and how what comes back is decoded and counted."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest

from tests.guards import ON_LOOPBACK
from tests.servers import LocalServer, answer, encoded, head, raw, redirect, repeat
from wms_tasks.net.fetch import Answer, Fetcher
from wms_tasks.net.guard import Guard
from wms_tasks.net.redirect import BadRedirect, IpChoice, Request, next_request
from wms_tasks.net.resolve import MAX_ADDRESSES, Address, Resolver, chosen
from wms_tasks.result import Reason
from wms_tasks.sites.record import TlsOptions

PAGE = b"<p>hello</p>" * 1000


@pytest.fixture(scope="module")
def server() -> Iterator[LocalServer]:
    """A page in each coding, and redirects of each kind."""
    routes = {f"/{coding}": encoded(PAGE, coding) for coding in ("gzip", "br", "deflate")}
    routes["/raw-deflate"] = encoded(PAGE, "raw deflate")
    routes |= {f"/{code}": redirect("/", status_code=code) for code in (301, 302, 303, 307, 308)}
    routes |= {"/": answer(PAGE), "/unread": raw(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")}
    routes |= {"/lists": answer(headers={"Link": "<a>\r\nLink: <b>\r\nlink: <c>"}), "/loop": redirect("/loop")}
    chunks = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    with LocalServer(routes | {"/chunks": raw(chunks), "/endless": repeat(b"x" * 9999, first=head())}) as local:
        yield local


def ask(url: str, fetcher: Fetcher | None = None, *, guard: Guard = ON_LOOPBACK, **request: Any) -> Answer:
    """A request, by default GET."""
    method = request.pop("method", "GET")
    limits = {name: request.pop(name) for name in ("max_body_bytes", "max_redirects") if name in request}
    asked = Request(method=method, url=url, **request)
    return (fetcher or Fetcher()).fetch(asked, deadline_seconds=10, guard=guard, **limits)


class TestBody:
    """A request's body."""

    @pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "GET"])
    def test_it_is_sent(self, server: LocalServer, method: str) -> None:
        """With its length and the site's own Content-Type, and nothing made up."""
        headers = {"Content-Type": "application/json"}
        assert ask(server.url("/"), method=method, body=b'{"a": 1}', headers=headers).status_code == 200
        seen = server.seen[-1]
        assert (seen.method, seen.body) == (method, b'{"a": 1}')
        assert (seen.headers["content-length"], seen.headers["content-type"]) == ("8", "application/json")

    def test_without_one(self, server: LocalServer) -> None:
        """A POST says that it is empty, a GET says nothing."""
        ask(server.url("/"), method="POST")
        assert server.seen[-1].headers["content-length"] == "0"
        ask(server.url("/"))
        assert not {"content-length", "content-type", "transfer-encoding"} & set(server.seen[-1].headers)

    @pytest.mark.parametrize(
        ("method", "code", "second", "kept"),
        [
            ("POST", 301, "GET", False),
            ("POST", 302, "GET", False),
            ("POST", 303, "GET", False),
            ("POST", 307, "POST", True),
            ("PUT", 302, "PUT", True),
            ("PUT", 303, "GET", False),
            ("PATCH", 308, "PATCH", True),
            ("GET", 303, "GET", False),
        ],
    )
    def test_redirects(self, server: LocalServer, method: str, code: int, second: str, kept: bool) -> None:
        """The body goes on where the method stays; what described it goes with it."""
        headers = {"Content-Type": "text/plain", "X-Key": "k"}
        got = ask(server.url(f"/{code}"), method=method, body=b"data", headers=headers)
        seen = server.seen[-1]
        assert (got.status_code, seen.path, seen.method) == (200, "/", second)
        assert (seen.body, "content-type" in seen.headers) == ((b"data", True) if kept else (b"", False))
        assert seen.headers["x-key"] == "k"

    def test_it_stays_with_its_origin(self) -> None:
        """A redirect that would send it elsewhere is a failure, and nobody is asked."""
        with LocalServer({"/": answer()}) as other:
            with LocalServer({"/": redirect(other.url("/"), status_code=307)}) as first:
                got = ask(first.url("/"), method="POST", body=b"secret")
            assert got.failure is not None
            assert (got.failure.reason, other.seen) == (Reason.PROTOCOL, [])
            assert "another origin" in got.failure.detail

    def test_a_server_that_answers_before_it_has_read_all(self, server: LocalServer) -> None:
        """Its answer counts."""
        assert ask(server.url("/unread"), method="POST", body=bytes(2**20)).status_code == 413

    def test_it_is_not_in_the_repr(self) -> None:
        """Nor are headers and keys: a record is logged sooner or later."""
        tls = TlsOptions(key="S3CR3T")
        request = Request(method="POST", url="http://a/", headers={"A": "S3CR3T"}, body=b"S3CR3T", tls=tls)
        assert "S3CR3T" not in repr(request)


class TestTlsAcrossRedirects:
    """What of TlsOptions goes along."""

    TLS = TlsOptions(ca="ca", certificate="c", key="k", server_name="s", min_version="1.2", verify=False)

    @pytest.mark.parametrize("location", ["/b", "https://a/", "https://a:443/c"])
    def test_at_home(self, location: str) -> None:
        """All of it."""
        assert next_request(Request(method="GET", url="https://a/", tls=self.TLS), 302, location).tls == self.TLS

    @pytest.mark.parametrize("location", ["https://b/", "https://a:8443/", "http://a/"])
    def test_elsewhere(self, location: str) -> None:
        """Neither who we are nor who the first server said to be."""
        tls = next_request(Request(method="GET", url="https://a/", tls=self.TLS), 302, location).tls
        assert tls == TlsOptions(ca="ca", min_version="1.2", verify=False)

    def test_no_body_for_strangers(self) -> None:
        """Pure, as it is decided."""
        with pytest.raises(BadRedirect):
            next_request(Request(method="PUT", url="https://a/", body=b"x"), 307, "https://b/")


class TestDecoding:
    """Content-Encoding, and what is counted."""

    @pytest.mark.parametrize("coding", ["gzip", "br", "deflate", "raw-deflate"])
    def test_codings(self, server: LocalServer, coding: str) -> None:
        """The page as it was, and its smaller size on the wire."""
        got = ask(server.url(f"/{coding}"))
        assert (got.body, got.truncated) == (PAGE, False)
        assert got.wire_bytes == int(got.headers["content-length"])
        assert got.wire_bytes < len(PAGE)

    def test_a_plain_page(self, server: LocalServer) -> None:
        """As large as it came."""
        assert ask(server.url("/")).wire_bytes == len(PAGE)

    def test_chunks(self, server: LocalServer) -> None:
        """Without their framing."""
        got = ask(server.url("/chunks"))
        assert (got.body, got.wire_bytes) == (b"abcde", 5)

    @pytest.mark.parametrize("path", ["/", "/gzip", "/br", "/deflate", "/endless"])
    @pytest.mark.parametrize("cap", [1, 100, 65536])
    def test_the_cap_is_the_requests(self, server: LocalServer, path: str, cap: int) -> None:
        """Exactly so much, and that there is more; a page of just the cap is whole."""
        got = ask(server.url(path), max_body_bytes=cap)
        whole = cap >= len(PAGE) and path != "/endless"
        assert (len(got.body or b""), got.truncated) == ((len(PAGE), False) if whole else (cap, True))
        assert ask(server.url("/"), max_body_bytes=len(PAGE)).truncated is False

    def test_lines_of_one_name_are_one_list(self, server: LocalServer) -> None:
        """RFC 9110, 5.3."""
        assert ask(server.url("/lists")).headers["link"] == "<a>, <b>, <c>"


def test_redirects_that_are_not_followed(server: LocalServer) -> None:
    """With none allowed, the redirect is the answer; with two, the third is a failure."""
    got = ask(server.url("/302"), max_redirects=0)
    assert (got.status_code, got.body, got.failure, len(got.hops)) == (302, b"moved", None, 1)
    got = ask(server.url("/loop"), max_redirects=2)
    assert got.failure is not None
    assert (got.failure.reason, got.redirects, len(got.hops)) == (Reason.TOO_MANY_REDIRECTS, 2, 3)


def addresses(*hosts: str) -> list[Address]:
    """They, as the resolver gives them."""
    return [Address(socket.AF_INET6 if ":" in host else socket.AF_INET, (host, 80)) for host in hosts]


A4, B4 = addresses("192.0.2.1", "192.0.2.2")
A6, *MORE6 = addresses("2001:db8::1", *(f"2001:db8::{n}" for n in range(2, 9)))


@pytest.mark.parametrize(
    ("ip", "found", "tried"),
    [
        ("any", [A6, A4], [A6, A4]),
        ("4", [A6, A4, B4], [A4, B4]),
        ("6", [A4, A6], [A6]),
        ("prefer_4", [A6, A4, B4], [A4, B4, A6]),
        ("prefer_6", [A4, A6], [A6, A4]),
        ("prefer_6", [A4, B4], [A4, B4]),
        ("prefer_6", [A4, A6, *MORE6], [A6, *MORE6[:2], A4]),
        ("prefer_6", [A6, *MORE6], [A6, *MORE6[:3]]),
        ("6", [A6, *MORE6], [A6, *MORE6[:3]]),
        ("any", [A6, *MORE6], [A6, *MORE6[:3]]),
    ],
)
def test_which_addresses_are_tried(ip: IpChoice, found: list[Address], tried: list[Address]) -> None:
    """In the resolver's order within a family; the other family keeps a place where one is only preferred."""
    assert chosen(found, ip) == tried
    assert len(tried) <= MAX_ADDRESSES


@pytest.mark.parametrize(("ip", "host"), [("6", "127.0.0.1"), ("4", "[::1]"), ("6", "four.example")])
def test_no_address_of_the_family(ip: IpChoice, host: str, server: LocalServer) -> None:
    """It is reason dns, and says which family there is none of."""
    fetcher = Fetcher(resolver=Resolver(lambda *_: [(2, 1, 6, "", ("127.0.0.1", 0))]))
    got = ask(server.url("/", host=host), fetcher, ip=ip)
    assert got.failure is not None
    assert got.failure.reason == Reason.DNS
    assert got.failure.detail == f"the host has no IPv{ip} address"


def test_the_preferred_family_first_and_then_the_other(server: LocalServer) -> None:
    """An IPv6 address where nobody listens does not make the site down where IPv4 works."""
    both = [(10, 1, 6, "", ("::1", 0, 0, 0)), (2, 1, 6, "", ("127.0.0.1", 0))]
    fetcher = Fetcher(resolver=Resolver(lambda *_: both))
    for ip in ("prefer_6", "prefer_4", "any", "4"):
        got = ask(server.url("/", host="both.example"), fetcher, ip=ip)
        assert (got.status_code, got.hops[0].address) == (200, "127.0.0.1")
    got = ask(server.url("/", host="both.example"), fetcher, ip="6")
    assert got.failure is not None
    assert got.failure.reason in {Reason.CONNECT_REFUSED, Reason.CONNECT_FAILED}
