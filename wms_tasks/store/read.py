"""
What people ask of the store: what happened, what runs, does the pipeline keep up. Reads only.

Called by the commands and the live view. Every read follows an index, so that none grows with the rows kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from psycopg import Connection
from psycopg.rows import class_row, dict_row

from wms_tasks.prepared import prepared
from wms_tasks.result import Phases, Result
from wms_tasks.store.columns import CERTIFICATE
from wms_tasks.store.queries import query

# Rows fetched at a time from a cursor that stays on the server.
_FETCH_ROWS = 2_000


@prepared
class StoredResult(Result, frozen=True, kw_only=True):
    """One row of results: the result as it was published, and when it was stored."""

    stored_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineFacts:
    """
    The rows stored in the last minute. Lateness is started_at − due_at, of first attempts; ``stored_p99_seconds`` from
    slot to row.

    None where there is nothing to count. ``last_stored_at``: when a batch was last stored, however long ago.
    """

    rows: int
    lateness_p50_seconds: float | None
    lateness_p99_seconds: float | None
    stored_p99_seconds: float | None
    last_stored_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningSite:
    """
    A site that beat schedules now. ``spec`` is its record as JSON, without what may be secret (`announce.redacted`) and
    without the other fields here; ``spec_digest`` is that of the whole.
    """

    site_id: UUID
    site_name: str
    interval_us: int
    jitter_us: int
    spec: dict[str, Any]
    spec_digest: str


def running_sites(connection: Connection[Any]) -> list[RunningSite]:
    """What beat announced last, as far as it was taken in; in no order of meaning."""
    with connection.transaction(), connection.cursor(row_factory=class_row(RunningSite)) as cursor:
        return cursor.execute(query("running_sites")).fetchall()


def site_called(connection: Connection[Any], name: str, by_id: Iterable[UUID]) -> UUID | None:
    """
    The site whose newest row has this name, if it was announced by it or is one of those by its id. None says little.
    """
    announced: list[UUID] = [one for (one,) in connection.execute(query("announced_ids"), {"site_name": name})]
    for site_id in (*announced, *by_id):
        if connection.execute(query("newest_name"), {"site_id": site_id}).fetchone() == (name,):
            return site_id
    return None


def site_names(connection: Connection[Any]) -> dict[UUID, str]:
    """Each site that has a row, with the name it has in its newest one; in no order."""
    with connection.transaction():
        connection.execute(query("no_jit"))
        return dict(connection.execute(query("site_names")).fetchall())


def results(
    connection: Connection[Any],
    site_id: UUID | None,
    since: datetime,
    limit: int | None = None,
    *,
    not_up: bool = False,
) -> Iterator[StoredResult]:
    """
    Rows with scheduled_at from ``since`` on, newest first, a few thousand at a time in memory.

    Args:
        site_id: None for all sites.
        limit: None for all rows.
        not_up: leave out those that are up.
    """
    name = "results_since" if site_id is None else "results_of_site_since"
    with connection.transaction():
        connection.execute(query("no_jit"))
        with connection.cursor("wms_results", row_factory=dict_row) as cursor:
            cursor.itersize = _FETCH_ROWS
            cursor.execute(query(name), {"site_id": site_id, "since": since, "limit": limit, "not_up": not_up})
            yield from map(stored_result, cursor)


def stored_result(row: dict[str, Any]) -> StoredResult:
    """From columns, by their names, to the records they were made from; phases that are all NULL were none."""
    phases = {name: row.pop(name) for name in Phases.__struct_fields__}
    certificate = {name: row.pop(column) for name, column in CERTIFICATE.items()}
    row["phases"] = phases if any(value is not None for value in phases.values()) else None
    row["certificate"] = certificate if certificate["subject"] is not None else None
    return msgspec.convert(row, StoredResult)


def pipeline(connection: Connection[Any]) -> PipelineFacts:
    """The last minute."""
    with connection.transaction(), connection.cursor(row_factory=class_row(PipelineFacts)) as cursor:
        connection.execute(query("no_jit"))
        facts = cursor.execute(query("pipeline")).fetchone()
        assert facts is not None
        return facts
