"""
Connections to Postgres: one plain connection for whoever writes in a loop, a small pool for reads and housekeeping.

Both notice a dead peer within seconds, on either side. Called by persist, housekeeping, migrations and the commands;
knows nothing of tables.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import psycopg
from psycopg import Connection
from psycopg.conninfo import conninfo_to_dict
from psycopg_pool import ConnectionPool, PoolTimeout

from wms_tasks import tls
from wms_tasks.errors import MigrationError, NotAllowed, ServiceUnavailable, SettingsError
from wms_tasks.settings import Settings
from wms_tasks.store.deadline import deadline
from wms_tasks.store.queries import query

if psycopg.pq.__impl__ not in {"binary", "c"}:
    raise ImportError("psycopg fell back to its slow pure Python form: install psycopg[binary]")

CONNECT_TIMEOUT_SECONDS = 5
LOCK_TIMEOUT_SECONDS = 5
POOL_TIMEOUT_SECONDS = 10.0
# For a task's transaction, or a read of the live view: a peer that fell silent would hold its thread for good.
TASK_LIMIT_SECONDS = 60.0

# What the client's kernel does about a peer that went away: about 25 s until the connection fails.
_CLIENT: dict[str, Any] = {
    "connect_timeout": CONNECT_TIMEOUT_SECONDS,
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}

# The same for the server's kernel, so that a dead client's locks are freed; and no wait for a lock without an end.
_SERVER = " ".join(
    f"-c {setting}"
    for setting in (
        "tcp_keepalives_idle=10",
        "tcp_keepalives_interval=5",
        "tcp_keepalives_count=3",
        f"lock_timeout={LOCK_TIMEOUT_SECONDS}s",
        "TimeZone=UTC",
    )
)


_REFUSED_BY_A_POOL = "unsupported startup parameter"
_WHERE = re.compile(r"^connection failed: (connection to server [^\n]*? failed: )?")


def parameters(settings: Settings, role: str) -> dict[str, Any]:
    """What to connect with; the settings' own url parameters win."""
    try:
        given = conninfo_to_dict(settings.database_url)
    except psycopg.ProgrammingError:
        # libpq's message repeats the url, which may hold a password.
        name = settings.database_variable
        raise SettingsError(f"{name}: not a Postgres url (postgresql://user@host:port/database)") from None
    made = {"application_name": f"wms-{role}", **_CLIENT, **given, **tls.postgres(settings, given)}
    if settings.database_pooled:
        # PgBouncer refuses options that it does not know, and may give the next transaction another server connection,
        # which has not prepared what this one has.
        return {**made, "prepare_threshold": None}
    return {**made, "options": f"{_SERVER} {given.get('options') or ''}".strip()}


def place(settings: Settings) -> str:
    """Where Postgres is, for messages: host:port/database, no user and no password."""
    given = parameters(settings, "place")
    host = given.get("host") or given.get("hostaddr") or "local socket"
    return f"{host}:{given.get('port') or 5432}/{given.get('dbname') or given.get('user') or ''}"


def first_line(error: BaseException) -> str:
    """Why, in one line: libpq says several, the first of which matters, and begins with where, which we say."""
    lines = _WHERE.sub("", str(error).strip()).splitlines()
    return lines[0] if lines else type(error).__name__


def unavailable(settings: Settings, error: BaseException) -> ServiceUnavailable:
    """The one line for a person: Postgres at this place does not answer, and why."""
    reason = first_line(error)
    hint = "is it a pool? WMS_DATABASE_POOLED=true" if _REFUSED_BY_A_POOL in reason else ""
    return ServiceUnavailable(f"Postgres at {place(settings)} does not answer: {reason}", hint=hint)


def connect(
    settings: Settings,
    role: str = "read",
    *,
    autocommit: bool = False,
    connect_timeout_seconds: int = CONNECT_TIMEOUT_SECONDS,
) -> Connection[tuple[Any, ...]]:
    """
    A plain connection; who owns it reconnects by making a new one.

    Args:
        role: who we are, shown in pg_stat_activity as ``wms-<role>``.
    Raises:
        ServiceUnavailable: with host, port and libpq's reason.
        SettingsError: the url is none, or a pool's.
    """
    if settings.database_pooled:
        what = "holds locks or a temporary table past a transaction, which a pool gives to others"
        raise SettingsError(f"WMS_DATABASE_POOLED: {role} {what}; name Postgres itself in WMS_DATABASE_URL")
    return _connect(settings, role, autocommit=autocommit, connect_timeout_seconds=connect_timeout_seconds)


def _connect(
    settings: Settings,
    role: str,
    *,
    autocommit: bool = False,
    connect_timeout_seconds: int = CONNECT_TIMEOUT_SECONDS,
) -> Connection[tuple[Any, ...]]:
    given = parameters(settings, role)
    given["connect_timeout"] = min(int(given["connect_timeout"]), connect_timeout_seconds)
    try:
        return psycopg.connect(**given, autocommit=autocommit)
    except psycopg.OperationalError as error:
        raise unavailable(settings, error) from error


def _begin(connection: Connection[Any], settings: Settings) -> None:
    """Where the session's settings could not be, the transaction's are."""
    if settings.database_pooled:
        connection.execute(query("set_for_transaction"))


@contextmanager
def session(
    settings: Settings, role: str = "read", *, limit_seconds: float | None = None
) -> Iterator[Connection[tuple[Any, ...]]]:
    """
    One transaction on a connection of its own, for a command or a task that runs once.

    Args:
        limit_seconds: the whole block may take no longer; None: as long as it likes, a person can end it.
    Raises:
        ServiceUnavailable: also when the connection is lost in the middle.
        MigrationError: a table, a column or a function is missing.
        NotAllowed: its login has no right to that.
    """
    with _connect(settings, role) as connection:
        try:
            with (
                allowed(settings),
                nullcontext() if limit_seconds is None else deadline(connection, limit_seconds),
            ):
                _begin(connection, settings)
                yield connection
        except psycopg.OperationalError as error:
            raise unavailable(settings, error) from error
        except NO_SCHEMA as error:
            raise no_schema(settings, error) from error


@contextmanager
def allowed(settings: Settings) -> Iterator[None]:
    """
    Within it, who asks with another login than that needs is told so (docs/howto/least-rights.md).

    Raises:
        NotAllowed: its login has no right to that.
    """
    try:
        yield
    except psycopg.errors.InsufficientPrivilege as error:
        raise NotAllowed(f"{settings.database_variable}: its login may not do that: {first_line(error)}") from error


# What Postgres says where nothing has been migrated yet, or not enough: also between two migrations of a first start.
NO_SCHEMA = (
    psycopg.errors.UndefinedTable,
    psycopg.errors.UndefinedColumn,
    psycopg.errors.UndefinedFunction,
    psycopg.errors.InvalidColumnReference,
    psycopg.errors.InvalidSchemaName,
)


def no_schema(settings: Settings, error: psycopg.Error) -> MigrationError:
    """The one line for `NO_SCHEMA`."""
    message = f"Postgres at {place(settings)} has no schema of ours, or an older one: {first_line(error)}"
    return MigrationError(message, hint="wms migrate up")


class ReadPool:
    """Connections for reads and housekeeping, made when asked for and checked before each use."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._pool = ConnectionPool(
            kwargs=parameters(settings, "read"),
            min_size=0,
            max_size=4,
            check=ConnectionPool.check_connection,
            timeout=POOL_TIMEOUT_SECONDS,
            name="wms-read",
            open=False,
        )

    def __enter__(self) -> ReadPool:
        self._pool.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def connection(self) -> Iterator[Connection[tuple[Any, ...]]]:
        """
        A connection with a transaction, committed at the end of the block, which may last `TASK_LIMIT_SECONDS`.

        Raises:
            ServiceUnavailable: none could be made in `POOL_TIMEOUT_SECONDS`, or it was lost.
        """
        try:
            with self._pool.connection() as connection, deadline(connection, TASK_LIMIT_SECONDS):
                _begin(connection, self._settings)
                yield connection
        except PoolTimeout as error:
            raise unavailable(self._settings, error) from error
        except psycopg.OperationalError as error:
            raise unavailable(self._settings, error) from error

    def close(self) -> None:
        """Close what is idle; the pool cannot be opened again."""
        self._pool.close(timeout=1.0)


def read_pool(settings: Settings) -> ReadPool:
    """A pool of up to four connections; ``with read_pool(settings) as pool, pool.connection() as connection``."""
    return ReadPool(settings)
