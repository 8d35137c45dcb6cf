"""TLS against real servers with certificates of a test authority: each way to be wrong has its reason."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import cache

import pytest
import trustme

from tests.guards import ON_LOOPBACK
from tests.servers import LocalServer, answer, hang, redirect
from wms_tasks.net.fetch import Answer, Fetcher
from wms_tasks.net.redirect import Request
from wms_tasks.net.tls import default_ssl_context
from wms_tasks.result import Reason

NOW = datetime.now(UTC)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """The one that is trusted."""
    return trustme.CA()


@pytest.fixture(scope="module")
def fetcher(authority: trustme.CA) -> Fetcher:
    """Trusts the authority."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return Fetcher(ssl_context=lambda: context)


def serving(certificate: trustme.LeafCert) -> ssl.SSLContext:
    """A server's context with `certificate`."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate.configure_cert(context)
    return context


def get(fetcher: Fetcher, url: str, *, deadline_seconds: float = 10.0) -> Answer:
    """A GET."""
    return fetcher.fetch(Request(method="GET", url=url), deadline_seconds=deadline_seconds, guard=ON_LOOPBACK)


@pytest.fixture(scope="module")
def good(authority: trustme.CA) -> Iterator[LocalServer]:
    """A server whose certificate is right for 127.0.0.1 and localhost."""
    tls = serving(authority.issue_cert("127.0.0.1", "localhost"))
    with LocalServer({"/": answer(b"hello"), "/hang": hang, "/down": redirect("/")}, tls=tls) as local:
        yield local


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_good_certificate(good: LocalServer, fetcher: Fetcher, host: str) -> None:
    """By name and by address."""
    assert get(fetcher, good.url("/", host=host)).body == b"hello"


CERTIFICATES = {
    "expired": (Reason.TLS_EXPIRED, "expired"),
    "not yet": (Reason.TLS_EXPIRED, "not yet valid"),
    "other name": (Reason.TLS_HOSTNAME, "mismatch"),
    "other authority": (Reason.TLS_UNTRUSTED, "issuer"),
}


@pytest.mark.parametrize("kind", CERTIFICATES)
def test_bad_certificates(kind: str, authority: trustme.CA, fetcher: Fetcher) -> None:
    """Out of its time, for another name, from an authority we do not know."""
    certificate = {
        "expired": lambda: authority.issue_cert("127.0.0.1", not_after=NOW - timedelta(days=1)),
        "not yet": lambda: authority.issue_cert("127.0.0.1", not_before=NOW + timedelta(days=1)),
        "other name": lambda: authority.issue_cert("example.org"),
        "other authority": lambda: trustme.CA().issue_cert("127.0.0.1"),
    }[kind]()
    reason, words = CERTIFICATES[kind]
    with LocalServer({"/": answer()}, tls=serving(certificate)) as local:
        got = get(fetcher, local.url("/"))
        assert got.failure is not None
        assert got.failure.reason == reason
        assert words in got.failure.detail.lower()
        assert local.seen == []


def test_a_self_signed_certificate_is_untrusted_by_default(authority: trustme.CA) -> None:
    """The system's authorities do not know the test's."""
    with LocalServer({"/": answer()}, tls=serving(authority.issue_cert("127.0.0.1"))) as local:
        got = get(Fetcher(), local.url("/"))
        assert got.failure is not None
        assert got.failure.reason == Reason.TLS_UNTRUSTED
    assert default_ssl_context() is default_ssl_context()


def test_no_common_version(authority: trustme.CA) -> None:
    """A server that speaks only TLS 1.2 to a client that wants 1.3: tls_other."""
    tls = serving(authority.issue_cert("127.0.0.1"))
    tls.maximum_version = ssl.TLSVersion.TLSv1_2
    strict = ssl.create_default_context()
    strict.minimum_version = ssl.TLSVersion.TLSv1_3
    with LocalServer({"/": answer()}, tls=tls) as local:
        got = get(Fetcher(ssl_context=lambda: strict), local.url("/"))
        assert got.failure is not None
        assert got.failure.reason == Reason.TLS_OTHER
        assert "version" in got.failure.detail


def test_a_server_without_tls(fetcher: Fetcher) -> None:
    """Plain HTTP where TLS is expected: tls_other, with OpenSSL's words."""
    with LocalServer({}, greeting=b"HTTP/1.1 400 Bad Request\r\n\r\n") as local:
        got = get(fetcher, local.url("/").replace("http:", "https:"))
        assert got.failure is not None
        assert got.failure.reason == Reason.TLS_OTHER
        assert got.failure.detail


def test_a_handshake_that_never_ends(fetcher: Fetcher) -> None:
    """A server that accepts and says nothing: the deadline ends it."""
    with LocalServer({}) as silent:
        got = get(fetcher, silent.url("/").replace("http:", "https:"), deadline_seconds=0.5)
        assert got.failure is not None
        assert got.failure.reason == Reason.TIMEOUT
        assert "TLS handshake" in got.failure.detail


@contextmanager
def dripping() -> Iterator[str]:
    """A server that sends a TLS record byte by byte; the url of it."""
    stopping = threading.Event()

    def serve(listener: socket.socket) -> None:
        with suppress(OSError):
            connection, _ = listener.accept()
            with connection:
                connection.sendall(b"\x16\x03\x03\x20\x00\x02\x00\x1f\xfc")
                while not stopping.wait(0.05):
                    connection.sendall(b"\0")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        try:
            yield f"https://127.0.0.1:{listener.getsockname()[1]}/"
        finally:
            stopping.set()
            thread.join(timeout=5)


def test_a_handshake_that_drips(fetcher: Fetcher) -> None:
    """Bytes keep coming, the handshake does not end: the deadline does."""
    with dripping() as url:
        started = time.monotonic()
        got = get(fetcher, url, deadline_seconds=1.0)
        assert time.monotonic() - started <= 1.1
    assert got.failure is not None
    assert got.failure.reason == Reason.TIMEOUT
    assert "TLS handshake" in got.failure.detail
    assert got.hops[0].phases.tls_ms is not None
    assert got.hops[0].phases.tls_ms > 900


def test_an_answer_that_never_comes(good: LocalServer, fetcher: Fetcher) -> None:
    """The deadline ends a TLS connection as it does a plain one."""
    got = get(fetcher, good.url("/hang"), deadline_seconds=0.5)
    assert got.failure is not None
    assert (got.failure.reason, got.status_code) == (Reason.TIMEOUT, None)
    assert get(fetcher, good.url("/down")).body == b"hello"


def test_making_a_context_is_no_part_of_a_sites_time(authority: trustme.CA, good: LocalServer) -> None:
    """It holds all authorities, and takes as long as a quick site."""
    wait_seconds = 0.5

    @cache
    def slowly() -> ssl.SSLContext:
        threading.Event().wait(wait_seconds)
        context = ssl.create_default_context()
        authority.configure_trust(context)
        return context

    request = Request(method="GET", url=good.url("/"))
    got = Fetcher(ssl_context=slowly).fetch(request, deadline_seconds=10, guard=ON_LOOPBACK)
    assert got.elapsed_ms is not None
    assert got.elapsed_ms < 1000 * wait_seconds
