"""
When an answer's bytes came, by the kernel's note instead of our own look at the clock.

A thread that waits for a server wakes when a processor and Python's lock have time for it: on a busy worker up to tens
of milliseconds late, all of which would count as the site's. Linux notes when it took each segment in (SO_TIMESTAMPNS,
socket(7); for TCP since 4.14). Where nobody notes that, it is the moment at which we had read.

Used by connection.py and reading.py.
"""

from __future__ import annotations

import atexit
import select
import socket
import ssl
import struct
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Any

from wms_tasks import clock
from wms_tasks.net.watch import Watch

_IS_NOTED = sys.platform == "linux"
# Linux's number of it on all that Python has wheels for; the socket module does not name it.
_SO_TIMESTAMPNS = 35
_TIMESPEC = struct.Struct("@ll")
_SPACE = socket.CMSG_SPACE(_TIMESPEC.size)
_Note = tuple[int, int, bytes]
# What a note may lie before the bytes that came earlier: two clocks are read one after the other.
_SLACK_SECONDS = 0.001
# Looked at without being taken or copied; shared by all, since nothing is ever written into it.
_SCRATCH = bytearray(64 * 1024)
_LOOK = socket.MSG_PEEK | getattr(socket, "MSG_TRUNC", 0)


def _ask_kernel(live: socket.socket) -> None:
    with suppress(OSError):  # an emulated Linux; then it is as elsewhere
        live.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)


@lru_cache(maxsize=1)
def _asking() -> socket.socket:
    """
    A socket that asks for as long as the process lives. Linux notes nothing while nobody asks, and begins a moment
    after the first one does; with only a probe's own sockets asking, it would begin and end with each.
    """
    kept = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    atexit.register(kept.close)
    _ask_kernel(kept)
    return kept


def note_arrivals(live: socket.socket) -> None:
    """
    Ask the kernel to; before anything is sent, since an answer may be here before we look for it.

    Raises:
        OSError: the process may open no more files.
    """
    if _IS_NOTED:
        _asking()
        _ask_kernel(live)


class Arrivals:
    """
    Reads `live`, plain or TLS, and knows on clock.monotonic() when what was read last had come: ``last``.

    Takes over `live`: nothing is sent over it any more. ``since``: nothing of the answer can have come before that.
    """

    __slots__ = ("_live", "_tls", "_watch", "last")

    def __init__(self, live: socket.socket, watch: Watch, since: float) -> None:
        self._live = live
        self._tls = live if _IS_NOTED and isinstance(live, ssl.SSLSocket) else None
        self._watch = watch
        self.last = since
        if self._tls is not None:
            # So that a read that finds half a record, or a session ticket, comes back and the rest is seen to come.
            self._tls.settimeout(0.0)

    def read_into(self, buffer: Any) -> int:
        """
        Read what there is, waiting for the first byte; 0 at the end.

        Raises:
            OSError: the connection failed; TimeoutError: or the time is up.
        """
        if self._tls is not None:
            return self._decrypt_into(self._tls, buffer)
        notes: Sequence[_Note] = ()
        if isinstance(self._live, ssl.SSLSocket):
            got = self._live.recv_into(buffer)
        else:
            got, notes, _, _ = self._live.recvmsg_into([buffer], _SPACE)
        self.last = self._when(notes)
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

    def _when(self, notes: Sequence[_Note]) -> float:
        """On clock.monotonic(); now where the note can be no time of this answer: the wall clock was set meanwhile."""
        now = clock.monotonic()
        for _, kind, content in notes:
            if kind == _SO_TIMESTAMPNS and len(content) == _TIMESPEC.size:
                seconds, nanoseconds = _TIMESPEC.unpack(content)
                at: float = now - (time.time_ns() - seconds * 1_000_000_000 - nanoseconds) / 1e9
                return max(at, self.last) if self.last - _SLACK_SECONDS <= at <= now else now
        return now
