"""
Serves the sites' series on /metrics/sites of a persist worker, from Postgres, when Prometheus asks.

One worker at a time has them, by a lock that its connection holds: whichever Prometheus asks first, until it is not
asked any more or is gone. The others' pages are empty. A page is 200 whatever happens to Postgres: its series are gone
then, and nothing is logged, since the loop beside it says that. Own connection, own thread (the request's).
"""

from __future__ import annotations

import threading
from typing import Any

import psycopg
import structlog
from psycopg import Connection

from wms_tasks import clock, health_server, metrics, site_metrics
from wms_tasks.errors import WmsError
from wms_tasks.roles.measure import also_every_few_seconds
from wms_tasks.settings import Settings
from wms_tasks.store.connect import NO_SCHEMA, connect
from wms_tasks.store.deadline import deadline
from wms_tasks.store.site_facts import count_sites, serves_series, site_facts

log = structlog.get_logger()

PATH = "/metrics/sites"
# Several Prometheus, and a person who looks, cost one look.
FRESH_SECONDS = 5.0
# Longer than anybody's scrape interval: then the lock is another's.
UNASKED_SECONDS = 300.0
_CONNECT_SECONDS = 2
_LOOK_SECONDS = 5.0


def serve_site_series(settings: Settings) -> None:
    """From now on, where metrics are served at all."""
    if settings.metrics_port is not None:
        series = SiteSeries(settings)
        health_server.also(PATH, series.page)
        also_every_few_seconds(series.rest)


class SiteSeries:
    """The page, kept for a few seconds. Thread-safe; who comes while another looks waits for that look."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._connection: Connection[Any] | None = None
        self._body = b""
        self._fresh_until = self._asked_at = float("-inf")
        self._said_too_many = False

    def page(self) -> tuple[str, bytes]:
        """Content type and body; waits a few seconds for Postgres at most."""
        with self._lock:
            self._asked_at = clock.monotonic()
            if self._asked_at >= self._fresh_until:
                self._body = self._look()
                self._fresh_until = clock.monotonic() + FRESH_SECONDS
            return site_metrics.CONTENT_TYPE, self._body

    def rest(self) -> None:
        """Leave the lock to another worker, if nobody has asked for long; call it now and then."""
        if self._lock.acquire(blocking=False):
            try:
                if self._connection is not None and clock.monotonic() - self._asked_at > UNASKED_SECONDS:
                    self._drop()
            finally:
                self._lock.release()

    def _look(self) -> bytes:
        most = self._settings.site_metrics_max
        if not most:
            return site_metrics.nothing("WMS_SITE_METRICS_MAX is 0")
        try:
            connection = self._connected()
            if connection is None:
                metrics.SITE_SERIES.set(0)
                return site_metrics.nothing("another persist worker serves them")
            with deadline(connection, _LOOK_SECONDS):
                return self._facts(connection, most)
        except (WmsError, psycopg.OperationalError, *NO_SCHEMA):
            self._drop()
            return site_metrics.nothing("Postgres does not answer, or has no schema yet")
        except psycopg.Error:
            self._drop()
            log.exception("site_series.failed")
            return site_metrics.nothing("Postgres refuses the question; the log says why")

    def _facts(self, connection: Connection[Any], most: int) -> bytes:
        if count_sites(connection, most + 1) > most:
            self._say_too_many(most)
            metrics.SITE_SERIES.set(0)
            return site_metrics.nothing(f"there are more sites than WMS_SITE_METRICS_MAX={most}")
        self._said_too_many = False
        facts = site_facts(connection)
        metrics.SITE_SERIES.set(len(facts))
        return site_metrics.page(facts)

    def _connected(self) -> Connection[Any] | None:
        """The connection that has the lock; None where another has it."""
        if self._connection is None:
            connection = connect(self._settings, "series", autocommit=True, connect_timeout_seconds=_CONNECT_SECONDS)
            with deadline(connection, _LOOK_SECONDS):
                ours = serves_series(connection)
            if not ours:
                connection.close()
                return None
            self._connection = connection
        return self._connection

    def _drop(self) -> None:
        """Close it, and with it leave the lock."""
        connection, self._connection = self._connection, None
        metrics.SITE_SERIES.replace({})
        if connection is not None:
            connection.close()

    def _say_too_many(self, most: int) -> None:
        if not self._said_too_many:
            self._said_too_many = True
            log.warning("site_series.too_many_sites", most=most, hint="raise WMS_SITE_METRICS_MAX, or ask Postgres")
