"""What comes between an address and a request: the connection itself, and a handshake that has none any more."""

from __future__ import annotations

import socket

import pytest

from tests.guards import ON_LOOPBACK
from tests.servers import LocalServer, answer
from tests.waiting import wait_until
from wms_tasks.net import adapter, redact
from wms_tasks.net.connection import connect
from wms_tasks.net.fetch import Fetcher
from wms_tasks.net.progress import Progress
from wms_tasks.net.redirect import Request
from wms_tasks.net.resolve import Address
from wms_tasks.net.tls import default_ssl_context, handshake
from wms_tasks.net.watch import Watchdog


def test_a_connection_that_was_over_before_the_handshake() -> None:
    """The peer is gone and we have hung up (a deadline, a stop): a failure of the connection, not of ours."""
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as live:
        listener.accept()[0].close()
        live.shutdown(socket.SHUT_RDWR)
        wait_until(lambda: is_closed(live), 10, "the connection's end")
        progress = Progress()
        with pytest.raises(OSError, match="not connected"):
            handshake(live, default_ssl_context(), "a.example", progress)
    assert progress.chain == ()


def is_closed(live: socket.socket) -> bool:
    """Both sides have ended it."""
    try:
        live.getpeername()
    except OSError:
        return True
    return False


def test_what_follows_the_connection_has_all_of_the_time() -> None:
    """Not the share that the first of several addresses had: a slow handshake is not cut short."""
    with socket.create_server(("127.0.0.1", 0)) as listener, Watchdog().watch(60) as watch:
        address = Address(socket.AF_INET, listener.getsockname())
        with connect([address, address, address], watch, Progress()) as live:
            timeout_seconds = live.gettimeout()
    assert timeout_seconds is not None
    assert timeout_seconds > 45


def test_what_a_redirect_may_leave_in_memory() -> None:
    """Each answer may name another url of 8 KiB: none of them is kept."""
    with LocalServer({"/": answer()}) as local:
        fetcher = Fetcher()

        def ask(path: str) -> None:
            request = Request(method="GET", url=local.url(path))
            assert fetcher.fetch(request, deadline_seconds=10, guard=ON_LOOPBACK).status_code == 200

        ask("/?usual")
        kept = adapter._prepare.cache_info().currsize, redact._bare_url.cache_info().currsize
        for number in range(5):
            ask(f"/?{number}{'x' * 8000}")
        assert (adapter._prepare.cache_info().currsize, redact._bare_url.cache_info().currsize) == kept
    assert redact.bare_url("https://a.example/" + "x" * 2000 + "?token").endswith("x…")


def test_what_is_kept_for_each_site() -> None:
    """Sites that are sent the same share it; robots.txt, asked for once a day, is not kept."""
    with LocalServer({"/": answer()}) as local:
        usual = {"User-Agent": "wms", "Accept": "*/*"}
        first, second = (adapter._prepare("GET", local.url(path), tuple(usual.items()), None) for path in ("/a", "/b"))
        assert first.headers == usual
        assert first.headers is second.headers
        before = adapter._prepare.cache_info().currsize
        request = Request(method="GET", url=local.url("/robots.txt"))
        Fetcher().fetch(request, deadline_seconds=10, guard=ON_LOOPBACK)
        assert adapter._prepare.cache_info().currsize == before
