"""
``wms ledger``: of the slots expected in a time, how many ended how; exit 1 where one is not accounted for.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import click
import msgspec
from psycopg import Connection

from wms_tasks import clock
from wms_tasks.commands.columns import show
from wms_tasks.commands.results import find_site, last_duration
from wms_tasks.entry import settings_of
from wms_tasks.errors import UsageError, WmsError
from wms_tasks.store.balance import Balance, balance, balanced_names, scheduled_names, total
from wms_tasks.store.connect import session

COUNTS = ("expected", "up", "down", "skipped", "missed", "open", "extra", "late", "redelivered")


@click.command()
@click.option("--last", default="1d", show_default=True, help="How far back, by slot: 30m, 1h, 7d.")
@click.option("--from", "from_", help="From this instant or day (UTC) on, instead of --last.")
@click.option("--to", help="Before this instant or day (UTC); now, where it is not given.")
@click.option("--site", help="Only this site: its name, or its id in the sites file.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object: the time, the total, the sites.")
@click.option("--csv", "as_csv", is_flag=True, help="A line for each site, without the total.")
def ledger(last: str, from_: str | None, to: str | None, site: str | None, as_json: bool, as_csv: bool) -> None:  # noqa: PLR0913, PLR0917
    """
    Is every expected slot accounted for: expected = up + down + skipped + missed + open.

    A line for each site and location, missed and skipped by reason, and their total. Beside that sum: extra (rows of
    slots that no schedule has), late (real results that replaced a missed row) and redelivered (messages that changed
    nothing). Exit 1 if a slot is not accounted for.
    """
    if as_json and as_csv:
        raise UsageError("--json and --csv: choose one")
    since, until = _time(last, from_, to)
    with session(settings_of("reader", "postgres"), "ledger") as connection:
        site_id = None if site is None else _find(connection, site)
        connection.rollback()
        sites = balance(connection, since, until, site_id)
    if as_json:
        _print_json(since, until, sites)
    elif as_csv:
        _print_csv(sites)
    else:
        show(("site", "location", *COUNTS, "reason"), _rows([*sites, total(sites)]))
    _check(sites)


def _find(connection: Connection[Any], site: str) -> UUID:
    """Also one that has left: its schedule is forgotten with its last day, and its balances are not."""
    names = scheduled_names(connection)
    try:
        return find_site(site, names)
    except UsageError:
        return find_site(site, balanced_names(connection) | names)


def _time(last: str, from_: str | None, to: str | None) -> tuple[datetime, datetime]:
    until = clock.utcnow() if to is None else _instant("--to", to)
    since = until - min(last_duration(last), until - clock.EPOCH) if from_ is None else _instant("--from", from_)
    if since >= until:
        raise UsageError(f"--from {since.isoformat()} is not before --to {until.isoformat()}")
    return since, until


def _instant(option: str, text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"{option}: {text!r} is no ISO 8601 day or instant, like 2026-11-23T07:00:00Z") from error
    return max(clock.EPOCH, at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC))


def _counts(one: Balance) -> tuple[int, ...]:
    missed = one.missed.total()
    beside = (one.extra, one.late_replacements, one.redeliveries)
    return (one.expected, one.up, one.down, one.skipped, missed, one.open, *beside)


def _reasons(one: Balance) -> list[tuple[str, int]]:
    """Why slots were missed or skipped, the most frequent first; no reason is of both."""
    return (one.missed + one.skipped_for).most_common()


def _rows(balances: Sequence[Balance]) -> Iterator[tuple[str, ...]]:
    for one in balances:
        reasons = ", ".join(f"{reason} {count}" for reason, count in _reasons(one))
        yield (one.site_name, one.location, *map(str, _counts(one)), reasons)


def _as_object(one: Balance) -> dict[str, object]:
    found: dict[str, object] = msgspec.to_builtins(one)
    return found


def _print_json(since: datetime, until: datetime, sites: Sequence[Balance]) -> None:
    whole = {"from": since, "to": until, "total": _as_object(total(sites)), "sites": [_as_object(one) for one in sites]}
    click.echo(msgspec.json.encode(whole))


def _print_csv(sites: Sequence[Balance]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(("site_id", "site", "location", *COUNTS, "reasons"))
    for one in sites:
        reasons = " ".join(f"{reason}={count}" for reason, count in _reasons(one))
        writer.writerow((one.site_id, one.site_name, one.location, *_counts(one), reasons))


def _check(sites: Sequence[Balance]) -> None:
    """
    Say what does not balance.

    Raises:
        WmsError: anything.
    """
    wrong = [one for one in sites if one.accounted != one.expected]
    if not wrong:
        return
    worst = max(wrong, key=lambda one: abs(one.expected - one.accounted))
    raise WmsError(
        f"the ledger does not balance for {len(wrong)} of {len(sites)}: {worst.site_name} at {worst.location} expects "
        f"{worst.expected} slots, of which {worst.accounted} are accounted for",
        hint="rows were removed by hand, or a day's partition was dropped without its balance",
    )
