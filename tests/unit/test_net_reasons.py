"""The one mapping from what a server, or the way to it, does to a reason: every reason, against real ones."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta

import pytest
import trustme

from tests.guards import ON_LOOPBACK
from tests.servers import LocalServer, black_hole, close, hang, raw, redirect, refusing_url, repeat, reset
from wms_tasks.net.fetch import Fetcher
from wms_tasks.net.guard import Guard
from wms_tasks.net.redirect import Request
from wms_tasks.result import Reason
from wms_tasks.sites.record import TlsOptions

CA = trustme.CA()
PEM = CA.cert_pem.bytes().decode()
YESTERDAY = datetime.now(UTC) - timedelta(days=1)
GUARD = Guard((*ON_LOOPBACK.networks, "255.255.255.255"))
ROUTES = {
    "/hang": hang,
    "/close": close,
    "/reset": reset,
    "/garbage": raw(b"hello\r\n\r\n"),
    "/loop": redirect("/loop"),
    "/half": raw(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"),
    "/nothing": repeat(b"A: b\r\n" * 9000, first=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"),
}


@contextmanager
def page(path: str) -> Iterator[str]:
    """The url of one of ROUTES."""
    with LocalServer(ROUTES) as server:
        yield server.url(path)


@contextmanager
def shown(leaf: trustme.LeafCert, version: ssl.TLSVersion | None = None) -> Iterator[str]:
    """The url of a server that shows `leaf`."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    leaf.configure_cert(context)
    if version is not None:
        context.maximum_version = version
    with LocalServer({}, tls=context) as server:
        yield server.url("/")


@contextmanager
def given(url: str) -> Iterator[str]:
    """A url that needs no server."""
    yield url


@contextmanager
def plain_for_tls() -> Iterator[str]:
    """A server that speaks plain HTTP, asked for https."""
    with LocalServer({}, greeting=b"HTTP/1.1 400 Bad Request\r\n\r\n") as server:
        yield server.url("/").replace("http:", "https:")


Case = tuple[Callable[[], AbstractContextManager[str]], Reason, str]
CASES: dict[str, Case] = {
    "no such name": (lambda: given("http://nothing.invalid/"), Reason.DNS, ""),
    "no name at all": (lambda: given(f"http://{'a' * 70}.example/"), Reason.DNS, "cannot be a name"),
    "nobody listens": (lambda: given(refusing_url()), Reason.CONNECT_REFUSED, "refused"),
    "silence": (black_hole, Reason.CONNECT_TIMEOUT, "waiting for the connection"),
    "no way there": (lambda: given("http://255.255.255.255/"), Reason.CONNECT_FAILED, ""),
    "blocked": (lambda: given("http://169.254.169.254/"), Reason.BLOCKED_ADDRESS, "metadata"),
    "expired": (lambda: shown(CA.issue_cert("127.0.0.1", not_after=YESTERDAY)), Reason.TLS_EXPIRED, "expired"),
    "other name": (lambda: shown(CA.issue_cert("example.org")), Reason.TLS_HOSTNAME, "127.0.0.1"),
    "other authority": (lambda: shown(trustme.CA().issue_cert("127.0.0.1")), Reason.TLS_UNTRUSTED, "issuer"),
    "old TLS": (lambda: shown(CA.issue_cert("127.0.0.1"), ssl.TLSVersion.TLSv1_2), Reason.TLS_OTHER, "version"),
    "no TLS": (plain_for_tls, Reason.TLS_OTHER, ""),
    "no answer": (lambda: page("/hang"), Reason.TIMEOUT, "the answer's head"),
    "closed": (lambda: page("/close"), Reason.RESET, "before the answer"),
    "reset": (lambda: page("/reset"), Reason.RESET, "before the answer"),
    "half a body": (lambda: page("/half"), Reason.RESET, "middle of the body"),
    "not HTTP": (lambda: page("/garbage"), Reason.PROTOCOL, "not HTTP"),
    "a loop": (lambda: page("/loop"), Reason.TOO_MANY_REDIRECTS, "more than 5"),
    "a body of nothing": (lambda: page("/nothing"), Reason.TOO_LARGE, "on the wire"),
}

# The others are not about the way to an answer: probe/judge.py decides them, or nothing was sent at all.
NETWORK_REASONS = {
    Reason.DNS,
    Reason.CONNECT_REFUSED,
    Reason.CONNECT_TIMEOUT,
    Reason.CONNECT_FAILED,
    Reason.BLOCKED_ADDRESS,
    Reason.TLS_EXPIRED,
    Reason.TLS_HOSTNAME,
    Reason.TLS_UNTRUSTED,
    Reason.TLS_OTHER,
    Reason.TIMEOUT,
    Reason.RESET,
    Reason.PROTOCOL,
    Reason.TOO_MANY_REDIRECTS,
    Reason.TOO_LARGE,
}


@pytest.mark.parametrize("kind", CASES)
def test_reasons(kind: str) -> None:
    """Each way to fail has its reason, words for it, no response time, and a hop for each request."""
    make, reason, words = CASES[kind]
    tls = TlsOptions(ca=PEM, min_version="1.3" if kind == "old TLS" else None)
    seconds = 0.5 if reason in {Reason.TIMEOUT, Reason.CONNECT_TIMEOUT} else 10
    with make() as url:
        got = Fetcher().fetch(Request(method="GET", url=url, tls=tls), deadline_seconds=seconds, guard=GUARD)
    assert got.failure is not None
    assert got.failure.reason == reason, got.failure.detail
    assert words in got.failure.detail
    assert got.failure.detail
    assert got.elapsed_ms is None
    assert len(got.hops) == got.redirects + 1


def test_the_table_has_them_all() -> None:
    """A reason that is added to the mapping gets its case here."""
    assert {reason for _, reason, _ in CASES.values()} == NETWORK_REASONS
