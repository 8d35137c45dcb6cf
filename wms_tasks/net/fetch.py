"""
One HTTP/1.1 request, and the redirects it leads to, under one deadline: how probe and polite reach a server.

A new connection each, nothing from the environment (proxies, .netrc), nothing kept between requests, at most
``max_body_bytes`` of decoded body, never drained. Whatever the server does ends as an `Answer`; only our own faults
and `Cancelled` are raised.
"""

from __future__ import annotations

import logging
import os
import ssl
from collections.abc import Callable
from contextlib import suppress

from wms_tasks.net.answer import Answer, Cancelled
from wms_tasks.net.connection import Way
from wms_tasks.net.guard import CLOSED, Guard
from wms_tasks.net.journey import Journey, Limits
from wms_tasks.net.progress import Progress
from wms_tasks.net.reasons import Failure
from wms_tasks.net.redirect import Request
from wms_tasks.net.resolve import Resolver
from wms_tasks.net.tls import BadTlsOptions, context_for, default_ssl_context
from wms_tasks.net.watch import Watch, Watchdog
from wms_tasks.result import Reason
from wms_tasks.sites.record import TlsOptions

# What whoever fetches needs, in one place.
__all__ = [
    "MAX_BODY_BYTES",
    "MAX_REDIRECTS",
    "Answer",
    "Cancelled",
    "Fetcher",
    "abort_all",
    "process_fetcher",
]

MAX_BODY_BYTES = 1024 * 1024
MAX_REDIRECTS = 5

_PLAIN = TlsOptions()

# Their warnings quote urls with the query, where secrets may be; what they warn of ends in an Answer anyway.
for _name in ("urllib3.connection", "urllib3.connectionpool", "urllib3.response"):
    logging.getLogger(_name).setLevel(logging.ERROR)


class Fetcher:
    """
    Makes requests; thread-safe, and meant to be kept. One per process (see `process_fetcher`), since its threads do
    not survive a fork.
    """

    def __init__(
        self, *, ssl_context: Callable[[], ssl.SSLContext] = default_ssl_context, resolver: Resolver | None = None
    ) -> None:
        """`ssl_context` gives the context of requests without TLS options of their own."""
        self._resolver = resolver or Resolver()
        self._watchdog = Watchdog()
        self._ssl_context = ssl_context

    def abort_all(self) -> None:
        """Cut every running request short; it and every later one raises `Cancelled`. For a process that stops."""
        self._watchdog.abort()
        self._resolver.abort()

    def fetch(  # noqa: PLR0913 - what bounds a request
        self,
        request: Request,
        *,
        deadline_seconds: float,
        max_body_bytes: int = MAX_BODY_BYTES,
        max_redirects: int = MAX_REDIRECTS,
        is_final: Callable[[int], bool] = lambda _: False,
        guard: Guard = CLOSED,
    ) -> Answer:
        """
        Make the request and follow where it leads, all within `deadline_seconds`.

        Args:
            max_body_bytes: of decoded body; memory stays within 8 times that, and at least 8 MiB (docs/probe.md).
            max_redirects: more are a failure; 0: none is followed, the redirect is the answer.
            is_final: says of a redirect's status code that it is the answer, not to be followed.
            guard: what may be connected to, for every hop; by default only the public internet.

        Raises:
            Cancelled: `abort_all` was called.
        """
        if deadline_seconds <= 0:
            late = Failure(reason=Reason.TIMEOUT, detail="no time was left to ask")
            return Answer(url=request.url, redirects=0, failure=late)
        limits = Limits(
            deadline_seconds=deadline_seconds,
            max_body_bytes=max_body_bytes,
            max_redirects=max_redirects,
            is_final=is_final,
            guard=guard,
        )
        with suppress(BadTlsOptions):  # it ends in the answer, below
            self._context(request)  # the first time that takes as long as a quick site: no part of its time
        with self._watchdog.watch(deadline_seconds) as watch:
            return Journey(limits, watch, lambda hop, progress: self._way(hop, watch, progress, limits)).go(request)

    def _way(self, request: Request, watch: Watch, progress: Progress, limits: Limits) -> Way:
        return Way(
            watch=watch,
            progress=progress,
            resolver=self._resolver,
            guard=limits.guard,
            ip=request.ip,
            context=self._context(request),
            server_name=request.tls.server_name,
            max_body_bytes=limits.max_body_bytes,
        )

    def _context(self, request: Request) -> ssl.SSLContext | None:
        if not request.url.lower().startswith("https:"):
            return None
        return self._ssl_context() if request.tls == _PLAIN else context_for(request.tls)


_fetchers: dict[int, Fetcher] = {}


def process_fetcher() -> Fetcher:
    """This process's fetcher; a forked child gets its own at its first request."""
    fetcher = _fetchers.get(os.getpid())
    return fetcher if fetcher is not None else _fetchers.setdefault(os.getpid(), Fetcher())


def abort_all() -> None:
    """Cut short every request of this process, for good (see `Fetcher.abort_all`)."""
    process_fetcher().abort_all()
