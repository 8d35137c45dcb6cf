"""
When an answer's bytes came, by the kernel's note instead of our own look at the clock.

A thread that waits for a server wakes when a processor and Python's lock have time for it: on a busy worker up to tens
of milliseconds late, all of which would count as the site's. Linux notes when it took each segment in (SO_TIMESTAMPNS,
socket(7); for TCP since 4.14). Where nobody notes that, it is the moment at which we had read.

Used by reading.py only.
"""

from __future__ import annotations

import select
import socket
import ssl
import struct
import sys
import time
from collections.abc import Sequence
from typing import Any

from wms_tasks import clock
from wms_tasks.net.watch import Watch

# Linux's number of it on all that Python has wheels for; the socket module does not name it.
_SO_TIMESTAMPNS = 35
_TIMESPEC = struct.Struct("@ll")
_SPACE = socket.CMSG_SPACE(_TIMESPEC.size)
# What a note may lie before the bytes that came earlier: two clocks are read one after the other.
_SLACK_SECONDS = 0.001
# Looked at without being taken or copied; shared by all, since nothing is ever written into it.
_SCRATCH = bytearray(64 * 1024)
_LOOK = socket.MSG_PEEK | getattr(socket, "MSG_TRUNC", 0)


def _noted_by_kernel(live: socket.socket) -> bool:
    if sys.platform != "linux":
        return False
    try:
        live.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
    except OSError:  # an emulated Linux; then it is as elsewhere
        return False
    return True


class Arrivals:
    """
    Reads `live`, plain or TLS, and knows on clock.monotonic() when what was read last had come: ``last``.

    Takes over `live`: nothing is sent over it any more.
    """

    __slots__ = ("_is_noted", "_live", "_tls", "_watch", "last")

    def __init__(self, live: socket.socket, watch: Watch) -> None:
        self._live = live
        self._tls = live if isinstance(live, ssl.SSLSocket) else None
        self._watch = watch
        self._is_noted = _noted_by_kernel(live)
        self.last = clock.monotonic()
        if self._tls is not None and self._is_noted:
            # So that a read that finds half a record, or a session ticket, comes back and the rest is seen to come.
            self._tls.settimeout(0.0)

    def read_into(self, buffer: Any) -> int:
        """
        Read what there is, waiting for the first byte; 0 at the end.

        Raises:
            OSError: the connection failed; TimeoutError: or the time is up.
        """
        if not self._is_noted:
            got = self._live.recv_into(buffer)
        elif self._tls is None:
            got, notes, _, _ = self._live.recvmsg_into([buffer], _SPACE)
            if got:
                self.last = self._when(notes)
                return got
        else:
            return self._decrypt_into(self._tls, buffer)
        self.last = clock.monotonic()
        return got

    def _decrypt_into(self, tls: ssl.SSLSocket, buffer: Any) -> int:
        if not tls.pending():
            self._wait(tls, select.POLLIN)
        while True:
            try:
                return tls.recv_into(buffer)
            except ssl.SSLWantReadError:
                self._wait(tls, select.POLLIN)
            except ssl.SSLWantWriteError:
                self._wait(tls, select.POLLOUT)

    def _wait(self, tls: ssl.SSLSocket, event: int) -> None:
        poll = select.poll()
        poll.register(tls.fileno(), event)
        if not poll.poll(1000 * self._watch.remaining()):
            self._watch.remaining()
            raise TimeoutError("the connection's timeout has passed")
        if event == select.POLLIN:
            # SSLSocket refuses this for itself; asked is the socket below it, of which nothing is taken.
            _, notes, _, _ = socket.socket.recvmsg_into(tls, [_SCRATCH], _SPACE, _LOOK)
            self.last = self._when(notes)

    def _when(self, notes: Sequence[tuple[int, int, bytes]]) -> float:
        """On clock.monotonic(); now where the note can be no time of this answer: the wall clock was set meanwhile."""
        now = clock.monotonic()
        for _, kind, content in notes:
            if kind == _SO_TIMESTAMPNS and len(content) == _TIMESPEC.size:
                seconds, nanoseconds = _TIMESPEC.unpack(content)
                at: float = now - (time.time_ns() - seconds * 1_000_000_000 - nanoseconds) / 1e9
                return at if self.last - _SLACK_SECONDS <= at <= now else now
        return now
