"""
One request out, urllib3's response in, on a connection of our own. Used by journey.py.

requests prepares what is sent, and what it prepared is kept, since a site is asked the same thing every time. Its
adapter, urllib3's pool and their wrapping of errors, all made anew for one request, are left out: they took 6 % of a
probe's CPU time (2.22 against 2.09 ms), and reasons.py looks through to the inner error anyway.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

import requests
from urllib3.connectionpool import _normalize_host
from urllib3.response import BaseHTTPResponse

from wms_tasks.net.connection import Connection, Way, close_quietly
from wms_tasks.net.redirect import DEFAULT_PORTS, Request
from wms_tasks.tracing import HEADER

# A longer url is not kept, since a stranger may write another one, of 8 KiB, for each redirect; nor is a body, nor what
# is another one each time, nor what is asked for once a day.
_MAX_KEPT_CHARACTERS = 1024
_ROBOTS = "/robots.txt"
# The server may have answered before it read all, and closed; what it answered is still to be read.
_ANSWERED_ALREADY = frozenset({errno.EPIPE, errno.ECONNRESET, errno.EPROTOTYPE})


@dataclass(frozen=True, slots=True)
class _Ready:
    """A request as it goes out, and where to. Read only, since it is kept."""

    host: str
    port: int
    method: str
    target: str = field(repr=False)
    headers: Mapping[str, Any] = field(repr=False)
    body: Any = field(repr=False)
    chunked: bool


@lru_cache(maxsize=1024)
def _same(headers: tuple[tuple[str, Any], ...]) -> Mapping[str, Any]:
    """Most sites are sent the same headers: one record of them, instead of 1 KB for each site."""
    return MappingProxyType(dict(headers))


@lru_cache(maxsize=4096)
def _prepare(method: str, url: str, headers: tuple[tuple[str, str], ...], body: bytes | None) -> _Ready:
    """
    The request as it goes out.

    Raises:
        requests.RequestException, urllib3.exceptions.LocationValueError: the url or a header cannot be sent.
    """
    sent = {name: value if value.isascii() else value.encode() for name, value in headers}
    prepared = requests.Request(method, url, headers=sent, data=body).prepare()
    parts = urlsplit(str(prepared.url))
    # Never None: http.client would take what follows the last colon of an IPv6 address for the port.
    port = DEFAULT_PORTS[parts.scheme] if parts.port is None else parts.port
    host = _normalize_host(parts.hostname or "", scheme="http")
    chunked = not (prepared.body is None or "Content-Length" in prepared.headers)
    headers_out = _same(tuple(prepared.headers.items()))
    return _Ready(host, port, str(prepared.method), prepared.path_url, headers_out, prepared.body, chunked)


def _is_kept(request: Request) -> bool:
    url = request.url
    is_usual = request.body is None and len(url) <= _MAX_KEPT_CHARACTERS and not url.endswith(_ROBOTS)
    return is_usual and HEADER not in request.headers


def send(request: Request, way: Way) -> BaseHTTPResponse:
    """
    Send `request` and read its answer's head; the body is still to be read. Closing the answer closes the connection.

    Raises:
        One of CLIENT_ERRORS (reasons.py), where that fails.
    """
    prepare = _prepare if _is_kept(request) else _prepare.__wrapped__
    ready = prepare(request.method, request.url, tuple(request.headers.items()), request.body)
    connection = Connection(ready.host, ready.port, way=way)
    try:
        connection.connect()
        connection.timeout = way.watch.remaining()
        _ask(connection, ready)
        response = connection.getresponse()
    except BaseException:
        close_quietly(connection)
        raise
    response._connection = connection
    return response


def _ask(connection: Connection, ready: _Ready) -> None:
    try:
        connection.request(
            ready.method,
            ready.target,
            body=ready.body,
            headers=ready.headers,
            chunked=ready.chunked,
            preload_content=False,
            decode_content=False,
        )
    except OSError as error:
        if error.errno not in _ANSWERED_ALREADY:
            raise
