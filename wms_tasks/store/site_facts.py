"""
What /metrics/sites is made of: the newest row and answer of each site that beat schedules now, and who may serve it.

Called by roles/site_series.py, in a transaction that reads only.
"""

from __future__ import annotations

from typing import Any

import msgspec
from psycopg import Connection
from psycopg.rows import class_row

from wms_tasks.site_metrics import SiteFacts
from wms_tasks.sites.record import Site
from wms_tasks.store.queries import query

# An answer is shown until the site had so many slots since, and this long more, which a row may take to be stored: so a
# site that is skipped once has no gap, and one that nobody asks any more, or whose rows do not come, has no series.
SHOWN_SLOTS = 5
SHOWN_MORE_SECONDS = 120
# How many of the newest rows are looked at.
RECENT_ROWS = 10

# A site's spec leaves out what is as by default.
_TIMEOUT_SECONDS = next(one.default for one in msgspec.structs.fields(Site) if one.name == "timeout_seconds")


def serves_series(connection: Connection[Any]) -> bool:
    """Whether this connection may serve the series: one at a time in a database, until it is closed."""
    row = connection.execute(query("try_series_lock")).fetchone()
    return bool(row and row[0])


def count_sites(connection: Connection[Any], at_most: int) -> int:
    """How many sites and locations are scheduled now, counted no further than this."""
    row = connection.execute(query("count_sites"), {"at_most": at_most}).fetchone()
    return int(row[0]) if row else 0


def site_facts(connection: Connection[Any]) -> list[SiteFacts]:
    """Of each site and location, by name; those without a row that is new enough are left out."""
    with connection.transaction(), connection.cursor(row_factory=class_row(SiteFacts)) as cursor:
        # A row is looked up by its key, a site's newest rows at the end of the key's index: never by reading a day.
        connection.execute(query("nested_loops"))
        parameters = {
            "timeout_seconds": _TIMEOUT_SECONDS,
            "slots": SHOWN_SLOTS,
            "more_us": SHOWN_MORE_SECONDS * 1_000_000,
            "rows": RECENT_ROWS,
        }
        return cursor.execute(query("site_facts"), parameters).fetchall()
