"""A Postgres whose kernel answers and whose program does not: the client's own limit ends the wait."""

from __future__ import annotations

import time
from collections.abc import Iterator

import psycopg
import pytest

from tests.faults.proxy import Proxy
from wms_tasks.errors import ServiceUnavailable
from wms_tasks.settings import Settings
from wms_tasks.store.connect import connect, session
from wms_tasks.store.deadline import deadline


@pytest.fixture
def silent(database_url: str) -> Iterator[tuple[Settings, Proxy]]:
    """The database behind a proxy that can fall silent."""
    port = int(str(psycopg.conninfo.conninfo_to_dict(database_url)["port"]))
    with Proxy(port) as proxy:
        url = psycopg.conninfo.make_conninfo(database_url, host="127.0.0.1", port=proxy.port)
        yield Settings(env="test", database_url=url), proxy


def test_a_wait_without_an_end_ends(silent: tuple[Settings, Proxy]) -> None:
    """In the middle of a transaction, as an error of the service."""
    settings, proxy = silent

    def ask() -> None:
        with session(settings, limit_seconds=0.5) as connection:
            connection.execute("SELECT 1")
            proxy.black_hole()
            connection.execute("SELECT 2")

    began = time.monotonic()
    with pytest.raises(ServiceUnavailable):
        ask()
    assert time.monotonic() - began < 5


def test_a_block_in_time_is_left_alone(silent: tuple[Settings, Proxy]) -> None:
    """Also when its limit passes after it."""
    settings, _ = silent
    with connect(settings, autocommit=True) as connection:
        with deadline(connection, 0.2) as limit:
            connection.execute("SELECT 1")
        connection.execute("SELECT pg_sleep(0.4)")
    assert not limit.passed


def test_a_limit_that_passes_between_two_statements_counts(silent: tuple[Settings, Proxy]) -> None:
    """The connection is of no use afterwards."""
    settings, _ = silent
    with connect(settings, autocommit=True) as connection:
        with pytest.raises(psycopg.OperationalError), deadline(connection, 0.2) as limit:
            connection.execute("SELECT pg_sleep(5)")
        assert limit.passed
        assert connection.closed
