"""``wms sites diff``: what a sites file would change of what runs. Reads the ledger in Postgres."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import msgspec

from wms_tasks.entry import settings_of
from wms_tasks.errors import MigrationError, ServiceUnavailable
from wms_tasks.schedule.compare import HIDDEN_KEY, Change, Changed, Comparison, compare, running_site
from wms_tasks.settings import Settings, get_settings
from wms_tasks.sites.durations import format_duration
from wms_tasks.sites.file import load_sites
from wms_tasks.sites.record import Site
from wms_tasks.sites.sizes import format_size
from wms_tasks.sites.wording import shown
from wms_tasks.store.connect import session
from wms_tasks.store.read import running_sites


@click.command(short_help="What a sites file would change of what runs.")
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@click.pass_context
def diff(ctx: click.Context, file: Path | None, as_json: bool) -> None:
    """
    Compare FILE (WMS_SITES) with the sites that beat schedules now, as Postgres knows them.

    Exit 0: the same. Exit 1: they differ. Exit 2: the file is wrong, Postgres could not be asked, or a newer release
    announced what this one does not know.
    """
    settings = get_settings()
    written = load_sites(file or settings.sites)
    try:
        running = _running(settings_of("reader", "postgres"))
    except (ServiceUnavailable, MigrationError, msgspec.ValidationError) as error:
        click.echo(f"wms: {error}", err=True)
        ctx.exit(2)
    found = compare(running, written)
    if as_json:
        click.echo(json.dumps(_report(found), ensure_ascii=False))
    else:
        click.echo("\n".join(_lines(found)))
        if not running:
            click.echo("Beat has announced no sites yet, or none was taken in.", err=True)
    ctx.exit(1 if found else 0)


def _running(settings: Settings) -> list[tuple[Site, str]]:
    with session(settings, "sites diff") as connection:
        found = running_sites(connection)
    return [
        (
            running_site(
                site_id=one.site_id,
                name=one.site_name,
                interval_us=one.interval_us,
                jitter_us=one.jitter_us,
                spec=one.spec,
            ),
            one.spec_digest,
        )
        for one in found
    ]


def _lines(found: Comparison) -> Iterator[str]:
    for mark, sites in (("+", found.added), ("-", found.removed)):
        for site in sites:
            yield f"{mark} {shown(site.name)[1:-1]}  {site.url}"
    for changed in found.changed:
        yield f"~ {shown(changed.name)[1:-1]}"
        yield from (f"    {_words(change)}" for change in changed.changes)
    if not found:
        yield "the same"
        return
    yield f"{len(found.added)} added, {len(found.removed)} removed, {len(found.changed)} changed"


def _words(change: Change) -> str:
    if change.key == HIDDEN_KEY:
        return "a value that is not shown: of a header, a body or a url's query"
    key = change.key.removesuffix("_seconds").removesuffix("_bytes")
    return f"{key}: {_value(change.key, change.old)} → {_value(change.key, change.new)}"


def _value(key: str, value: Any) -> str:
    """As in the file, where that is short."""
    if value is None:
        return "not set"
    if key.endswith("_seconds"):
        return format_duration(round(value * 1000))
    if key.endswith("_bytes"):
        return format_size(value)
    if isinstance(value, str):
        return shown(value)
    return json.dumps(value, ensure_ascii=False)


def _report(found: Comparison) -> dict[str, Any]:
    return {
        "same": not found,
        "added": [_site(site) for site in found.added],
        "removed": [_site(site) for site in found.removed],
        "changed": [_change(changed) for changed in found.changed],
    }


def _site(site: Site) -> dict[str, str]:
    return {"site_id": str(site.site_id), "name": site.name, "url": site.url}


def _change(changed: Changed) -> dict[str, Any]:
    changes = [{"key": change.key, "old": change.old, "new": change.new} for change in changed.changes]
    return {"site_id": str(changed.site_id), "name": changed.name, "changes": changes}
