"""
yoyo's backend for psycopg 3 (its ``postgresql+psycopg``), connected our way and without its start-up noise.

A new object for each attempt: yoyo's ``lock()`` forgets to unlock when its body raises.
"""

from __future__ import annotations

import os
import pwd
import socket
import uuid
from datetime import UTC
from typing import Any

from psycopg import Connection
from yoyo.backends.core.postgresql import PostgresqlPsycopgBackend
from yoyo.connections import DatabaseURI
from yoyo.migrations import default_migration_table

from wms_tasks import clock
from wms_tasks.settings import Settings
from wms_tasks.store.connect import connect

SCHEMA = "wms_migrations"


def _who() -> str:
    """Who migrates; ``getpass.getuser()`` raises in containers whose uid has no passwd entry."""
    for name in ("LOGNAME", "USER"):
        if found := os.environ.get(name):
            return found
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid{os.getuid()}"


class Backend(PostgresqlPsycopgBackend):  # type: ignore[misc]
    """yoyo's tables live in schema ``wms_migrations``; the migrations themselves name their schema in full."""

    # yoyo copies a backend by class and uri alone, so the settings travel in the uri's args.
    def connect(self, dburi: DatabaseURI) -> Connection[Any]:
        """A connection as the rest of the program makes them."""
        self.schema = SCHEMA
        return connect(dburi.args["settings"], "migrate", autocommit=True)

    def init_database(self) -> None:
        """The lock table, asked for quietly: yoyo tries blindly and leaves two ERRORs in Postgres' log each start."""
        self.execute(self.format_sql(self.create_lock_table_sql).replace("CREATE TABLE", "CREATE TABLE IF NOT EXISTS"))
        self.has_transactional_ddl = True

    def get_log_data(self, migration: Any = None, operation: str = "apply") -> dict[str, Any]:
        """What yoyo logs, without its look-up of the host's full name, which waits for a silent resolver."""
        return {
            "id": str(uuid.uuid1()),
            "migration_id": migration.id if migration else None,
            "migration_hash": migration.hash if migration else None,
            "username": _who(),
            "hostname": socket.gethostname(),
            "created_at_utc": clock.utcnow().astimezone(UTC).replace(tzinfo=None),
            "operation": operation,
        }


def open_backend(settings: Settings) -> Backend:
    """
    A backend ready to use; the caller holds our advisory lock, so yoyo's own lock row can only be a dead one.

    Raises:
        ServiceUnavailable: Postgres does not answer.
    """
    uri = DatabaseURI(
        scheme="postgresql+psycopg",
        username=None,
        password=None,
        hostname=None,
        port=None,
        database=None,
        args={"settings": settings},
    )
    backend = Backend(uri, default_migration_table)
    backend.init_database()
    backend.break_lock()
    return backend
