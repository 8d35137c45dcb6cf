"""
What a role that uses Postgres does about the schema when it starts, by ``WMS_MIGRATE``: bring it to its target, wait
until another process has, or not look. Called by the persist role; ``wms migrate`` works whatever the setting says.
"""

from __future__ import annotations

import structlog
from psycopg import Connection

from wms_tasks.errors import MigrationError, NotAllowed, ServiceUnavailable
from wms_tasks.settings import Settings
from wms_tasks.store.connect import place, session
from wms_tasks.store.migrate import applied_migrations, bring_to_target, say_newer
from wms_tasks.store.migration_files import folder, migration_files
from wms_tasks.store.migration_plan import plan
from wms_tasks.store.patience import Patience
from wms_tasks.store.queries import query

LOOK_AGAIN_SECONDS = 1.0
_LIMIT_SECONDS = 20.0
_WAITING = "migrate.waiting_for_schema"

_log = structlog.get_logger()


def prepare_schema(settings: Settings, patience: Patience) -> None:
    """
    Return when this release can run on the schema, or at once where it is not to look.

    Raises:
        MigrationError: as of `bring_to_target`; while waiting only for a target that nobody knows.
        ServiceUnavailable: patience is over.
    """
    if settings.migrate == "auto":
        bring_to_target(settings, patience)
    elif settings.migrate == "wait":
        _wait(settings, patience)


def _wait(settings: Settings, patience: Patience) -> None:
    while (lacking := _lacking(settings)) is not None:
        patience.pause(LOOK_AGAIN_SECONDS, _WAITING, lacking)
    if patience.said(_WAITING):
        _log.info("migrate.schema_is_there")


def _lacking(settings: Settings) -> ServiceUnavailable | None:
    """What is waited for; None where the schema has all up to the target. More than that is as well."""
    try:
        with session(settings, "migrate", limit_seconds=_LIMIT_SECONDS) as connection:
            if not _at_rest(connection):
                return ServiceUnavailable("another process is migrating the schema")
            applied = applied_migrations(connection)
    except ServiceUnavailable as error:
        return error
    except MigrationError as error:  # half of yoyo's own tables
        return ServiceUnavailable(error.message)
    except NotAllowed as error:
        return ServiceUnavailable(f"{error.message}: wms migrate up, where WMS_DATABASE_ROLE_PERSIST names it")
    files = {one.migration_id for one in migration_files(folder())}
    todo = plan(files=files, applied=applied, target=settings.schema_target)
    if todo.apply:
        return ServiceUnavailable(f"the schema at {place(settings)} lacks {', '.join(todo.apply)}: wms migrate up")
    say_newer(todo)
    return None


def _at_rest(connection: Connection[tuple[object, ...]]) -> bool:
    """Whether nobody migrates; nobody begins to before this transaction ends."""
    row = connection.execute(query("try_share_migration_lock")).fetchone()
    return row is not None and bool(row[0])
