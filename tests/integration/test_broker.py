"""The transport: one client a channel, and a lost connection that looks like one."""

from __future__ import annotations

import contextlib
import queue
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis
from kombu import Connection, Exchange, Queue

from tests.waiting import wait_until
from wms_tasks.app import app_for
from wms_tasks.broker import Transport, connect_redis
from wms_tasks.celery_config import configuration
from wms_tasks.settings import Settings


@pytest.fixture
def broker_settings(redis_url: str) -> Settings:
    """Settings on the test's Redis alone."""
    return Settings(env="test", broker_url=redis_url)


def test_the_app_runs_on_our_transport(broker_settings: Settings) -> None:
    """And on kombu's own, one setting away."""
    with app_for(broker_settings).connection_for_read() as connection:
        assert type(connection.transport) is Transport
    stock = app_for(broker_settings.model_copy(update={"broker_transport": "stock"}))
    with stock.connection_for_read() as connection:
        assert not isinstance(connection.transport, Transport)
        connection.ensure_connection(max_retries=0)


def test_a_hundred_messages_make_no_hundred_connections(broker_settings: Settings) -> None:
    """Publish, take and acknowledge on one channel's client."""
    with redis.Redis.from_url(broker_settings.broker_url) as client:
        with app_for(broker_settings).connection_for_write() as connection:
            queue = connection.SimpleQueue("q")
            queue.put("warm")
            queue.get(timeout=5).ack()
            before = client.info("stats")["total_connections_received"]
            for number in range(100):
                queue.put(number)
            for _ in range(100):
                queue.get(timeout=5).ack()
            queue.close()
            after = client.info("stats")["total_connections_received"]
        assert after - before < 5
        assert client.hlen(f"{broker_settings.key_prefix}unacked") == 0


def test_a_channel_without_its_connection_raises_a_connection_error(broker_settings: Settings) -> None:
    """Not AttributeError, which Celery takes for the end of the world."""
    connection = app_for(broker_settings).connection_for_write()
    channel = connection.channel()
    transport = channel.connection
    transport.client = None
    channel._pool = channel._shared = None
    with pytest.raises(redis.exceptions.ConnectionError):
        channel._create_client()
    assert issubclass(redis.exceptions.ConnectionError, transport.connection_errors)


def test_a_forked_child_makes_its_own_client(broker_settings: Settings) -> None:
    """After the fork the pool is dropped, and the client with it."""
    connection = app_for(broker_settings).connection_for_write()
    channel = connection.channel()
    first = channel._create_client()
    channel._after_fork()
    assert channel._create_client() is not first
    assert channel._create_client() is channel._create_client()
    connection.release()


def test_what_waits_for_an_instant_is_taken_before_a_backlog(broker_settings: Settings) -> None:
    """Else the turn that it waits for is long over when a worker holds it; all others in the order they came."""
    app = app_for(broker_settings)
    with app.connection_for_write() as connection:
        simple = connection.SimpleQueue("q")
        for number, headers in enumerate([{}, {"eta": None}, {"eta": "2026-11-26T12:00:00+00:00"}]):
            simple.put(number, headers=headers)
        taken = [simple.get(timeout=5) for _ in range(3)]
        assert [message.payload for message in taken] == [2, 0, 1]
        for message in taken:
            message.ack()
        simple.close()


def test_an_unacknowledged_message_comes_back(broker_settings: Settings) -> None:
    """A closed channel restores what it held, through our client."""
    app = app_for(broker_settings)
    with app.connection_for_write() as connection:
        simple = connection.SimpleQueue("held")
        simple.put("held")
        simple.get(timeout=5)
        simple.close()
    with app.connection_for_write() as connection:
        simple = connection.SimpleQueue("held")
        message = simple.get(timeout=5)
        assert message.payload == "held"
        message.ack()
        simple.close()


@pytest.mark.parametrize("command", ["psubscribe", "brpop"])
def test_a_reset_poll_connection_is_seen_at_once(broker_settings: Settings, command: str) -> None:
    """Else the worker's loop would wait for ever on a connection that redis-py made in its place."""
    with (
        redis.Redis.from_url(broker_settings.broker_url) as client,
        app_for(broker_settings).connection_for_read() as connection,
        connection.Consumer([Queue("polled"), Queue("told", Exchange("told", type="fanout"))], accept=["json"]),
    ):
        seen: queue.Queue[BaseException] = queue.Queue()
        threading.Thread(target=_drain, args=(connection, seen), daemon=True).start()
        polled = wait_until(lambda: [one["id"] for one in client.client_list() if one["cmd"] == command])
        for client_id in polled:
            client.client_kill_filter(_id=client_id)
        assert isinstance(seen.get(timeout=15), connection.connection_errors)


def _drain(connection: Connection, seen: queue.Queue[BaseException]) -> None:
    """What ends it."""
    try:
        while True:
            with contextlib.suppress(TimeoutError):
                connection.drain_events(timeout=0.3)
    except redis.exceptions.ConnectionError as error:
        seen.put(error)


def test_a_worker_killed_at_its_sweep_does_not_keep_others_from_theirs(broker_settings: Settings) -> None:
    """The lock it leaves behind is gone after seconds, before the slots of what is swept are closed."""
    app = app_for(broker_settings)
    with app.connection_for_write() as connection:
        simple = connection.SimpleQueue("swept")
        simple.put("swept")
        simple.get(timeout=5)
        channel = simple.channel
        channel.visibility_timeout = 0
        with channel.conn_or_acquire() as client:
            assert client.lock(channel.unacked_mutex_key, timeout=channel.unacked_mutex_expire).acquire(blocking=False)
        ours = connect_redis(broker_settings)

        def swept() -> bool:
            channel.qos.restore_visible(interval=1)
            return ours.llen(f"{broker_settings.key_prefix}swept") == 1

        assert not swept()
        wait_until(swept, 20, "the message to be back in its queue", every_seconds=0.2)


def test_rediss_is_verified_unless_the_url_says_otherwise() -> None:
    """Both the broker's and the backend's options, and the transport takes the scheme."""
    settings = Settings(broker_url="rediss://redis.example:6380/0")
    made = configuration(settings)
    assert made["broker_use_ssl"] == made["redis_backend_use_ssl"]
    assert made["broker_use_ssl"]["ssl_cert_reqs"].name == "CERT_REQUIRED"
    asked = settings.model_copy(update={"broker_url": "rediss://redis.example:6380/0?ssl_cert_reqs=none"})
    assert configuration(asked)["broker_use_ssl"]["ssl_cert_reqs"].name == "CERT_NONE"
    assert configuration(asked)["broker_url"] == settings.broker_url
    connection = Connection(settings.broker_url, transport="wms_tasks.broker:Transport", ssl=made["broker_use_ssl"])
    assert connection.ssl == made["broker_use_ssl"]


def test_visibility_timeout_and_prefix_are_everywhere_the_same() -> None:
    """Apps that share a Redis use the shortest, so there must be one."""
    made = configuration(Settings(env="staging", visibility_timeout_seconds=40))
    for options in (made["broker_transport_options"], made["result_backend_transport_options"]):
        assert options["visibility_timeout"] == 40
        assert options["global_keyprefix"] == "wms:staging:"


def test_our_own_client_gives_up_in_time(broker_settings: Settings) -> None:
    """A port where nobody listens: a RedisError, at once."""
    away = broker_settings.model_copy(update={"broker_url": "redis://127.0.0.1:1/0"})
    with pytest.raises(redis.RedisError):
        connect_redis(away).ping()
    assert connect_redis(broker_settings).ping()


def test_all_threads_may_ask_at_once(broker_settings: Settings) -> None:
    """Each waits for a list in which there is nothing; redis-py's own limit is 100."""
    threads = 150
    client = connect_redis(broker_settings.model_copy(update={"worker_concurrency": threads}), timeout_seconds=10.0)
    together = threading.Barrier(threads, timeout=20.0)

    def ask(number: int) -> object:
        together.wait()
        return client.blpop([f"{broker_settings.key_prefix}nothing-{number}"], timeout=1)

    with client, ThreadPoolExecutor(threads) as pool:
        assert list(pool.map(ask, range(threads))) == [None] * threads
