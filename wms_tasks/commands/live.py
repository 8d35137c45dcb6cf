"""
The live view of ``wms up``: asks Postgres, Redis and the persist loop once a second and draws what picture.py makes.

On a terminal a table in place; elsewhere a line for each change and one for the pipeline every ten seconds. It only
reads, on a connection of its own, and a fault in it never touches the pipeline: it is shown and tried again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import psycopg
import redis
from rich.console import Console
from rich.live import Live

from wms_tasks import clock
from wms_tasks.broker import connect_redis
from wms_tasks.commands.output import Unread
from wms_tasks.commands.picture import Pipeline, SiteLine, Snapshot, changes, frame, pipeline_line
from wms_tasks.errors import ServiceUnavailable
from wms_tasks.persist.stats import PersistStats
from wms_tasks.settings import Settings
from wms_tasks.store.connect import NO_SCHEMA, connect
from wms_tasks.store.read import PipelineFacts, pipeline
from wms_tasks.store.site_states import SiteState, site_states

REFRESH_SECONDS = 1.0
PIPELINE_LINE_SECONDS = 10.0
HISTORY_SLOTS = 30


def site_line(state: SiteState) -> SiteLine:
    """A stored state as the picture shows it."""
    return SiteLine(
        name=state.site_name,
        outcome=state.outcome,
        since=state.since,
        reason=state.reason,
        detail=state.detail or "",
        status_code=state.status_code,
        response_time_ms=state.response_time_ms,
        history=tuple(state.recent),
    )


def pipeline_of(facts: PipelineFacts | None, queue_length: int | None, stats: PersistStats | None) -> Pipeline:
    """What is known of the pipeline, from its three sources."""
    return Pipeline(
        rows_last_minute=facts.rows if facts else None,
        lateness_p99_seconds=facts.lateness_p99_seconds if facts else None,
        queue_length=queue_length,
        lag=sum(p.lag or 0 for p in stats.assignment) if stats else None,
        last_batch_records=stats.last_batch_records if stats else None,
        last_batch_at=stats.last_write_at if stats else None,
    )


class SnapshotSource:
    """Takes snapshots; holds one Postgres connection and one Redis client, and makes them anew when they are lost."""

    def __init__(
        self, settings: Settings, names: Sequence[str], persist_stats: Callable[[], PersistStats | None]
    ) -> None:
        self._settings = settings
        self._names = tuple(names)
        self._persist_stats = persist_stats
        self._redis = connect_redis(settings)
        self._connection: psycopg.Connection | None = None

    def take(self) -> Snapshot:
        """One snapshot; a service that does not answer is a notice in it, never an error."""
        notices = []
        states: list[SiteState] = []
        facts = None
        try:
            states, facts = self._from_postgres()
        except NO_SCHEMA:
            notices.append("The schema is being made")
        except (psycopg.Error, ServiceUnavailable) as error:
            self._drop()
            notices.append(f"Postgres does not answer the view: {str(error).splitlines()[0]}")
        try:
            queue_length: int | None = int(self._redis.llen(f"{self._settings.key_prefix}probe"))
        except redis.RedisError as error:
            queue_length = None
            notices.append(f"Redis does not answer the view: {error}")
        known = {state.site_name for state in states}
        waiting = tuple(SiteLine(name=name, outcome="waiting") for name in self._names if name not in known)
        return Snapshot(
            taken_at=clock.utcnow(),
            sites=tuple(site_line(state) for state in states) + waiting,
            pipeline=pipeline_of(facts, queue_length, self._persist_stats()),
            notice="; ".join(notices),
        )

    def _from_postgres(self) -> tuple[list[SiteState], PipelineFacts]:
        if self._connection is None:
            self._connection = connect(self._settings)
            self._connection.autocommit = True
        return site_states(self._connection, history=HISTORY_SLOTS), pipeline(self._connection)

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def close(self) -> None:
        """Give the connections back."""
        self._drop()
        self._redis.close()


class LiveView:
    """Draws snapshots from a thread of its own until it is stopped."""

    def __init__(self, console: Console, *, footer: str, on_unread: Callable[[], None]) -> None:
        """
        Nothing is drawn before `start`.

        Args:
            on_unread: called from its thread, at its end, when nobody sees what it draws any more.
        """
        self._console = console
        self._on_unread = on_unread
        self._footer = footer
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, source: SnapshotSource) -> None:
        """Begin to draw what `source` gives; it is closed at the end."""
        self._thread = threading.Thread(target=self._run, args=(source,), name="live-view", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End it, if it began; the last frame stays on the screen."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=3)

    def _run(self, source: SnapshotSource) -> None:
        try:
            if self._console.is_terminal:
                self._draw(source)
            else:
                self._say(source)
        except Unread:
            self._on_unread()
        finally:
            source.close()

    def _draw(self, source: SnapshotSource) -> None:
        with Live(console=self._console, auto_refresh=False, transient=False) as live:
            while not self._stop.is_set():
                live.update(frame(source.take(), footer=self._footer), refresh=True)
                self._stop.wait(REFRESH_SECONDS)

    def _say(self, source: SnapshotSource) -> None:
        before: Snapshot | None = None
        said_at = clock.monotonic() - PIPELINE_LINE_SECONDS
        while not self._stop.is_set():
            snapshot = source.take()
            for line in changes(before, snapshot):
                self._print(snapshot, line)
            if clock.monotonic() - said_at >= PIPELINE_LINE_SECONDS:
                said_at = clock.monotonic()
                self._print(snapshot, snapshot.notice or pipeline_line(snapshot.pipeline, snapshot.taken_at))
            before = snapshot
            self._stop.wait(REFRESH_SECONDS)

    def _print(self, snapshot: Snapshot, line: str) -> None:
        stamp = snapshot.taken_at.strftime("%H:%M:%SZ")
        self._console.print(f"{stamp} {line}", markup=False, highlight=False, soft_wrap=True)
