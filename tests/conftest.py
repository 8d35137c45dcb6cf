"""
The real services for all tests: each started once per session, when first asked for, on free ports in a temporary
folder. A test gets a database of its own (a clone of one migrated template), a flushed Valkey, and a topic of its own.

A part that is missing (a wheel, Kafka's jars without network) skips the test and says why, and fails it in CI.
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
import redis
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from psycopg import sql

from tests.guards import LOOPBACK
from tests.ports import free_ports
from wms_tasks.embedded.jars import fetch_jars
from wms_tasks.embedded.kafka import EmbeddedKafka
from wms_tasks.embedded.postgres import EmbeddedPostgres
from wms_tasks.embedded.valkey import EmbeddedValkey
from wms_tasks.errors import EmbeddedError
from wms_tasks.settings import PREFIX, Settings, get_settings

TEMPLATE = "wms_template"
# Read here because every test begins with no WMS_* variable at all.
KAFKA_JARS = os.environ.get("WMS_KAFKA_JARS")
# How long an example takes says how busy the machine is, not whether the code is right.
hypothesis_settings.register_profile("wms", deadline=None, suppress_health_check=[HealthCheck.too_slow])
hypothesis_settings.load_profile("wms")


# With several processes a file is one's work from its beginning to its end: the long ones come first, so that nobody
# waits at the end for the one that has drawn the longest.
FOLDERS = ("acceptance", "e2e", "faults", "integration", "migration", "unit")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whole processes first, single functions last."""
    root = Path(__file__).parent
    items.sort(key=lambda item: FOLDERS.index(item.path.relative_to(root).parts[0]))


@contextmanager
def needed() -> Iterator[None]:
    """A part that cannot be had: skip here, fail where CI=true."""
    try:
        yield
    except EmbeddedError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error), pytrace=False)
        pytest.skip(str(error))


@pytest.fixture(autouse=True)
def clean_environ(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No WMS_* variable of the caller's, and no settings read before."""
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        monkeypatch.delenv(name)
    get_settings.cache_clear()
    yield
    get_settings.cache_clear()


@pytest.fixture(scope="session")
def services_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where this session's services keep their data; the logs stay for a look afterwards."""
    folder = tmp_path_factory.mktemp("services")
    yield folder
    for data in folder.glob("*/data"):
        shutil.rmtree(data)


@pytest.fixture(scope="session")
def postgres_server(services_folder: Path) -> Iterator[EmbeddedPostgres]:
    """A running Postgres 18; ``.url(database)`` and ``.bin_dir`` (pg_dump, psql)."""
    with needed():
        server = EmbeddedPostgres(services_folder / "postgres", port=free_ports(1)[0])
        server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def valkey_server(services_folder: Path) -> Iterator[EmbeddedValkey]:
    """A running Valkey."""
    with needed():
        server = EmbeddedValkey(services_folder / "valkey", port=free_ports(1)[0])
        server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def kafka_jars() -> Path:
    """The folder of Kafka's jars; downloaded once, then cached."""
    with needed():
        return fetch_jars(Settings(kafka_jars=Path(KAFKA_JARS) if KAFKA_JARS else None))


@pytest.fixture(scope="session")
def kafka_server(services_folder: Path, kafka_jars: Path) -> Iterator[EmbeddedKafka]:
    """A running Kafka node."""
    port, controller_port = free_ports(2)
    with needed():
        server = EmbeddedKafka(services_folder / "kafka", port=port, controller_port=controller_port, jars=kafka_jars)
        server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def kafka_bootstrap(kafka_server: EmbeddedKafka) -> str:
    """Kafka's bootstrap servers."""
    return kafka_server.bootstrap_servers


def _create_database(server: EmbeddedPostgres, template: str | None) -> str:
    name = f"t_{uuid.uuid4().hex}"
    command = sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name))
    if template is not None:
        command += sql.SQL(" TEMPLATE {}").format(sql.Identifier(template))
    with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
        connection.execute(command)
    return name


def _drop_database(server: EmbeddedPostgres, name: str) -> None:
    with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture(scope="session")
def template_database(postgres_server: EmbeddedPostgres) -> str:
    """The name of a database that has every migration applied and lets nobody in, so that it can be cloned."""
    from wms_tasks.store.migrate import migrate_to_target

    with psycopg.connect(postgres_server.url("postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {TEMPLATE}")
        migrate_to_target(Settings(env="test", database_url=postgres_server.url(TEMPLATE)), give_up_after_seconds=20)
        connection.execute(f"ALTER DATABASE {TEMPLATE} ALLOW_CONNECTIONS false")
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (TEMPLATE,))
    return TEMPLATE


@pytest.fixture
def empty_database_url(postgres_server: EmbeddedPostgres) -> Iterator[str]:
    """A fresh database without migrations."""
    name = _create_database(postgres_server, None)
    yield postgres_server.url(name)
    _drop_database(postgres_server, name)


@pytest.fixture
def database_url(postgres_server: EmbeddedPostgres, template_database: str) -> Iterator[str]:
    """A fresh database with all migrations applied."""
    name = _create_database(postgres_server, template_database)
    yield postgres_server.url(name)
    _drop_database(postgres_server, name)


@pytest.fixture
def redis_url(valkey_server: EmbeddedValkey) -> str:
    """An empty Valkey."""
    with redis.Redis.from_url(valkey_server.url) as client:
        client.flushall()
    return valkey_server.url


@pytest.fixture
def settings(redis_url: str, kafka_bootstrap: str, database_url: str) -> Settings:
    """
    Settings of environment `test` on the three services; topic and consumer group are this test's own.

    The topic itself is made by ``wms_tasks.topic.ensure_topic(settings)``.
    """
    return Settings(
        env="test",
        broker_url=redis_url,
        kafka_bootstrap_servers=kafka_bootstrap,
        database_url=database_url,
        topic_suffix=uuid.uuid4().hex[:12],
        kafka_topic_partitions=2,
        worker_name="test-worker",
        worker_concurrency=8,
        allow_networks=LOOPBACK,
        persist_timeout_ms=200,
    )


@pytest.fixture
def wms_environ(settings: Settings) -> dict[str, str]:
    """The WMS_* variables that make a process read `settings`; add them to ``os.environ``'s own for a subprocess."""
    return {f"{PREFIX}{name.upper()}": str(getattr(settings, name)) for name in sorted(settings.model_fields_set)}
