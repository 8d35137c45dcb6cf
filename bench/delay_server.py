"""
A server that answers late, and knows by how much.

    python -m bench.delay_server        # prints its port; ends with its standard input
    python -m bench.delay_server --certificate c.pem --key k.pem        # the same over https

``/<id>?ms=<n>`` answers in n milliseconds and notes, on its own clock, how long it really was from taking the
connection to handing the last byte to the kernel. ``/noted`` gives the notes: ``{"<id>": milliseconds}``; ``/counted``
how many other requests each client made, robots.txt apart: ``{"<product of its User-Agent>": requests}``.
``/robots.txt`` forbids a folder that nobody asks for.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import ssl
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

ROBOTS = b"User-agent: *\nDisallow: /private/\n"
noted: dict[str, float] = {}
counted: Counter[str] = Counter()
_AGENT = re.compile(rb"\r\nuser-agent: *([^\r/]*)", re.IGNORECASE)
_OWN = ("/noted", "/counted", "/robots.txt")


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    taken = time.monotonic()
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        url = urlsplit(head.split(b" ", 2)[1].decode())
        wanted_ms = float(parse_qs(url.query).get("ms", ["0"])[0])
        body = _body(url.path, head)
        if wanted_ms:
            await asyncio.sleep(max(0.0, taken + wanted_ms / 1000 - time.monotonic()))
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        noted[url.path.lstrip("/")] = 1000 * (time.monotonic() - taken)
        await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        return
    finally:
        writer.close()


def _body(path: str, head: bytes) -> bytes:
    """What is answered there; counts the request."""
    if path not in _OWN:
        agent = _AGENT.search(head)
        counted[agent[1].decode("latin-1").lower() if agent else ""] += 1
        return b"ok"
    return ROBOTS if path == "/robots.txt" else json.dumps({"/noted": noted, "/counted": counted}[path]).encode()


def _context() -> ssl.SSLContext | None:
    parser = argparse.ArgumentParser(prog="python -m bench.delay_server")
    parser.add_argument("--certificate", help="With its key: speak https.")
    parser.add_argument("--key")
    arguments = parser.parse_args()
    if arguments.certificate is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(arguments.certificate, arguments.key)
    return context


@contextmanager
def delay_server(*, certificate: Path | None = None, key: Path | None = None) -> Iterator[int]:
    """This server in a process of its own; its port."""
    tls = [] if certificate is None else ["--certificate", str(certificate), "--key", str(key)]
    command = [sys.executable, "-m", "bench.delay_server", *tls]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield int(process.stdout.readline())
        process.stdin.close()


async def main() -> None:
    """Serve on every address of loopback until whoever started us goes."""
    server = await asyncio.start_server(_serve, "0.0.0.0", 0, backlog=1024, ssl=_context())
    print(server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
