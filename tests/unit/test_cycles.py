"""What a probe leaves for Python's collector, which is nothing, and how often that looks."""

from __future__ import annotations

import gc
import socket
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Never

import pytest

from tests.collector import as_in_a_new_process
from tests.guards import ON_LOOPBACK
from tests.servers import LocalServer, answer, failing, hang, raw, redirect, refusing_url
from wms_tasks.net.fetch import Fetcher
from wms_tasks.net.resolve import Resolver
from wms_tasks.probe.http import probe
from wms_tasks.probe.judge import judge
from wms_tasks.result import Reason
from wms_tasks.roles.memory import OBJECTS_BETWEEN_LOOKS, look_less_for_cycles
from wms_tasks.sites.record import Site, site_id_for


class Node:
    """An object that can be in a cycle."""

    me: Node


def test_cycles_are_looked_for_less_often_and_still_found() -> None:
    """By the time that as many objects more were made."""
    with as_in_a_new_process():
        for _ in range(2):
            look_less_for_cycles()
        assert gc.get_threshold() == (OBJECTS_BETWEEN_LOOKS, 10, 10)
        assert gc.get_freeze_count() > 0
        node = Node()
        node.me = node
        gone = weakref.ref(node)
        del node
        kept = [[n] for n in range(2 * gc.get_threshold()[0])]
        assert gone() is None
        assert kept


@contextmanager
def _left_over() -> Iterator[list[Any]]:
    """Fills the list, at its end, with what only the collector could find."""
    found: list[Any] = []
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        yield found
        gc.collect()
        found.extend(gc.garbage)
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


def _is_ours(left: object) -> bool:
    """Not of the server's threads, which end as they like."""
    of = left.f_globals["__name__"] if isinstance(left, FrameType) else type(left).__module__
    return str(of).startswith(("wms_tasks.", "requests.", "urllib3.", "http."))


def _no_such_name(*_: Any) -> Never:
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


def test_what_is_left_over_is_seen() -> None:
    """Or the test below would see nothing either."""
    with _left_over() as left:
        node = Node()
        node.me = node
        del node
    assert [one for one in left if isinstance(one, Node)]


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/", Reason.OK),
        ("/failing", Reason.STATUS),
        ("/moved", Reason.OK),
        ("/hang", Reason.TIMEOUT),
        ("/nonsense", Reason.PROTOCOL),
        ("http://no-such.example/", Reason.DNS),
        (None, Reason.CONNECT_REFUSED),
    ],
)
def test_a_probe_leaves_nothing_for_the_collector(path: str | None, reason: Reason) -> None:
    """
    What it made is gone when it ends, whatever came of it. A connection that held its own method, and an error that
    held the frame that held the error, left dozens of objects for each probe.
    """
    routes = {
        "/": answer(),
        "/failing": failing(503),
        "/moved": redirect("/"),
        "/hang": hang,
        "/nonsense": raw(b"nonsense\r\n\r\n"),
    }
    fetcher = Fetcher(resolver=Resolver(_no_such_name))
    with LocalServer(routes) as server:
        url = refusing_url() if path is None else path if path.startswith("http") else server.url(path)
        ask = _asking(url, fetcher, deadline_seconds=0.2 if path == "/hang" else 5.0)
        assert ask() is reason  # and with that what is made once
        with _left_over() as left:
            assert [ask() for _ in range(3)] == [reason] * 3
    assert [one for one in left if _is_ours(one)] == []


def _asking(url: str, fetcher: Fetcher, deadline_seconds: float) -> Callable[[], Reason]:
    site = Site(site_id=site_id_for(url), name="a", url=url)

    def ask() -> Reason:
        seen = probe(site, deadline_seconds=deadline_seconds, user_agent="wms", guard=ON_LOOPBACK, fetcher=fetcher)
        return Reason(judge(site, seen).reason)

    return ask
