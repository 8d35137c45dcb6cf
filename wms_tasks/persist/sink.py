"""
The Postgres side of the persist loop: one connection, made again whenever it is lost, and what is written through it.

Everything that may mean "Postgres is away" comes out as `PostgresAway`; any other error is a fault and ends the loop.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from typing import Any

import psycopg
import structlog
from psycopg import Connection

from wms_tasks import clock
from wms_tasks.errors import ServiceUnavailable
from wms_tasks.persist.rows import reject
from wms_tasks.result import RejectReason
from wms_tasks.settings import Settings
from wms_tasks.store import offsets
from wms_tasks.store.connect import connect, first_line
from wms_tasks.store.deadline import Deadline, deadline, end_wait
from wms_tasks.store.message import (
    LostRange,
    OffsetMove,
    PartitionKey,
    Reject,
    RejectLimits,
    Row,
    Written,
    days_of,
)
from wms_tasks.store.partitions import ensure_days, kept_days, partition_days
from wms_tasks.store.queries import query
from wms_tasks.store.writer import is_postgres_away, write_batch

# Short, because it is a wait in which the loop neither polls Kafka nor sees that it should stop.
CONNECT_TIMEOUT_SECONDS = 2
# For one use of the connection, a whole batch for instance. More than the server gives one statement
# (set_persist_timeouts), which says better what was slow; far less than the loop may go without a round.
ANSWER_SECONDS = 30.0
SHORTEST_PAUSE_SECONDS = 0.25
LONGEST_PAUSE_SECONDS = 5.0

_log = structlog.get_logger()


class PostgresAway(Exception):  # noqa: N818 - reads as what it says
    """Not now. What was to be written is still to be written, or was: the offsets tell."""


class Sink:
    """
    Where batches go. Used by one thread at a time: the loop's, or that of a write, for which the loop waits; `abort`
    alone may be called from another.
    """

    def __init__(self, settings: Settings, *, answer_seconds: float = ANSWER_SECONDS) -> None:
        """
        Nothing is opened before `try_connect`.

        Args:
            answer_seconds: a connection that keeps us waiting longer is given up.
        """
        self._settings = settings
        self._answer_seconds = answer_seconds
        self._limits = RejectLimits(settings.rejects_max_share, settings.rejects_max_value_bytes)
        self._lock = threading.Lock()
        self._connection: Connection[Any] | None = None
        self._days: set[date] = set()
        self._next_attempt = 0.0
        self._pause_seconds = SHORTEST_PAUSE_SECONDS
        self._said = False

    @property
    def connected(self) -> bool:
        """Whether there is a connection, as far as we know."""
        return self._connection is not None

    def try_connect(self) -> bool:
        """Connect if it is time for another attempt. Says once that Postgres is away, and once that it is back."""
        if clock.monotonic() < self._next_attempt:
            return False
        try:
            connection = connect(
                self._settings, "persist", autocommit=True, connect_timeout_seconds=CONNECT_TIMEOUT_SECONDS
            )
        except ServiceUnavailable as error:
            self._away(error.message)
            return False
        with self._lock:
            self._connection = connection
        try:
            with self._noticing() as ready:
                ready.execute(query("set_persist_timeouts"))
                self._days = partition_days(ready)
        except PostgresAway:
            return False
        return True

    def claim(self, keys: Sequence[PartitionKey], low_mark: Callable[[int], int]) -> dict[int, int]:
        """
        The next offset of each partition, now ours.

        Raises:
            PostgresAway: no answer.
        """
        with self._noticing() as connection:
            claimed = offsets.claim(connection, keys, low_mark)
        self._back()
        return claimed

    def note_earlier_lives(self, key: PartitionKey) -> list[LostRange]:
        """
        Write down what earlier topics of this name still held; what was written down now.

        Raises:
            PostgresAway: no answer.
        """
        with self._noticing() as connection:
            return offsets.note_earlier_lives(connection, key)

    def write(
        self, records: Sequence[Row | Reject], moves: Sequence[OffsetMove], lost: Sequence[LostRange] = ()
    ) -> Written:
        """
        All of it in one transaction.

        Raises:
            LostPartition: somebody else has moved an offset; nothing is written.
            TooManyRejects: nothing is written.
            PostgresAway: nothing is written, unless it went away while committing.
        """
        rows = [record for record in records if isinstance(record, Row)]
        rejects = [] if len(rows) == len(records) else [one for one in records if isinstance(one, Reject)]
        with self._noticing() as connection:
            if not self._make_days(connection, rows):
                rejects += [self._no_partition(row) for row in rows if row.day not in self._days]
                rows = [row for row in rows if row.day in self._days]
            written = write_batch(connection, rows, rejects, moves, make_reject=reject, limits=self._limits, lost=lost)
        self._back()
        return written

    def abort(self) -> None:
        """End whatever the connection waits for, from another thread: the wait sees the socket's end at once."""
        with self._lock:
            if self._connection is not None:
                end_wait(self._connection)

    def close(self) -> None:
        """Drop the connection."""
        with self._lock:
            connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _make_days(self, connection: Connection[Any], rows: Sequence[Row]) -> bool:
        """Whether every row's day has a partition now; made where it may have one."""
        wanted = days_of(rows) - self._days
        if days := kept_days(wanted, clock.utcnow().date(), self._settings):
            with connection.transaction():
                ensure_days(connection, days)
            self._days |= days
        return wanted <= self._days

    def _no_partition(self, row: Row) -> Reject:
        why = f"results keeps no day {row.day.isoformat()}: its slot is too old or in the future"
        return reject(row.message, RejectReason.NO_PARTITION, why)

    @contextmanager
    def _noticing(self) -> Iterator[Connection[Any]]:
        """The connection; whatever means that Postgres is away drops it."""
        connection = self._connection
        if connection is None:
            raise PostgresAway("there is no connection")
        limit: Deadline | None = None
        try:
            with deadline(connection, self._answer_seconds) as limit:
                yield connection
        except psycopg.Error as error:
            if not (connection.closed or is_postgres_away(error)):
                raise
            late = limit is not None and limit.passed
            reason = f"no answer for {self._answer_seconds:g} s" if late else first_line(error)
            self._away(reason)
            raise PostgresAway(reason) from error

    def _away(self, reason: str) -> None:
        self.close()
        self._next_attempt = clock.monotonic() + self._pause_seconds
        self._pause_seconds = min(2 * self._pause_seconds, LONGEST_PAUSE_SECONDS)
        if not self._said:
            self._said = True
            _log.warning("persist.postgres_away", reason=reason, hint="holding the batch and waiting")

    def _back(self) -> None:
        """Only what has worked counts: a server that shuts down or is full still takes connections."""
        self._pause_seconds = SHORTEST_PAUSE_SECONDS
        if self._said:
            self._said = False
            _log.warning("persist.postgres_back")
