"""
A TCP proxy that breaks on request, in front of one service. Its event loop runs in a thread of its own.

    with Proxy(5432) as proxy:
        proxy.black_hole(); …; proxy.heal()

Faults act on live connections too. A `Trip` stops a connection at an exact point of what the client says, which is how
a process is caught between two statements without a switch in its code.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Literal, Self, TypeVar

from tests.faults.trip import Trip

T = TypeVar("T")

_CHUNK_BYTES = 64 * 1024
_CALL_SECONDS = 10.0
_LOOK_SECONDS = 0.1
_RESET = struct.pack("ii", 1, 0)

Leftovers = Literal["dead", "reset"]


@dataclass(slots=True, eq=False)
class _Link:
    """One connection. ``held`` has a key for each direction (True: upward, to the server) that is kept back."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    dead: bool = False
    watched_for: Trip | None = None
    seen: int = 0
    budget: int | None = None
    held: dict[bool, bytearray] = field(default_factory=dict)

    def writer(self, upward: bool) -> asyncio.StreamWriter:
        return self.server if upward else self.client

    def watch_for(self, wire: Trip) -> None:
        """Progress made towards an earlier trip counts for nothing."""
        if self.watched_for is not wire:
            self.watched_for, self.seen, self.budget = wire, 0, None


class Proxy:
    """Listens on 127.0.0.1:``port`` for the service on ``target_port``. Use as a context manager."""

    def __init__(self, target_port: int, *, port: int = 0) -> None:
        self.target_port = target_port
        with socket.socket() as reserved:
            reserved.bind(("127.0.0.1", port))
            self.port: int = reserved.getsockname()[1]
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"proxy-{target_port}", daemon=True)
        self._server: asyncio.Server | None = None
        self._links: set[_Link] = set()
        self._unheard: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._black = False
        self._latency_seconds = 0.0
        self._bytes_per_second = 0.0
        self._trip: Trip | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        self._call(self._listen())
        return self

    def __exit__(self, *_: object) -> None:
        self._call(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_CALL_SECONDS)
        self._loop.close()

    @property
    def connections(self) -> int:
        """Connections that live now, dead ones included."""
        return len(self._links)

    @property
    def unheard(self) -> int:
        """Connections that came during a black hole, and have no server behind them."""
        return len(self._unheard)

    def down(self) -> None:
        """Close every connection and refuse new ones, until `heal`."""
        self._call(self._down())

    def black_hole(self) -> None:
        """Take connections and bytes, forward nothing and close nothing, until `heal`."""
        self._do(self._set_black)

    def latency(self, seconds: float) -> None:
        """Delay whatever passes, each way, until `heal`."""
        self._do(lambda: setattr(self, "_latency_seconds", seconds))

    def slow(self, bytes_per_second: float) -> None:
        """Let no more through, each way of each connection, until `heal`."""
        self._do(lambda: setattr(self, "_bytes_per_second", bytes_per_second))

    def reset(self) -> None:
        """End every connection by RST, now; new ones are taken."""
        self._do(self._reset_all)

    def arm(self, wire: Trip) -> Trip:
        """Watch for this; replaces what was armed before."""
        self._do(lambda: setattr(self, "_trip", wire))
        return wire

    def heal(self, leftovers: Leftovers = "dead") -> None:
        """
        Pass everything on again.

        Args:
            leftovers: what becomes of connections that went through a black hole: they stay half open for good, as
                behind a firewall that forgot them, or end by RST.
        """
        self._call(self._heal(leftovers))

    def release(self) -> None:
        """Let go of what a `Trip` has kept back."""
        self._call(self._release())

    def _call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(_CALL_SECONDS)

    def _do(self, action: Callable[[], object]) -> None:
        async def run() -> None:
            action()

        self._call(run())

    async def _listen(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port, backlog=256)

    async def _down(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.close()
        for link in list(self._links):
            self._drop(link)

    async def _end(self) -> None:
        await self._down()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _heal(self, leftovers: Leftovers) -> None:
        self._black, self._latency_seconds, self._bytes_per_second, self._trip = False, 0.0, 0.0, None
        if leftovers == "reset":
            for link in [link for link in self._links if link.dead]:
                self._reset(link.client, link.server)
            for writer in self._unheard:
                self._reset(writer)
        await self._release()
        await self._listen()

    async def _release(self) -> None:
        for link in list(self._links):
            link.budget = None
            for upward in list(link.held):
                await self._write(link, upward, bytes(link.held.pop(upward)))

    def _set_black(self) -> None:
        self._black = True
        for link in self._links:
            link.dead = True

    def _reset_all(self) -> None:
        for link in list(self._links):
            self._reset(link.client, link.server)

    def _reset(self, *writers: asyncio.StreamWriter) -> None:
        for writer in writers:
            with contextlib.suppress(OSError):
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            writer.transport.abort()

    def _drop(self, link: _Link) -> None:
        self._links.discard(link)
        for writer in (link.client, link.server):
            writer.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            if await self._heard(reader, writer):
                await self._carry(reader, writer)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()
            self._tasks.discard(task)

    async def _heard(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Whether a new client may speak to the server; who spoke into the black hole stays without an answer."""
        if not self._black:
            return True
        self._unheard.add(writer)
        try:
            while self._black:
                if await self._spoke(reader):
                    return False
        finally:
            self._unheard.discard(writer)
        return True

    async def _spoke(self, reader: asyncio.StreamReader) -> bool:
        """False if the client said nothing just now; else True, once it has left."""
        try:
            spoken = await asyncio.wait_for(reader.read(_CHUNK_BYTES), _LOOK_SECONDS)
        except TimeoutError:
            return False
        while spoken:
            spoken = await reader.read(_CHUNK_BYTES)
        return True

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self.target_port)
        link = _Link(writer, server_writer, dead=self._black)
        self._links.add(link)
        try:
            await asyncio.gather(self._pump(link, reader, True), self._pump(link, server_reader, False))
        finally:
            self._drop(link)

    async def _pump(self, link: _Link, reader: asyncio.StreamReader, upward: bool) -> None:
        """One direction. An end of either side ends both, unless the link is dead: then nobody hears of anything."""
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(_CHUNK_BYTES):
                if not link.dead:
                    await self._pass_on(link, upward, data)
        while upward and self._black:  # the client has left; the server is told when the black hole is over
            await asyncio.sleep(_LOOK_SECONDS)
        if upward or not link.dead:
            self._drop(link)

    async def _pass_on(self, link: _Link, upward: bool, data: bytes) -> None:
        if upward in link.held:
            link.held[upward] += data
            return
        if upward and self._trip is not None:
            data = self._watch(link, self._trip, data)
        await self._write(link, upward, data)

    def _watch(self, link: _Link, wire: Trip, data: bytes) -> bytes:
        """What of `data` may pass; what may not is held from here on."""
        link.watch_for(wire)
        if link.budget is None:
            self._look(link, wire, data)
        if link.budget is None:
            return data
        passed, kept = data[: link.budget], data[link.budget :]
        link.budget -= len(passed)
        if link.budget == 0:
            link.held[True] = bytearray(kept)
            self._fire(wire)
        return passed

    def _look(self, link: _Link, wire: Trip, data: bytes) -> None:
        """Search on for the patterns; past the last one, the link has a budget or its answers are held."""
        place, progress = 0, wire if wire.anywhere else link
        while progress.seen < len(wire.patterns):
            found = wire.patterns[progress.seen].search(data, place)
            if found is None:
                return
            progress.seen, place = progress.seen + 1, found.end()
            start = found.start()
        if wire.hold == "answer":
            link.held[False] = bytearray()
            self._fire(wire)
        else:
            link.budget = start if wire.hold == "before" else place + wire.extra_bytes

    def _fire(self, wire: Trip) -> None:
        self._trip = None
        wire.fired.set()

    async def _write(self, link: _Link, upward: bool, data: bytes) -> None:
        if self._latency_seconds:
            await asyncio.sleep(self._latency_seconds)
        if self._bytes_per_second:
            await asyncio.sleep(len(data) / self._bytes_per_second)
        writer = link.writer(upward)
        if data and not link.dead and not writer.transport.is_closing():
            writer.write(data)
            await writer.drain()
