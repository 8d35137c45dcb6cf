"""When bytes came, though they were read late: plain and TLS, and with a wall clock that is set meanwhile."""

from __future__ import annotations

import select
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import trustme

from tests.guards import ON_LOOPBACK
from tests.servers import LocalServer, answer
from tests.waiting import wait_until
from wms_tasks.net.arrival import Arrivals, note_arrivals
from wms_tasks.net.fetch import Fetcher
from wms_tasks.net.redirect import Request
from wms_tasks.net.watch import Watch, Watchdog

LATE_SECONDS = 0.3
# Between the kernel's note and our own look at the clock, on a busy machine.
SLACK_SECONDS = 0.1

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="no other system notes when a segment came")


@contextmanager
def connected(tls: bool) -> Iterator[tuple[socket.socket, socket.socket]]:
    """A server's end and a client's end, over TCP, shaken hands."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        client = socket.create_connection(listening.getsockname(), timeout=5)
        note_arrivals(client)
        server, _ = listening.accept()
    if tls:
        authority = trustme.CA()
        serving, trusting = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
        authority.issue_cert("localhost").configure_cert(serving)
        authority.configure_trust(trusting)
        server = serving.wrap_socket(server, server_side=True, do_handshake_on_connect=False)
        thread = threading.Thread(target=server.do_handshake)  # type: ignore[attr-defined]
        thread.start()
        client = trusting.wrap_socket(client, server_hostname="localhost")
        thread.join()
    with server, client:
        yield server, client


@pytest.fixture(autouse=True, scope="module")
def noting() -> None:
    """Until the kernel does; it begins a moment after the first socket of the machine asks for it."""

    def is_noted() -> bool:
        with connected(False) as (server, client):
            server.sendall(b"some")
            return len(client.recvmsg(10, 64)[1]) == 1

    wait_until(is_noted, 5, "a note of the kernel")


def watching(seconds: float = 5.0) -> Watch:
    return Watchdog().watch(seconds)


def pass_time(seconds: float) -> None:
    until = time.monotonic() + seconds
    wait_until(lambda: time.monotonic() >= until, seconds + 5, "time")


def read_late(arrivals: Arrivals, send: Callable[[], object], client: socket.socket) -> tuple[float, float]:
    """Send, wait until it is there and then some more, read: when it was sent, and when it was read."""
    sent_at = time.monotonic()
    send()
    poll = select.poll()
    poll.register(client.fileno(), select.POLLIN)
    assert poll.poll(5000)
    pass_time(LATE_SECONDS)
    assert arrivals.read_into(memoryview(bytearray(4096))) > 0
    return sent_at, time.monotonic()


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_it_is_when_they_came_not_when_they_were_read(tls: bool) -> None:
    with connected(tls) as (server, client):
        arrivals = Arrivals(client, watching(), time.monotonic())
        for _ in range(3):
            sent_at, read_at = read_late(arrivals, lambda: server.sendall(b"some more"), client)
            assert sent_at - 0.001 <= arrivals.last <= sent_at + SLACK_SECONDS < read_at


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_an_answer_that_was_here_before_anybody_looked(tls: bool) -> None:
    with connected(tls) as (server, client):
        since = time.monotonic()
        server.sendall(b"here already")
        pass_time(LATE_SECONDS)
        arrivals = Arrivals(client, watching(), since)
        assert arrivals.read_into(memoryview(bytearray(4096))) > 0
        assert since <= arrivals.last <= since + SLACK_SECONDS


def test_what_comes_before_the_answer_over_tls_is_not_the_answer() -> None:
    """A TLS 1.3 server sends session tickets first, which are read with the answer and came long before it."""
    with connected(True) as (server, client):
        arrivals = Arrivals(client, watching(), time.monotonic())
        poll = select.poll()
        poll.register(client.fileno(), select.POLLIN)
        assert poll.poll(5000), "the tickets"
        pass_time(LATE_SECONDS)
        answered: list[float] = []

        def answer_later() -> None:
            pass_time(LATE_SECONDS)
            answered.append(time.monotonic())
            server.sendall(b"the answer")

        thread = threading.Thread(target=answer_later)
        thread.start()
        assert arrivals.read_into(memoryview(bytearray(4096))) == len(b"the answer")
        thread.join()
        assert answered[0] - 0.001 <= arrivals.last <= answered[0] + SLACK_SECONDS


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("step_seconds", [-3600, 3600])
def test_a_wall_clock_that_is_set_meanwhile(tls: bool, step_seconds: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then it is when they were read, as it would be without the kernel's note."""
    truth = time.time_ns
    with connected(tls) as (server, client):
        arrivals = Arrivals(client, watching(), time.monotonic())
        monkeypatch.setattr(time, "time_ns", lambda: truth() + step_seconds * 1_000_000_000)
        sent_at, read_at = read_late(arrivals, lambda: server.sendall(b"some"), client)
        assert sent_at + LATE_SECONDS <= arrivals.last <= read_at


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_the_end_is_told(tls: bool) -> None:
    with connected(tls) as (server, client):
        arrivals = Arrivals(client, watching(), time.monotonic())
        server.close()
        assert arrivals.read_into(memoryview(bytearray(10))) == 0


def test_time_that_is_up_ends_the_wait_over_tls() -> None:
    with connected(True) as (_, client):
        arrivals = Arrivals(client, watching(0.05), time.monotonic())
        with pytest.raises(TimeoutError):
            arrivals.read_into(memoryview(bytearray(10)))


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
def test_a_response_time_does_not_hold_how_late_we_read(tls: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    at_once = Arrivals.read_into

    def late(self: Arrivals, buffer: memoryview) -> int:
        poll = select.poll()
        poll.register(self._live.fileno(), select.POLLIN)
        assert poll.poll(5000)
        pass_time(LATE_SECONDS)
        return at_once(self, buffer)

    monkeypatch.setattr(Arrivals, "read_into", late)
    authority, trusting = trustme.CA(), ssl.create_default_context()
    authority.configure_trust(trusting)
    serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(serving)
    # Without the tickets of 1.3, which may come in between.
    trusting.maximum_version = ssl.TLSVersion.TLSv1_2
    with LocalServer({"/": answer(b"ok")}, tls=serving if tls else None) as local:
        fetcher = Fetcher(ssl_context=lambda: trusting)
        found = fetcher.fetch(Request(method="GET", url=local.url("/")), deadline_seconds=10, guard=ON_LOOPBACK)
    assert found.body == b"ok"
    phases = found.hops[0].phases
    assert phases.processing_ms is not None
    assert phases.transfer_ms is not None
    assert phases.processing_ms + phases.transfer_ms < 1000 * LATE_SECONDS
