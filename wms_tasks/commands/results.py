"""
``wms results``: stored results, newest first, of one site or of all. Streams, so that a month of rows is no matter.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import click
import msgspec
from psycopg import Connection

from wms_tasks import clock
from wms_tasks.commands.columns import instant, milliseconds, show
from wms_tasks.commands.described import described, phases_in_short
from wms_tasks.entry import settings_of
from wms_tasks.errors import UsageError
from wms_tasks.sites.durations import parse_duration_ms
from wms_tasks.sites.record import site_id_for
from wms_tasks.store.connect import session
from wms_tasks.store.read import StoredResult, site_called, site_names
from wms_tasks.store.read import results as stored_results

HEADER = ("slot", "site", "location", "is", "reason", "code", "time", "phases", "attempt", "detail")


@click.command()
@click.argument("site", required=False)
@click.option("--last", default="1h", show_default=True, help="How far back, by slot: 30m, 1h, 7d.")
@click.option("--limit", type=click.IntRange(min=1), help="At most so many rows.")
@click.option("--not-up", is_flag=True, help="Only those that are down, skipped or missed.")
@click.option(
    "--verbose", "form", flag_value="verbose", help="All that is known of each, its certificate and evidence too."
)
@click.option("--json", "form", flag_value="json", help="One JSON object a line, every field.")
def results(site: str | None, last: str, limit: int | None, *, not_up: bool, form: str | None) -> None:
    """
    Stored results, newest first; of SITE (its name, or its id in the sites file), or of all.

    The column phases is resolve+connect+tls+processing+transfer in ms, - for a phase there was not. What the last
    failure was answered with: wms results SITE --not-up --limit 1 --verbose
    """
    since = clock.utcnow() - last_duration(last)
    with session(settings_of("reader", "postgres"), "results") as connection:
        site_id = None if site is None else _site_id(connection, site)
        found = stored_results(connection, site_id, since, limit, not_up=not_up)
        if form == "json":
            for result in found:
                click.echo(msgspec.json.encode(result))
        elif form == "verbose":
            for result in found:
                click.echo("\n".join(described(result)) + "\n")
        else:
            show(HEADER, _rows(found))


def last_duration(last: str) -> timedelta:
    """
    ``--last`` as a time; no longer than since the epoch.

    Raises:
        UsageError: it is none.
    """
    try:
        return min(timedelta(milliseconds=parse_duration_ms(last)), clock.utcnow() - clock.EPOCH)
    except (ValueError, OverflowError) as error:
        raise UsageError(f"--last: {error}") from error


def _site_id(connection: Connection[Any], site: str) -> UUID:
    """As `find_site`, which wants every site's name: that takes a second, and nearly always there is a shorter way."""
    found = site_called(connection, site, by_id=[site_id_for(site)])
    return find_site(site, site_names(connection)) if found is None else found


def find_site(site: str, names: dict[UUID, str]) -> UUID:
    """
    The site by its newest name, by its id in the sites file, or by its uuid.

    Raises:
        UsageError: none; with the nearest names.
    """
    for site_id, name in names.items():
        if name == site or str(site_id) == site:
            return site_id
    if (by_id := site_id_for(site)) in names:
        return by_id
    near = difflib.get_close_matches(site, names.values(), n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else "wms status lists the sites that have any"
    raise UsageError(f"no results of a site {site!r}", hint=hint)


def _rows(found: Iterator[StoredResult]) -> Iterator[tuple[str, ...]]:
    for result in found:
        yield (
            instant(result.scheduled_at),
            result.site_name,
            result.location,
            result.outcome,
            result.reason,
            str(result.status_code or ""),
            milliseconds(result.response_time_ms),
            phases_in_short(result.phases),
            str(result.attempt),
            result.detail or "",
        )
