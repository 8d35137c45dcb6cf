"""A worker's pools of broker connections are there, in their size, before the first thread sends."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from celery import Celery
from kombu import pools

from wms_tasks.app import app_for
from wms_tasks.roles.steps import make_pools
from wms_tasks.settings import Settings

# A connection is made lazily: none of these tests reaches it.
NO_BROKER = "redis://127.0.0.1:1/0"
SIZE = 8


@pytest.fixture
def app() -> Iterator[Celery]:
    """With kombu's own size in force, as in a new process."""
    pools.reset()
    pools.set_limit(10)
    yield app_for(Settings(broker_url=NO_BROKER, worker_concurrency=SIZE))
    pools.reset()
    pools.set_limit(10)


def test_celery_alone_resizes_a_pool_in_use(app: Celery) -> None:
    """What happens to the second of two threads that send first: the day this passes, ``make_pools`` may go."""
    with (
        pools.producers[app.connection_for_write()].acquire(block=True),
        pytest.raises(RuntimeError, match="Can't shrink pool when in use"),
    ):
        _ = app.pool


def test_the_size_comes_first(app: Celery) -> None:
    make_pools(app)
    assert pools.get_limit() == app.pool.limit == app.amqp.producer_pool.limit == SIZE
    with app.producer_pool.acquire(block=True), app.pool.acquire(block=True):
        assert app.amqp.producer_pool.connections is app.pool
