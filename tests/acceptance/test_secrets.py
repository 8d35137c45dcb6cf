"""A secret's way through the whole system: it reaches the site, and nothing else that can be looked into."""

from __future__ import annotations

import base64
import json
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

from tests.acceptance.processes import roles
from tests.persisting import count, query
from tests.servers import LocalServer, Peer, answer
from tests.waiting import wait_until
from wms_tasks.embedded.postgres import EmbeddedPostgres
from wms_tasks.probe.scrub import SCRUBBED
from wms_tasks.settings import Settings

RUN = [sys.executable, "-m", "wms_tasks.cli", "run"]
VARIABLE, FILE, PASSWORD = "canary-in-a-variable", "canary-in-a-file", "canary-as-a-password"
BASIC = base64.b64encode(f"me:{PASSWORD}".encode()).decode()
ANSWERS = {("repeats", "down", "status"), ("elsewhere", "skipped", "secret")}
# Long enough that also on a busy machine a slot begins while a turn is left in it.
SITES = """
hosts: {{127.0.0.1: {{spacing: 1ms}}}}
defaults: {{interval: 5s, timeout: 800ms, jitter: 0s, retries: 1, robots: ignore, evidence: body}}
sites:
  - name: repeats
    url: {url}
    method: POST
    body: '{{"password": "${{WMS_SECRET_PASSWORD}}"}}'
    auth: {{basic: {{username: me, password: '${{WMS_SECRET_PASSWORD}}'}}}}
    headers:
      X-Variable: a ${{WMS_SECRET_CANARY}}
      X-File: ${{file:shop/token}}
      Cookie: s=${{WMS_SECRET_PASSWORD}}
    expect: {{headers: {{X-You-Sent: nothing}}, body_regexp: nothing}}
  - name: elsewhere
    url: {url}
    headers: {{X-Other: '${{WMS_SECRET_OTHER}}'}}
"""


def echo(peer: Peer) -> None:
    """The whole request, back in a header and in the body, with a status that is worth a retry."""
    target, query = peer.request.path, dict(parse_qsl(peer.request.path.partition("?")[2]))
    sent = json.dumps([target, query, peer.request.body.decode(), dict(peer.request.headers)])
    answer(sent.encode(), status_code=503, headers={"X-You-Sent": sent, "Content-Type": f"text/{sent}"})(peer)


@contextmanager
def everything_sent_to(redis_url: str) -> Iterator[bytearray]:
    """Every command that Redis gets, as MONITOR tells it."""
    at, said = urlsplit(redis_url), bytearray()
    with socket.create_connection((at.hostname, at.port or 6379), timeout=10) as connection:
        connection.sendall(b"MONITOR\r\n")
        assert connection.recv(5) == b"+OK\r\n"
        connection.settimeout(None)

        def listen() -> None:
            while data := connection.recv(1 << 16):
                said.extend(data)

        listener = threading.Thread(target=listen)
        listener.start()
        try:
            yield said
        finally:
            connection.shutdown(socket.SHUT_RDWR)
            listener.join(10)


def readable(data: bytes) -> str:
    """`data`, and what kombu hides in base64."""
    runs = re.findall(rb"(?:[A-Za-z0-9+/]{4}){4,}(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?", data)
    return "\n".join(text.decode("utf-8", "replace") for text in [data, *map(base64.b64decode, runs)])


def in_kafka(settings: Settings, at_least: int) -> str:
    """All messages that the topic has by now."""
    found: list[str] = []
    consumer = Consumer({"bootstrap.servers": settings.kafka_bootstrap_servers, "group.id": "canary"})
    try:
        partitions = consumer.list_topics(settings.topic, timeout=10).topics[settings.topic].partitions
        everywhere = [TopicPartition(settings.topic, number, OFFSET_BEGINNING) for number in partitions]
        ends = {one.partition: consumer.get_watermark_offsets(one, timeout=10)[1] for one in everywhere}
        consumer.assign(everywhere)

        def read() -> bool:
            found.extend(f"{m.key()} {m.value()} {m.headers()}" for m in consumer.consume(100, 0.2) if not m.error())
            return len(found) >= sum(ends.values())

        wait_until(read, 30, "messages")
    finally:
        consumer.close()
    assert len(found) >= at_least
    return "\n".join(found)


def answered(settings: Settings) -> set[tuple[str, str, str]]:
    """What became of the slots that a worker took up."""
    return set(query(settings, "SELECT DISTINCT site_name, outcome, reason FROM wms.results WHERE outcome <> 'missed'"))


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_secret_is_nowhere_but_at_the_site(
    settings: Settings, wms_environ: dict[str, str], postgres_server: EmbeddedPostgres, tmp_path: Path
) -> None:
    """
    Probed, retried, stored and announced, with everything logged that can be, by a server that repeats what it is sent:
    no command to Redis, message in Kafka, table of Postgres or line of the log holds a value; all of them the site.
    """
    (tmp_path / "secrets" / "shop").mkdir(parents=True)
    (tmp_path / "secrets" / "shop" / "token").write_text(f"{FILE}\n")
    environ = {
        **wms_environ,
        "WMS_SITES": str(tmp_path / "sites.yaml"),
        "WMS_SECRETS_DIR": str(tmp_path / "secrets"),
        "WMS_SECRET_CANARY": VARIABLE,
        "WMS_SECRET_PASSWORD": PASSWORD,
        "WMS_SECRET_OTHER": "canary-for-another-host",
        "WMS_SECRET_OTHER_HOSTS": "other.example",
        "WMS_LOG_LEVEL": "DEBUG",
    }
    with (
        LocalServer({"/": echo}) as server,
        everything_sent_to(settings.broker_url) as to_redis,
        roles(environ, tmp_path) as started,
    ):
        (tmp_path / "sites.yaml").write_text(SITES.format(url=server.url("/")))
        role = started.start(program=RUN)
        wait_until(lambda: answered(settings) >= ANSWERS and count(settings) >= 4, 120, "rows of both sites")
        role.stop()
        log = role.said()
    sent = server.seen[-1].headers
    assert (sent["x-variable"], sent["x-file"], sent["cookie"]) == (f"a {VARIABLE}", FILE, f"s={PASSWORD}")
    assert sent["authorization"] == f"Basic {BASIC}"
    assert server.seen[-1].body == f'{{"password": "{PASSWORD}"}}'.encode()
    assert not [request for request in server.seen if "x-other" in request.headers]

    dump = [str(postgres_server.bin_dir / "pg_dump"), settings.database_url]
    in_postgres = subprocess.run(dump, capture_output=True, text=True, check=True, timeout=60).stdout
    places = {
        "Redis": readable(bytes(to_redis)),
        "Kafka": in_kafka(settings, at_least=4),
        "Postgres": in_postgres,
        "log": log,
    }
    assert "${WMS_SECRET_CANARY}" in places["Redis"]  # that is, we see what passes there
    assert all("repeats" in text for text in places.values())
    assert [place for place, text in places.items() if "canary-" in text or BASIC in text] == []
    # What the server repeated was kept, but for the secrets.
    assert all(SCRUBBED in places[place] for place in ("Redis", "Kafka", "Postgres"))
    ((kept,),) = query(settings, "SELECT DISTINCT evidence ->> 'body' FROM wms.results WHERE evidence IS NOT NULL")
    assert SCRUBBED in kept
    # Whatever else a busy machine makes of some slots, nothing was ever asked without the secret.
    assert {one for one in answered(settings) if one[0] == "elsewhere"} == {("elsewhere", "skipped", "secret")}
