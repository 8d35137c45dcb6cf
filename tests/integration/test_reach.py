"""Canaries on real sockets, the resolver by a lookup of the test's own."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.guards import ON_LOOPBACK
from tests.servers import LocalServer, black_hole, refusing_url
from wms_tasks.canaries import Canary
from wms_tasks.net.reach import Reach, is_name
from wms_tasks.net.resolve import Resolver


def canary(url: str) -> Canary:
    """What listens, or not, at that url."""
    parts = urlsplit(url)
    return Canary(str(parts.hostname), int(parts.port or 0))


def test_who_takes_a_connection() -> None:
    """A listener, a port nobody listens on, a host that is silent: all at once, in their order, nothing sent."""
    with ExitStack() as stack:
        local = stack.enter_context(LocalServer({}))
        silent = [stack.enter_context(black_hole()) for _ in range(3)]
        asked = [canary(url) for url in (silent[0], local.url(), refusing_url(), *silent[1:])]
        began = time.monotonic()
        assert Reach(guard=None, deadline_seconds=1.0).answers(asked) == [False, True, False, False, False]
        assert time.monotonic() - began < 3.0
        assert local.seen == []
        # A host that was up as example.org's, and now resolves to the inside, is not connected to.
        assert Reach().answers([canary(local.url())]) == [False]
        assert Reach(guard=ON_LOOPBACK).answers([canary(local.url())]) == [True]
    assert Reach().answers([]) == []


def resolver(answer: Callable[[str], Any]) -> Resolver:
    """One that answers so; 192.0.2.1 for all that is true."""

    def lookup(host: str, *_: Any) -> list[Any]:
        if answer(host):
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 0))]
        raise socket.gaierror(socket.EAI_NONAME, "no such name")

    return Resolver(lookup)


def again(_: str) -> bool:
    """No server can be reached."""
    raise socket.gaierror(socket.EAI_AGAIN, "try again")


def cached(host: str) -> bool:
    """Only what is in a cache."""
    return host == "a.example" or again(host)


@pytest.mark.parametrize(
    ("answer", "answers"),
    [
        pytest.param(lambda host: host == "a.example", True, id="knows it, and denies the other"),
        pytest.param(lambda _: True, True, id="knows every name below it"),
        pytest.param(lambda _: False, False, id="denies what was there a moment ago"),
        pytest.param(again, False, id="reaches no server"),
        pytest.param(cached, False, id="has it in a cache"),
    ],
)
def test_the_resolver(answer: Callable[[str], bool], answers: bool) -> None:
    """It counts where it knows what was up, and can tell about a name that is in no cache."""
    assert Reach(resolver=resolver(answer)).answers([], below="a.example") == [answers]


def test_a_silent_resolver() -> None:
    """Costs the deadline and no more."""
    over = threading.Event()

    def lookup(*_: Any) -> list[Any]:
        over.wait(30)
        return []

    began = time.monotonic()
    reach = Reach(resolver=Resolver(lookup), deadline_seconds=0.3)
    assert reach.answers([Canary("a.example", 80)], below="a.example") == [False, False]
    assert time.monotonic() - began < 10
    over.set()


def test_names_need_a_resolver() -> None:
    """Addresses do not."""
    assert [is_name(host) for host in ("a.example", "192.0.2.1", "2001:db8::1")] == [True, False, False]
