"""
What people ask of the store first: what is each site now, and since when. Reads only; called by `wms status` and the
live view.

Of many sites each half is asked for over a connection of its own. Postgres works on one query in one process: at 10,000
sites and 20 million rows both halves took 0.26 s and the whole 0.42 s, on two cores.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from datetime import UTC, datetime, time, timedelta
from typing import Any
from uuid import UUID

import msgspec
from psycopg import Connection
from psycopg.rows import class_row

from wms_tasks import clock
from wms_tasks.store.queries import query

# The answer for fewer sites is there before a second connection is.
MANY_SITES = 2_000
_LAST = (1 << 128) - 1
EVERY_ID = (UUID(int=0), UUID(int=_LAST))
HALVES = ((UUID(int=0), UUID(int=_LAST >> 1)), (UUID(int=(_LAST >> 1) + 1), UUID(int=_LAST)))
_WORST_FIRST = {name: at for at, name in enumerate(("down", "robots_unreachable", "missed", "skipped", "up"))}

Session = Callable[[], AbstractContextManager[Connection[Any]]]


class SiteState(msgspec.Struct, frozen=True, kw_only=True):
    """
    What a site is, seen from one location: its newest row. Ten thousand are made at a time, and a frozen dataclass
    takes five times as long to make.

    ``since``: the first slot of the unbroken run of this outcome, as far back as rows are kept. ``recent``: the last
    outcomes, oldest first, this one included. ``chain_expires_at``: when its certificate, or one that came with it,
    ends; None where the newest row has none.
    """

    site_id: UUID
    site_name: str
    location: str
    outcome: str
    reason: str
    detail: str | None
    status_code: int | None
    response_time_ms: float | None
    scheduled_at: datetime
    started_at: datetime | None
    stored_at: datetime
    since: datetime
    recent: list[str]
    chain_expires_at: datetime | None


class _Scan(msgspec.Struct, frozen=True):
    """The query's parameters but the range of ids; `before` is "infinity" where there are rows of a later day."""

    history: int
    scan_from: datetime | str
    before: datetime | str


def site_states(
    connection: Connection[Any], *, history: int = 30, everything: bool = False, another: Session | None = None
) -> list[SiteState]:
    """
    Each site and location that has a row, worst first: down, skipped as robots_unreachable, missed, skipped, up; then
    by name.

    Args:
        history: so many of ``recent``.
        everything: also sites that nobody announced and that have no row of today (UTC): every day is looked through
            for them, as it is where no sites were announced at all.
        another: opens a second connection, which is asked for half of it where there are many sites.
    """
    announced, scan = _scan(connection, history, everything)
    if another is None or announced < MANY_SITES:
        found = _states(connection, scan, EVERY_ID)
    else:
        found = _in_halves(connection, another, scan)
    return sorted(found, key=_rank)


def _scan(connection: Connection[Any], history: int, everything: bool) -> tuple[int, _Scan]:
    """How many sites were announced, and what to look through."""
    today = datetime.combine(clock.utcnow().date(), time.min, UTC)
    tomorrow = today + timedelta(days=1)
    bounds = connection.execute(query("scan_bounds"), {"from_at": tomorrow}).fetchone()
    announced, ahead = bounds or (0, True)
    since = today if announced and not everything else "-infinity"
    return announced, _Scan(history, since, "infinity" if ahead else tomorrow)


def _states(connection: Connection[Any], scan: _Scan, ids: tuple[UUID, UUID]) -> list[SiteState]:
    first, last = ids
    which = {**msgspec.structs.asdict(scan), "first_id": first, "last_id": last}
    with connection.transaction(), connection.cursor(row_factory=class_row(SiteState), binary=True) as cursor:
        connection.execute(query("no_jit"))
        return cursor.execute(query("site_states"), which).fetchall()


def _in_halves(connection: Connection[Any], another: Session, scan: _Scan) -> list[SiteState]:
    lower, upper = HALVES
    with another() as other, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(_states, other, scan, upper)
        try:
            return _states(connection, scan, lower) + waiting.result()
        except BaseException:
            # Or the pool's end would wait for the whole answer: a person who pressed Ctrl-C would, too.
            other.cancel_safe()
            raise


def _rank(state: SiteState) -> tuple[int, str, str]:
    """A robots.txt that answers with an error means skipped, and most likely down; outcomes of later releases: last."""
    unreachable = state.outcome == "skipped" and state.reason == "robots_unreachable"
    worst = _WORST_FIRST.get(state.reason if unreachable else state.outcome, len(_WORST_FIRST))
    return worst, state.site_name, state.location
