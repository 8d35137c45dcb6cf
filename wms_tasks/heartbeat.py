"""
Calls WMS_HEARTBEAT_URL after a write to Postgres, at most once a minute: an outside dead-man's switch that hears
nothing more knows that we are gone, which nobody inside can say.

In a thread of its own, since the loop must not wait for a stranger. The url is a secret: who knows it can keep the
switch quiet; logs name its host only. It is the operator's own setting, often inside his network, and no redirect is
followed: net/guard.py, which is for urls and answers of others, is not asked.
"""

from __future__ import annotations

import ssl
import threading
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.parse import urlsplit

import certifi
import structlog

from wms_tasks import clock, metrics

log = structlog.get_logger()

EVERY_SECONDS = 60.0
TIMEOUT_SECONDS = 5.0


def _get(url: str) -> int:
    """
    The status of one GET. Not by requests, whose lower parts log urls; a redirect is not followed, since where it leads
    was not configured and an answer there proves nothing.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme == "https":
        trusted = ssl.create_default_context(cafile=certifi.where())
        connection: HTTPConnection = HTTPSConnection(host, parts.port, timeout=TIMEOUT_SECONDS, context=trusted)
    else:
        connection = HTTPConnection(host, parts.port, timeout=TIMEOUT_SECONDS)
    try:
        connection.request("GET", f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}")
        return connection.getresponse().status
    finally:
        connection.close()


class Heartbeat:
    """One url and the thread that calls it. ``url`` None: nothing is ever called."""

    def __init__(self, url: str | None, *, every_seconds: float = EVERY_SECONDS) -> None:
        self._url = url
        self._every_seconds = every_seconds
        self._due_at = float("-inf")
        self._wanted = threading.Event()
        self._thread: threading.Thread | None = None
        self._failing = False

    def wrote(self) -> None:
        """Something is in Postgres now. Returns at once; one thread calls it."""
        if self._url is None or clock.monotonic() < self._due_at:
            return
        self._due_at = clock.monotonic() + self._every_seconds
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, args=(self._url,), name="heartbeat", daemon=True)
            self._thread.start()
        self._wanted.set()

    def _run(self, url: str) -> None:
        while True:
            self._wanted.wait()
            self._wanted.clear()
            self._call(url)

    def _call(self, url: str) -> None:
        try:
            status_code = _get(url)
            trouble = None if 200 <= status_code < 300 else f"status {status_code}"
        except (OSError, HTTPException, ValueError) as error:
            # Its name only: the text may repeat the url.
            trouble = type(error).__name__
        metrics.HEARTBEATS.inc("failed" if trouble else "ok")
        self._say(url, trouble)

    def _say(self, url: str, trouble: str | None) -> None:
        """Once that it fails, and once that it is over."""
        if trouble and not self._failing:
            log.warning("heartbeat.failed", host=urlsplit(url).hostname, why=trouble, then="tried with later writes")
        elif self._failing and not trouble:
            log.warning("heartbeat.back", host=urlsplit(url).hostname)
        self._failing = trouble is not None
