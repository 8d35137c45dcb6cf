"""
``wms status``: what each site is and since when, worst first, from the rows in Postgres.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from functools import partial

import click
import msgspec

from wms_tasks import clock
from wms_tasks.commands.columns import instant, milliseconds, show
from wms_tasks.commands.picture import span
from wms_tasks.entry import settings_of
from wms_tasks.store.connect import session
from wms_tasks.store.site_states import SiteState, site_states
from wms_tasks.store.space import Space, forecast, space

# A site without a row for this long was most likely taken out of the sites file.
SILENT_AFTER = timedelta(days=2)
EXPIRES_SOON = timedelta(days=30)
# Outcomes before the newest, of which only JSON tells.
HISTORY = 30
HEADER = ("site", "location", "is", "since", "for", "reason", "code", "time", "detail")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="A JSON array, one object for each site and location.")
@click.option("--all", "everything", is_flag=True, help="Also sites without a row in the last two days.")
def status(as_json: bool, everything: bool) -> None:
    """What each site is, and since when; worst first: down, robots.txt unreachable, missed, skipped, up."""
    settings = settings_of("reader", "postgres")
    another = partial(session, settings, "status")
    with another() as connection:
        depth = HISTORY if as_json else 0
        states = site_states(connection, history=depth, everything=everything, another=another)
        disk = "" if as_json else space_line(space(connection), clock.utcnow().date(), settings.retention_days)
    now = clock.utcnow()
    shown = [state for state in states if everything or now - state.scheduled_at <= SILENT_AFTER]
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(shown)).decode())
        return
    if shown:
        show(HEADER, _rows(shown, now))
    if hidden := len(states) - len(shown):
        click.echo(f"{hidden} without a row for two days: wms status --all", err=True)
    if states:
        click.echo(disk, err=True)
    else:
        click.echo("no results yet", err=True)


def space_line(found: Space, today: date, retention_days: int) -> str:
    """What a day of results takes, and how long the disk will do."""
    ahead = forecast(found, today, retention_days)
    held = f"the database holds {megabytes(found.database_bytes)}"
    if ahead.bytes_a_day is None:
        return f"{held}; a day's bytes are known after the first whole day (UTC)"
    rate = f"{held}, {megabytes(ahead.bytes_a_day)} a day of results"
    if found.free_bytes is None:
        return f"{rate}; its disk cannot be seen from here"
    free = f"{rate}; {megabytes(found.free_bytes)} free"
    if ahead.fits or ahead.days_until_full is None:
        return f"{free}, enough for the {retention_days} days that are kept"
    return f"{free}, full in {ahead.days_until_full:.0f} days (WMS_RETENTION_DAYS={retention_days})"


def megabytes(size: int) -> str:
    """A size as a person says it."""
    return f"{size / 1e9:,.1f} GB" if size >= 1e9 else f"{size / 1e6:,.1f} MB"


def _rows(states: list[SiteState], now: datetime) -> Iterator[tuple[str, ...]]:
    for state in states:
        yield (
            state.site_name,
            state.location,
            state.outcome,
            instant(state.since),
            span(now - state.since),
            state.reason,
            str(state.status_code or ""),
            milliseconds(state.response_time_ms),
            "; ".join(filter(None, (state.detail, certificate_note(state.chain_expires_at, now)))),
        )


def certificate_note(expires_at: datetime | None, now: datetime) -> str:
    """That a site's certificate, or one that came with it, ends soon or has ended; empty otherwise."""
    if expires_at is None or expires_at - now >= EXPIRES_SOON:
        return ""
    if expires_at <= now:
        return f"certificate expired {span(now - expires_at)} ago"
    return f"certificate expires in {span(expires_at - now)}"
