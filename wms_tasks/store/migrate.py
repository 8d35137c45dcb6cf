"""
Bring the schema to the wanted migration, once, however many start at the same time.

yoyo applies and rolls back; around it stand a polled session lock, retries while Postgres is away, and a table that
keeps each rollback's SQL, so that an older release can undo what it does not contain. Called at the start of the
roles that use Postgres and by ``wms migrate``.
"""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import psycopg
import structlog
from psycopg import Connection
from yoyo import read_migrations

from wms_tasks.errors import MigrationError, ServiceUnavailable
from wms_tasks.settings import Settings
from wms_tasks.store.connect import connect, first_line, place, unavailable
from wms_tasks.store.migration_files import MigrationFile, digest, folder, migration_files
from wms_tasks.store.migration_plan import Plan, plan, plan_down, plan_up
from wms_tasks.store.patience import Patience
from wms_tasks.store.queries import query
from wms_tasks.store.rights import apply_rights
from wms_tasks.store.yoyo_backend import Backend, open_backend

LOCK_POLL_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 10.0

# (this release's ids, the applied ids) → what to do; asked under the lock.
Decide = Callable[[Collection[str], Collection[str]], Plan]

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationStatus:
    """
    One migration: known to this release, applied to the database, or both.

    ``applied_at`` is None where it is not applied; ``can_roll_back``: this release carries its rollback or the
    database keeps it.
    """

    migration_id: str
    applied_at: datetime | None
    in_this_release: bool
    can_roll_back: bool


def migrate_to_target(
    settings: Settings,
    *,
    give_up_after_seconds: float | None = None,
    stopping: threading.Event | None = None,
) -> None:
    """`bring_to_target`, with a patience of its own."""
    bring_to_target(settings, Patience(give_up_after_seconds, stopping))


def bring_to_target(settings: Settings, patience: Patience) -> None:
    """
    Apply, or roll back, to ``settings.schema_target``; unset: apply whatever this release has and the database lacks.

    Waits while Postgres does not answer, saying so once a minute, and while another process migrates.

    Raises:
        MigrationError: the target is unknown, a rollback is kept nowhere, or a migration's SQL fails.
        ServiceUnavailable: patience is over.
    """
    target = settings.schema_target
    todo = _migrate(settings, lambda files, applied: plan(files=files, applied=applied, target=target), patience)
    say_newer(todo)


def say_newer(found: Plan) -> None:
    """Where the schema has what this release does not know."""
    if found.newer:
        _log.warning("migrate.schema_newer", unknown=list(found.newer), hint="written by a newer release; going on")


def migrate_up(settings: Settings, target: str | None, *, give_up_after_seconds: float) -> tuple[str, ...]:
    """Apply what is missing up to a target, by default this release's newest. Returns what was applied."""
    patience = Patience(give_up_after_seconds)
    return _migrate(settings, lambda files, applied: plan_up(files, applied, target), patience).apply


def migrate_down(settings: Settings, target: str | None, *, give_up_after_seconds: float) -> tuple[str, ...]:
    """Roll back to a target, by default the newest one alone. Returns what was rolled back."""
    patience = Patience(give_up_after_seconds)
    return _migrate(settings, lambda files, applied: plan_down(files, applied, target), patience).roll_back


def migration_status(connection: Connection[Any], where: Path | None = None) -> list[MigrationStatus]:
    """Every migration that this release or the database knows, oldest first."""
    files = {f.migration_id for f in migration_files(where or folder())}
    applied = applied_migrations(connection)
    return [
        MigrationStatus(
            migration_id=i,
            applied_at=applied[i][0] if i in applied else None,
            in_this_release=i in files,
            can_roll_back=i in files or applied[i][1],
        )
        for i in sorted({*files, *applied})
    ]


def _migrate(settings: Settings, decide: Decide, patience: Patience) -> Plan:
    attempt = 0
    while True:
        try:
            return _migrate_once(settings, decide, patience)
        except ServiceUnavailable as error:
            event, reason = "migrate.postgres_away", error
        except psycopg.errors.LockNotAvailable as error:
            event, reason = "migrate.tables_in_use", _in_use(settings, error)
        except psycopg.OperationalError as error:
            event, reason = "migrate.postgres_away", unavailable(settings, error)
        except psycopg.errors.InsufficientPrivilege as error:
            what = f"cannot migrate the schema at {place(settings)}: {first_line(error)}"
            raise MigrationError(what, hint="migrate as its owner, and set WMS_MIGRATE=wait here") from error
        except psycopg.Error as error:
            raise MigrationError(f"cannot migrate the schema at {place(settings)}: {first_line(error)}") from error
        patience.pause(min(0.5 * 2**attempt, LONGEST_PAUSE_SECONDS), event, reason)
        attempt += 1


def _in_use(settings: Settings, error: psycopg.Error) -> ServiceUnavailable:
    """Somebody reads or writes a table that is to be changed, for longer than all others may be kept waiting."""
    what = f"a table at {place(settings)} is in use: {first_line(error)}"
    return ServiceUnavailable(what, hint="end the long transaction that pg_stat_activity shows")


def _migrate_once(settings: Settings, decide: Decide, patience: Patience) -> Plan:
    files = {f.migration_id: f for f in migration_files(folder())}
    with _locked(settings, patience) as connection:
        _prepare(connection)
        applied = applied_migrations(connection)
        todo = decide(files, applied)
        for migration_id, (_, kept) in applied.items():
            if migration_id in files and not kept:
                _keep(connection, files[migration_id])
        if todo.apply or todo.roll_back:
            _carry_out(settings, connection, files, todo)
        apply_rights(connection, settings)
    return todo


@contextmanager
def _locked(settings: Settings, patience: Patience) -> Iterator[Connection[Any]]:
    """An autocommit connection that holds the session lock; closing it frees the lock."""
    with closing(connect(settings, "migrate", autocommit=True)) as connection:
        while True:
            row = connection.execute(query("try_migration_lock")).fetchone()
            if row and row[0]:
                break
            busy = ServiceUnavailable("another process is migrating the schema")
            patience.pause(LOCK_POLL_SECONDS, "migrate.waiting_for_lock", busy)
        yield connection


def _prepare(connection: Connection[Any]) -> None:
    """Make what is missing; where nothing is, a role that may only read the schema can start."""
    row = connection.execute(query("has_rollbacks")).fetchone()
    if row and row[0]:
        return
    for name in ("make_migrations_schema", "make_rollbacks_table", "guard_migrations_schema", "guard_rollbacks_table"):
        connection.execute(query(name))


def applied_migrations(connection: Connection[Any]) -> dict[str, tuple[datetime, bool]]:
    """Applied id → when, and whether its rollback is kept."""
    row = connection.execute(query("has_migrations")).fetchone()
    if not row or not row[0]:
        return {}
    return {i: (at, kept) for i, at, kept in connection.execute(query("applied_migrations"))}


def _keep(connection: Connection[Any], file: MigrationFile) -> None:
    """Keep its rollback; before the migration runs, so that nothing is ever applied without one."""
    connection.execute(
        query("keep_rollback"),
        {
            "migration_id": file.migration_id,
            "rollback_sql": file.rollback_sql,
            "sha256": file.sha256,
            "transactional": file.transactional,
            "release": metadata.version("wms-tasks"),
        },
    )


def _carry_out(settings: Settings, connection: Connection[Any], files: dict[str, MigrationFile], todo: Plan) -> None:
    with open_backend(settings) as backend, tempfile.TemporaryDirectory(prefix="wms-rollback-") as scratch:
        for migration_id in todo.roll_back:
            source = _rollback_source(connection, files.get(migration_id), migration_id, Path(scratch))
            _run(backend, "rollback", migration_id, source)
            connection.execute(query("forget_rollback"), {"migration_id": migration_id})
            _log.info("migrate.rolled_back", migration=migration_id)
        for migration_id in todo.apply:
            _keep(connection, files[migration_id])
            _run(backend, "apply", migration_id, files[migration_id].path.parent)
            _log.info("migrate.applied", migration=migration_id)


def _run(backend: Backend, direction: str, migration_id: str, source: Path) -> None:
    """One migration through yoyo, which runs it and marks it in a transaction each."""
    found = read_migrations(str(source)).filter(lambda migration: migration.id == migration_id)
    step = backend.apply_one if direction == "apply" else backend.rollback_one
    try:
        with backend.lock():
            step(found[0])
    except psycopg.OperationalError:
        raise
    except psycopg.Error as error:
        raise MigrationError(f"{direction} of {migration_id} failed: {first_line(error)}") from error


def _rollback_source(connection: Connection[Any], file: MigrationFile | None, migration_id: str, scratch: Path) -> Path:
    """The folder yoyo finds the migration in: this release's, or one written from what the database keeps."""
    if file is not None:
        return file.path.parent
    row = connection.execute(query("kept_rollback"), {"migration_id": migration_id}).fetchone()
    if row is None:
        raise MigrationError(
            f"cannot roll back {migration_id}: this release does not contain it and the database keeps no rollback",
            hint="roll back with the release that applied it",
        )
    rollback_sql, sha256, transactional = row
    if digest(rollback_sql) != sha256:
        raise MigrationError(f"the rollback kept for {migration_id} was changed: its sha256 differs")
    (scratch / f"{migration_id}.sql").write_text("" if transactional else "-- transactional: false\n", encoding="utf-8")
    (scratch / f"{migration_id}.rollback.sql").write_text(rollback_sql, encoding="utf-8")
    return scratch
