"""What the rows in Postgres tell: how late each probe began, and how long its row took to be there for readers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psycopg

from wms_tasks.settings import Settings

# A row can be read from when its transaction was committed: stored_at is when that began. Microseconds matter to
# nobody here, 100,000 rows' worth of Python objects does.
_ROWS = """
SELECT outcome,
       extract(epoch FROM started_at - due_at)::float8,
       extract(epoch FROM pg_xact_commit_timestamp(xmin) - due_at)::float8 - coalesce(response_time_ms, 0) / 1000
FROM wms.results
WHERE scheduled_at >= %s AND scheduled_at < %s
"""

# Of the days that have rows: an empty partition takes 90 kB already.
_SIZE = """
SELECT coalesce(sum(rows), 0)::float8, coalesce(sum(pg_total_relation_size(partition)), 0)::float8
FROM (SELECT tableoid AS partition, count(*) AS rows FROM wms.results GROUP BY tableoid)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """
    The slots of one stretch of time. Seconds, sorted.

    Args:
        up: how many of its rows are.
        lateness: from when a probe was due until it began.
        visible: from when it was due until its row could be read, less its response time.
    """

    up: int
    lateness: tuple[float, ...]
    visible: tuple[float, ...]


def read_window(settings: Settings, since: float, until: float) -> Window:
    """Of slots that begin between two instants of the Unix epoch; Postgres must have been told to note commits."""
    bounds = [datetime.fromtimestamp(instant, UTC) for instant in (since, until)]
    with psycopg.connect(settings.database_url) as connection:
        rows = [row for row in connection.execute(_ROWS, bounds) if row[0] == "up"]
    return Window(
        up=len(rows),
        lateness=tuple(sorted(row[1] for row in rows)),
        visible=tuple(sorted(row[2] for row in rows)),
    )


def bytes_on_disk(settings: Settings, kafka_data: Path) -> tuple[float, float]:
    """Of a row in Postgres with all its indexes, and of a message in Kafka's log, of which there are as many."""
    with psycopg.connect(settings.database_url) as connection:
        found = connection.execute(_SIZE).fetchone()
    rows, size = found or (0, 0)
    logs = kafka_data.glob(f"{settings.topic}-*/*.log")
    return size / max(1, rows), sum(file.stat().st_size for file in logs) / max(1, rows)


def quantile(values: Sequence[float], share: float) -> float:
    """Of sorted values, the one that this share of them does not exceed; infinite where there is none."""
    return values[min(len(values) - 1, math.ceil(share * len(values)) - 1)] if values else math.inf


def histogram_quantile(counts: Sequence[tuple[float, float]], share: float) -> float:
    """
    The same of a Prometheus histogram, at most: the upper edge of the bucket it lies in.

    Args:
        counts: (upper edge, how many are not above it), in that order, the last edge being infinite.
    """
    total = counts[-1][1]
    return next(edge for edge, count in counts if count >= share * total) if total else math.inf
