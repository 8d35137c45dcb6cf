"""
What comes in: http.client's response, with a bounded head, a bounded body on the wire, and the watch's deadline.

Used by connection.py only.
"""

from __future__ import annotations

import http.client
import io
import socket
from email.message import Message
from typing import Any

from wms_tasks.net.arrival import Arrivals
from wms_tasks.net.progress import Progress
from wms_tasks.net.watch import Watch

# Everything before the body, interim (1xx) answers included. curl stops at 300 KiB, most servers send under 8.
MAX_HEAD_BYTES = 256 * 1024
# On the wire, for a body's limit of 1. A body in chunks of one byte takes six times its size; an encoded one hardly
# more than itself, but may decode to nothing (empty gzip members, empty deflate blocks), at a price per byte, for ever.
MAX_WIRE_FACTOR = 8
MAX_ENCODED_WIRE_FACTOR = 2


class HeadTooLarge(http.client.HTTPException):
    """The answer's head exceeds MAX_HEAD_BYTES."""


class WireTooLarge(http.client.HTTPException):
    """What came for a body exceeds MAX_WIRE_FACTOR, or MAX_ENCODED_WIRE_FACTOR, times what may be decoded from it."""


class _Received(io.RawIOBase):
    """What the socket gives, until the watch ends or it grows too large. Closing it closes the connection."""

    def __init__(self, live: socket.socket, watch: Watch, progress: Progress, max_body_bytes: int) -> None:
        self._raw = live.makefile("rb", buffering=0)  # only so that closing it closes the connection
        self._arrivals = Arrivals(live, watch, progress.since)
        self._watch = watch
        self._progress = progress
        self._left = MAX_HEAD_BYTES
        self._max_body_bytes = max_body_bytes
        self._headers: Message | None = None
        self._factor = MAX_ENCODED_WIRE_FACTOR

    def readable(self) -> bool:
        return True

    def head_done(self, headers: Message) -> None:
        """Only the body follows."""
        self._headers = headers
        self._left = self._factor * self._max_body_bytes + MAX_HEAD_BYTES

    def readinto(self, buffer: Any) -> int | None:
        # Checked before, or a flood that is already in the kernel's buffer would be read on after the deadline; and
        # after, because a connection that was shut down reads as one that ended.
        self._watch.check()
        got = self._arrivals.read_into(buffer)
        self._progress.came(self._arrivals.last)
        if not got:
            self._watch.check()
        self._left -= got
        if self._left < 0:
            self._too_much()
        if not got and self._headers is None:
            # http.client takes the end of the connection for the end of the head, and a cut answer for a whole one.
            raise ConnectionResetError("closed inside the head")
        return got

    def _too_much(self) -> None:
        if self._headers is None:
            raise HeadTooLarge(f"more than {MAX_HEAD_BYTES // 1024} KiB before the body")
        if self._factor < MAX_WIRE_FACTOR and "content-encoding" not in self._headers:
            self._left += (MAX_WIRE_FACTOR - self._factor) * self._max_body_bytes
            self._factor = MAX_WIRE_FACTOR
        if self._left < 0:
            raise WireTooLarge(f"more than {self._factor} times {self._max_body_bytes:,} bytes on the wire for a body")

    def close(self) -> None:
        self._raw.close()
        super().close()


class Reading:
    """Stands in for the socket where http.client asks for a file to read from."""

    def __init__(self, live: socket.socket, watch: Watch, progress: Progress, max_body_bytes: int) -> None:
        self.received = _Received(live, watch, progress, max_body_bytes)

    def makefile(self, mode: str) -> io.BufferedReader:  # noqa: ARG002 - socket's signature
        return io.BufferedReader(self.received)


class Response(http.client.HTTPResponse):
    """http.client's response, reading through `Reading`."""

    def __init__(self, reading: Reading, debuglevel: int, method: str | None) -> None:
        super().__init__(reading, debuglevel, method)  # type: ignore[arg-type]
        self._received = reading.received

    def begin(self, **newer: Any) -> None:  # later Pythons pass a limit of headers
        super().begin(**newer)
        # http.client skips 100 alone; 103 and the like announce an answer, too (RFC 9110, 15.2). 101 is one itself.
        while 102 <= self.status < 200:
            self.headers = self.msg = None  # type: ignore[assignment]
            super().begin(**newer)
        self._received.head_done(self.headers)

    def _read_next_chunk_size(self) -> int:
        # http.client takes "-5" for a size, and fails on it as no other error of its own.
        size: int = super()._read_next_chunk_size()  # type: ignore[misc]
        if size < 0:
            raise ValueError("a chunk of less than nothing")
        return size
