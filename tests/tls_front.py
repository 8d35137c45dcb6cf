"""
The TLS end of a tunnel in front of a service whose embedded build has none, as stunnel is one. Its event loop runs in a
thread of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import Self

import trustme

from tests.certificates import in_front

_SECONDS = 10.0


class TlsFront:
    """Listens on 127.0.0.1:``port``, showing `leaf`, for the service on ``target_port``; use with `with`."""

    def __init__(self, target_port: int, leaf: trustme.LeafCert) -> None:
        self.port = 0
        #: Connections whose handshake was done.
        self.taken = 0
        self._target_port = target_port
        self._context = in_front(leaf)
        self._open: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="tls-front", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(_SECONDS)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(_SECONDS)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_SECONDS)
        self._loop.close()

    async def _listen(self) -> asyncio.Server:
        return await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._context)

    async def _close(self) -> None:
        self._server.close()
        for one in self._open:
            one.transport.abort()  # without TLS' farewell, which the other side may owe us for half a minute
        await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()})

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.taken += 1
        upward, up = await asyncio.open_connection("127.0.0.1", self._target_port)
        self._open |= {writer, up}
        await asyncio.gather(self._copy(reader, up), self._copy(upward, writer))
        self._open -= {writer, up}

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Until one side ends, and then end the other."""
        with contextlib.suppress(OSError):
            while data := await reader.read(64 * 1024):
                writer.write(data)
                await writer.drain()
        writer.transport.abort()
