"""
Local HTTP servers that behave badly on request; each counts what it saw.

    with LocalServer({"/": answer(body=b"hello"), "/slow": slow(0.3)}) as server:
        server.url("/slow"); server.count("/slow")

A behaviour is a function of a `Peer`: one connection whose request has been read. Nothing here is a mock: real sockets
on 127.0.0.1, one thread a connection, TLS where a context is given.
"""

from __future__ import annotations

import gzip
import socket
import ssl
import struct
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Self

import brotli

MAX_REQUEST_HEAD_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenRequest:
    """A request as it arrived; header names in lower case, ``at`` on time.monotonic(), ``body`` by Content-Length."""

    method: str
    path: str
    headers: Mapping[str, str]
    at: float
    body: bytes = b""


class Peer:
    """The other side of one connection, after its request was read."""

    def __init__(self, connection: socket.socket, request: SeenRequest, stopping: threading.Event) -> None:
        self.connection = connection
        self.request = request
        self.stopping = stopping

    def send(self, data: bytes) -> None:
        """All of `data`."""
        self.connection.sendall(data)

    def pause(self, seconds: float) -> None:
        """Let time pass; cut short when the server stops."""
        if self.stopping.wait(seconds):
            raise ConnectionError("the server stops")

    def until_client_leaves(self) -> None:
        """Say nothing more until the client closes."""
        while self.connection.recv(4096):
            pass


Behaviour = Callable[[Peer], None]


def head(status_code: int = 200, headers: Mapping[str, str] | None = None, reason: str = "Said") -> bytes:
    """A status line and headers, with the empty line that ends them."""
    lines = [f"HTTP/1.1 {status_code} {reason}", *(f"{name}: {value}" for name, value in (headers or {}).items())]
    return "\r\n".join([*lines, "", ""]).encode("utf-8")


def answer(body: bytes = b"ok", *, status_code: int = 200, headers: Mapping[str, str] | None = None) -> Behaviour:
    """A whole and correct answer."""
    fields = {"Content-Type": "text/plain; charset=utf-8", "Content-Length": str(len(body)), **(headers or {})}

    def behave(peer: Peer) -> None:
        peer.send(head(status_code, fields) + (b"" if peer.request.method == "HEAD" else body))

    return behave


def failing(status_code: int = 503, *, headers: Mapping[str, str] | None = None) -> Behaviour:
    """An error page."""
    return answer(b"out of order", status_code=status_code, headers=headers)


def redirect(location: str, *, status_code: int = 302) -> Behaviour:
    """A redirect to `location`."""
    return answer(b"moved", status_code=status_code, headers={"Location": location})


def slow(seconds: float, then: Behaviour | None = None) -> Behaviour:
    """The answer, after a pause."""
    behave_then = then or answer()

    def behave(peer: Peer) -> None:
        peer.pause(seconds)
        behave_then(peer)

    return behave


def hang(peer: Peer) -> None:
    """No answer at all; the connection stays open."""
    peer.until_client_leaves()


def close(peer: Peer) -> None:
    """The connection closed without a word."""


def reset(peer: Peer) -> None:
    """A TCP reset instead of an answer."""
    peer.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def raw(data: bytes, *, then_hang: bool = False) -> Behaviour:
    """Exactly these bytes."""

    def behave(peer: Peer) -> None:
        peer.send(data)
        if then_hang:
            peer.until_client_leaves()

    return behave


def repeat(piece: bytes, *, first: bytes = b"", every_seconds: float = 0.0) -> Behaviour:
    """`first`, then `piece` again and again until the client leaves; a drip where ``every_seconds`` is given."""

    def behave(peer: Peer) -> None:
        peer.send(first)
        while True:
            peer.send(piece)
            if every_seconds:
                peer.pause(every_seconds)

    return behave


def huge(size_bytes: int) -> Behaviour:
    """A body of `size_bytes`."""

    def behave(peer: Peer) -> None:
        peer.send(head(headers={"Content-Length": str(size_bytes)}))
        block = b"x" * 65536
        for _ in range(size_bytes // len(block)):
            peer.send(block)
        peer.send(block[: size_bytes % len(block)])

    return behave


_CODERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "br": brotli.compress,
    "deflate": zlib.compress,
    "raw deflate": lambda data: zlib.compress(data, wbits=-15),
}


def encoded(body: bytes, coding: str = "gzip") -> Behaviour:
    """`body` in a coding: gzip, br, deflate, or "raw deflate" (what some servers send for it)."""
    return answer(_CODERS[coding](body), headers={"Content-Encoding": coding.removeprefix("raw ")})


def bomb(decoded_bytes: int, coding: str = "gzip") -> Behaviour:
    """A small body that would be `decoded_bytes` of zeros."""
    return encoded(bytes(decoded_bytes), coding)


def in_turn(behaviours: Sequence[Behaviour]) -> Behaviour:
    """The first request gets the first behaviour, and so on; the last one stays."""
    lock = threading.Lock()
    left = list(behaviours)

    def behave(peer: Peer) -> None:
        with lock:
            chosen = left.pop(0) if len(left) > 1 else left[0]
        chosen(peer)

    return behave


class LocalServer:
    """
    Routes by path (without the query); other paths get 404. Use as a context manager.

    ``greeting`` is sent to whoever connects, before anything is read.
    """

    def __init__(
        self,
        routes: Mapping[str, Behaviour],
        *,
        tls: ssl.SSLContext | None = None,
        host: str = "127.0.0.1",
        greeting: bytes = b"",
    ) -> None:
        self.routes = dict(routes)
        self._tls = tls
        self._host = host
        self._greeting = greeting
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._seen: list[SeenRequest] = []
        self._live: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server((host, 0), backlog=256)
        self.port: int = self._listener.getsockname()[1]

    def url(self, path: str = "/", *, host: str | None = None) -> str:
        """The url of `path`."""
        return f"{'https' if self._tls else 'http'}://{host or self._host}:{self.port}{path}"

    @property
    def seen(self) -> list[SeenRequest]:
        """Every request so far, in order."""
        with self._lock:
            return list(self._seen)

    def count(self, path: str) -> int:
        """How many requests came for `path`, whatever their query."""
        return sum(request.path.partition("?")[0] == path for request in self.seen)

    @property
    def open_connections(self) -> int:
        """Connections that are being served now."""
        with self._lock:
            return len(self._live)

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            live = list(self._live)
        for connection in live:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(timeout=5)

    def _start(self, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args, name="local-server", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._stopping.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._start(self._serve, connection)

    def _serve(self, plain: socket.socket) -> None:
        with ExitStack() as stack:
            stack.callback(plain.close)
            # Clients that leave are what these servers are for.
            stack.enter_context(suppress(OSError))
            connection = plain
            if self._tls is not None:
                plain.settimeout(10)
                connection = stack.enter_context(self._tls.wrap_socket(plain, server_side=True))
                connection.settimeout(None)
            with self._lock:
                self._live.add(connection)
            stack.callback(self._forget, connection)
            connection.sendall(self._greeting)
            request = self._read(connection)
            if request is not None:
                behave = self.routes.get(request.path.partition("?")[0], failing(404))
                behave(Peer(connection, request, self._stopping))

    def _forget(self, connection: socket.socket) -> None:
        with self._lock:
            self._live.discard(connection)

    def _read(self, connection: socket.socket) -> SeenRequest | None:
        data = b""
        while b"\r\n\r\n" not in data and len(data) < MAX_REQUEST_HEAD_BYTES:
            piece = connection.recv(8192)
            if not piece:
                return None
            data += piece
        said, _, body = data.partition(b"\r\n\r\n")
        first, *lines = said.decode("latin-1").split("\r\n")
        method, path, _ = first.split(" ", 2)
        fields = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        while len(body) < int(fields.get("content-length", 0)):
            body += connection.recv(65536) or b"\0" * MAX_REQUEST_HEAD_BYTES
        request = SeenRequest(method=method, path=path, headers=fields, at=time.monotonic(), body=body)
        with self._lock:
            self._seen.append(request)
        return request


@contextmanager
def black_hole() -> Iterator[str]:
    """A url to which no connection is ever established: its backlog is full, so the kernel drops what comes."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            with suppress(BlockingIOError):
                filler.connect(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"


def refusing_url() -> str:
    """A url on whose port nobody listens."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{unused.getsockname()[1]}/"
