"""
``wms migrate``: the schema by hand. The roles that use Postgres do ``up`` by themselves when they start.
"""

from __future__ import annotations

import click
import msgspec

from wms_tasks.commands.columns import instant, show
from wms_tasks.entry import settings_of
from wms_tasks.settings import Settings
from wms_tasks.store.connect import session
from wms_tasks.store.migrate import MigrationStatus, migrate_down, migrate_up, migration_status

# A person waits at the terminal; the roles wait for ever.
GIVE_UP_AFTER_SECONDS = 15.0


@click.group()
def migrate() -> None:
    """The database schema: up, down, status."""


@migrate.command()
@click.option("--to", "target", help="A migration's id or number; default: WMS_SCHEMA_TARGET, else the newest.")
def up(target: str | None) -> None:
    """Apply what is missing, up to a migration. Never rolls back."""
    settings = settings_of("migrate", "postgres")
    done = migrate_up(settings, target or settings.schema_target, give_up_after_seconds=GIVE_UP_AFTER_SECONDS)
    _say(settings, "applied", done)


@migrate.command()
@click.option(
    "--to", "target", help="The migration that shall be the newest after it; 0000 for none. Default: one back."
)
def down(target: str | None) -> None:
    """Roll back, newest first, also what a newer release has applied. The rows of dropped tables are gone."""
    settings = settings_of("migrate", "postgres")
    done = migrate_down(settings, target, give_up_after_seconds=GIVE_UP_AFTER_SECONDS)
    _say(settings, "rolled back", done)


@migrate.command()
@click.option("--json", "as_json", is_flag=True, help="A JSON array, one object a migration.")
def status(as_json: bool) -> None:
    """Each migration that this release or the database knows."""
    with session(settings_of("reader", "postgres"), "migrate") as connection:
        found = migration_status(connection)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(found)).decode())
        return
    show(("migration", "applied", "note"), [(one.migration_id, instant(one.applied_at), _note(one)) for one in found])


def _note(one: MigrationStatus) -> str:
    if one.in_this_release:
        return "" if one.applied_at else "not applied"
    return "of a newer release" + ("" if one.can_roll_back else ", which alone can roll it back")


def _say(settings: Settings, what: str, done: tuple[str, ...]) -> None:
    click.echo(f"{what}: {', '.join(done)}" if done else f"nothing to do: {_newest(settings)}")


def _newest(settings: Settings) -> str:
    with session(settings, "migrate") as connection:
        applied = [one.migration_id for one in migration_status(connection) if one.applied_at]
    return f"the schema is at {applied[-1]}" if applied else "no migration is applied"
