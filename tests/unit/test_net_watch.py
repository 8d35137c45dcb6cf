"""The watchdog by itself, on a pair of real sockets."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest

from tests.waiting import wait_until
from wms_tasks import clock
from wms_tasks.net.watch import Watchdog


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two ends of a connection."""
    ours, theirs = socket.socketpair()
    theirs.settimeout(5)
    with ours, theirs:
        yield ours, theirs


def test_the_deadline_shuts_the_socket(pair: tuple[socket.socket, socket.socket]) -> None:
    """Also after the object that was held is gone, as TLS does it."""
    ours, theirs = pair
    with Watchdog().watch(0.2) as watch:
        started = time.monotonic()
        watch.hold(ours)
        wrapped = socket.socket(fileno=ours.detach())
        with wrapped:
            assert theirs.recv(1) == b""
            assert 0.15 < time.monotonic() - started < 0.4
            assert (watch.expired, watch.cancelled) == (True, False)
            with pytest.raises(TimeoutError):
                watch.remaining()


def test_a_socket_that_comes_too_late_is_shut_at_once(pair: tuple[socket.socket, socket.socket]) -> None:
    """A redirect's connection, made while the process begins to stop."""
    ours, theirs = pair
    dog = Watchdog()
    with dog.watch(60) as watch:
        dog.abort()
        watch.hold(ours)
        assert theirs.recv(1) == b""
    with dog.watch(60) as later:
        assert later.cancelled


def test_a_request_that_ended_is_left_alone(pair: tuple[socket.socket, socket.socket]) -> None:
    """Its deadline passes, and nothing happens to the socket."""
    ours, theirs = pair
    dog = Watchdog()
    with dog.watch(0.05) as done:
        done.hold(ours)
    with dog.watch(0.1) as other:
        wait_until(lambda: other.expired)
    assert not done.expired
    ours.send(b"x")
    assert theirs.recv(1) == b"x"


def test_deadlines_in_any_order() -> None:
    """An earlier one that comes later is not kept waiting by a later one."""
    dog = Watchdog()
    with dog.watch(30) as late, dog.watch(0.1) as soon:
        wait_until(lambda: soon.expired, timeout_seconds=2)
        assert soon.deadline <= clock.monotonic() < soon.deadline + 0.5
        assert not late.expired
        assert late.remaining() > 25
