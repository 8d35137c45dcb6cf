"""
urllib3's connection as we need it: our resolver, one deadline, our TLS, notes. One connection serves one request.

`_open` is where an address is known and nothing has been sent yet. Used by adapter.py only.
"""

from __future__ import annotations

import errno
import http.client
import socket
import ssl
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from urllib3.connection import HTTPConnection

from wms_tasks.net.arrival import note_arrivals
from wms_tasks.net.guard import Guard
from wms_tasks.net.progress import Phase, Progress
from wms_tasks.net.reading import Reading, Response
from wms_tasks.net.redirect import DEFAULT_PORTS, IpChoice
from wms_tasks.net.resolve import MAX_ADDRESSES, Address, Resolver, chosen, literal
from wms_tasks.net.tls import handshake
from wms_tasks.net.watch import Watch


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """
    How one hop gets there, and where it notes what it meets.

    ``context`` is None for http. ``server_name``: to ask for and to verify instead of the url's host.
    """

    watch: Watch
    progress: Progress
    resolver: Resolver
    guard: Guard
    ip: IpChoice
    context: ssl.SSLContext | None
    server_name: str | None
    max_body_bytes: int


def _socket_for(address: Address, timeout_seconds: float, watch: Watch) -> socket.socket:
    live = socket.socket(address.family, socket.SOCK_STREAM)
    try:
        live.settimeout(timeout_seconds)
        live.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        note_arrivals(live)
        watch.hold(live)
    except BaseException:
        live.close()
        raise
    return live


def _connect_one(live: socket.socket, address: Address, watch: Watch) -> None:
    try:
        live.connect(address.sockaddr)
        # What follows has all of the time that is left, not this address' share of it.
        live.settimeout(watch.remaining())
    except BaseException:
        live.close()
        raise


def _telling(error: OSError) -> int:
    """Which failure of several addresses says most: one that answered no, then silence, then no way there."""
    if isinstance(error, ConnectionRefusedError):
        return 0
    return 1 if isinstance(error, TimeoutError) or error.errno == errno.ETIMEDOUT else 2


def connect(addresses: Sequence[Address], watch: Watch, progress: Progress) -> socket.socket:
    """
    A connection to the first of `addresses` that answers; the phase and its address are noted.

    Raises:
        OSError: none did; the most telling of their errors.
    """
    progress.enter(Phase.CONNECT)
    failures: list[OSError] = []
    tried = addresses[:MAX_ADDRESSES]
    for index, address in enumerate(tried):
        try:
            live = _socket_for(address, watch.remaining() / (len(tried) - index), watch)
            if index == 0:
                # Making a socket takes its time where many threads want Python's lock back after it.
                progress.begin_again()
            _connect_one(live, address, watch)
        except OSError as error:
            watch.check()
            failures.append(error)
        else:
            progress.address = address.sockaddr[0]
            return live
    try:
        raise min(failures, key=_telling)
    finally:
        # An error holds this frame, and with it the list that holds the error: a circle of sixty objects.
        failures.clear()


class Connection(HTTPConnection):
    """Plain or TLS, by its way. ``port`` is always given."""

    def __init__(self, *args: Any, way: Way, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.way = way
        if way.context is not None:
            # Or the Host header would name the port.
            self.default_port = DEFAULT_PORTS["https"]  # type: ignore[misc]

    def _addresses(self) -> list[Address]:
        way = self.way
        address = literal(self._dns_host, self.port)
        if address is not None:
            found = [address]
        else:
            way.progress.enter(Phase.RESOLVE)
            found = way.resolver.resolve(self._dns_host, self.port, way.watch)
        return chosen(way.guard.admit(found), way.ip)

    def _open(self) -> socket.socket:
        return connect(self._addresses(), self.way.watch, self.way.progress)

    def connect(self) -> None:
        """Resolve, connect and shake hands, each noted."""
        way = self.way
        self.sock = self._open()
        if way.context is not None:
            way.progress.enter(Phase.TLS)
            # A scope id is this machine's, and no part of a name.
            server_name = way.server_name or self.host.partition("%")[0]
            self.sock = handshake(self.sock, way.context, server_name, way.progress)
        way.progress.enter(Phase.PROCESSING)

    def response_class(  # type: ignore[override]
        self, live: Any, debuglevel: int = 0, method: str | None = None
    ) -> http.client.HTTPResponse:
        """
        http.client calls this with the socket, for what reads an answer. A method, since one that the connection itself
        held would hold the connection: each probe then left a circle for Python to find, of a dozen objects.
        """
        way = self.way
        return Response(Reading(live, way.watch, way.progress, way.max_body_bytes), debuglevel, method)


def close_quietly(thing: Any) -> None:
    """Close what may be half closed already; TLS sockets complain then."""
    with suppress(OSError, ValueError):
        thing.close()
