"""
``wms rejects``: messages that could not be stored: look at them, store them after all, or let them go.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import click

from wms_tasks import clock
from wms_tasks.codec.wire import WireReader
from wms_tasks.commands.columns import instant, printable, show
from wms_tasks.commands.results import last_duration
from wms_tasks.entry import settings_of
from wms_tasks.errors import UsageError, WmsError
from wms_tasks.persist.replay import replay as replay_one
from wms_tasks.settings import Settings
from wms_tasks.store.connect import allowed, connect, session
from wms_tasks.store.rejects import StoredReject, drop_rejects, rejects_by_id, rejects_since

HEADER = ("id", "rejected", "partition", "offset", "reason", "site", "slot", "detail")
# Read for `--all` at a time: a reject may be large.
PAGE = 200


@click.group()
def rejects() -> None:
    """Messages that could not be stored: list, show, replay, drop."""


@rejects.command(name="list")
@click.option("--last", default="90d", show_default=True, help="How far back: 30m, 1h, 7d.")
@click.option("--reason", help="Only these: undecodable, unstorable, no_partition, ….")
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True, help="At most so many.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, without the value.")
def list_(last: str, reason: str | None, limit: int, as_json: bool) -> None:
    """The oldest of them, and why each was rejected."""
    since = clock.utcnow() - last_duration(last)
    with session(settings_of("reader", "postgres"), "rejects") as connection:
        found = rejects_since(connection, since, reason=reason, limit=limit)
    if as_json:
        for one in found:
            click.echo(json.dumps(_as_object(one)))
    elif found:
        show(HEADER, [_row(one) for one in found])
    else:
        click.echo("no rejects", err=True)


@rejects.command(name="show")
@click.argument("reject_id", type=int)
@click.option("--raw", is_flag=True, help="Only the value's bytes, as they are.")
def show_(reject_id: int, raw: bool) -> None:
    """One of them, with its headers and its value."""
    with session(settings_of("reader", "postgres"), "rejects") as connection:
        one = _wanted(rejects_by_id(connection, [reject_id]), [reject_id])[0]
    if raw:
        click.echo(one.value or b"", nl=False)
        return
    for name, content in _as_object(one).items():
        click.echo(f"{name:14}{printable(str('' if content is None else content))}")
    click.echo(f"{'headers':14}{one.headers_json}")
    click.echo(f"{'value':14}{printable((one.value or b'').decode('utf-8', 'backslashreplace'))}")


@rejects.command()
@click.argument("ids", type=int, nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All of them.")
def replay(ids: tuple[int, ...], everything: bool) -> None:
    """
    Store them after all, once what was wrong is mended: each becomes its slot's row, in place of a missed one.

    What still cannot be stored stays, and is named; exit 1 then.
    """
    if bool(ids) == everything:
        raise UsageError("name the ids of rejects, or --all (wms rejects list shows them)")
    settings = settings_of("housekeeping", "housekeeping").for_housekeeping
    stored, kept = _replay(settings, list(ids) if ids else _all_ids(settings))
    click.echo(f"{stored} stored, {kept} still rejected")
    if kept:
        raise WmsError(f"{kept} could not be stored", hint="wms rejects show ID")


@rejects.command()
@click.argument("ids", type=int, nargs=-1, required=True)
@click.option("--yes", is_flag=True, help="Needed: they cannot be had back once Kafka has let go of them.")
def drop(ids: tuple[int, ...], yes: bool) -> None:
    """Delete them for good."""
    if not yes:
        raise UsageError(f"this deletes {len(ids)} rejects for good", hint="add --yes")
    settings = settings_of("housekeeping", "housekeeping").for_housekeeping
    with session(settings, "rejects") as connection:
        _wanted(rejects_by_id(connection, ids), ids)
        dropped = drop_rejects(connection, ids)
    click.echo(f"{dropped} dropped")


def _all_ids(settings: Settings) -> list[int]:
    with session(settings, "rejects") as connection:
        return [one.id for one in rejects_since(connection, clock.EPOCH)]


def _replay(settings: Settings, ids: Sequence[int]) -> tuple[int, int]:
    stored, kept, wire = 0, 0, WireReader(settings)
    with connect(settings, "rejects", autocommit=True) as connection, allowed(settings):
        for start in range(0, len(ids), PAGE):
            page = ids[start : start + PAGE]
            for one in _wanted(rejects_by_id(connection, page), page):
                if why := replay_one(connection, settings, one, wire):
                    kept += 1
                    click.echo(f"{one.id} stays: {printable(why)}", err=True)
                else:
                    stored += 1
    return stored, kept


def _wanted(found: list[StoredReject], ids: Sequence[int]) -> list[StoredReject]:
    """
    All of them.

    Raises:
        UsageError: one is not there.
    """
    if missing := set(ids) - {one.id for one in found}:
        raise UsageError(f"no reject {', '.join(map(str, sorted(missing)))}", hint="wms rejects list")
    return found


def _row(one: StoredReject) -> tuple[str, ...]:
    return (
        str(one.id),
        instant(one.rejected_at),
        str(one.partition),
        str(one.kafka_offset),
        one.reason,
        str(one.site_id or ""),
        instant(one.scheduled_at),
        one.error,
    )


def _as_object(one: StoredReject) -> dict[str, str | int | None]:
    return {
        "id": one.id,
        "rejected_at": instant(one.rejected_at),
        "topic": one.topic,
        "topic_id": one.topic_id,
        "partition": one.partition,
        "offset": one.kafka_offset,
        "reason": one.reason,
        "error": one.error,
        "site_id": str(one.site_id) if one.site_id else None,
        "scheduled_at": instant(one.scheduled_at) or None,
        "key": None if one.key is None else one.key.decode("utf-8", "backslashreplace"),
        "value_bytes": len(one.value or b"") if one.value_bytes is None else one.value_bytes,
        "value_sha256": one.value_sha256.hex() if one.value_sha256 else None,
    }
