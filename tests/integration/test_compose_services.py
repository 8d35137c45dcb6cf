"""The configuration that docker-compose.yml gives to Valkey and Kafka, tried on the embedded servers of both."""

from __future__ import annotations

import base64
import re
import subprocess
import uuid
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import redis
import yaml
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from tests.ports import free_port, free_ports
from tests.waiting import wait_until
from wms_tasks.embedded.kafka import java
from wms_tasks.embedded.valkey import server_binary

COMPOSE = Path(__file__).resolve().parents[2] / "docker-compose.yml"
KAFKA_HOSTNAME = "kafka"


def service(name: str) -> dict[str, Any]:
    """A service of docker-compose.yml."""
    found: dict[str, Any] = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))["services"][name]
    return found


def test_valkey_takes_the_command_line(tmp_path: Path, valkey_server: object) -> None:
    """The running server says it is durable, never evicts and is bounded: a broker, not a cache."""
    _, *arguments = service("redis")["command"]
    port = free_port()
    places = ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(tmp_path)]
    with subprocess.Popen([str(server_binary()), *places, *arguments], stdout=subprocess.DEVNULL) as process:
        try:
            with redis.Redis(host="127.0.0.1", port=port, decode_responses=True) as client:
                wait_until(lambda: answers(client), what="Valkey answers")
                names = ("appendonly", "appendfsync", "maxmemory", "maxmemory-policy")
                running = client.config_get(*names)
        finally:
            process.terminate()
            process.wait(timeout=10)

    assert running == {
        "appendonly": "yes",
        "appendfsync": "everysec",
        "maxmemory": str(256 * 1024**2),
        "maxmemory-policy": "noeviction",
    }


def answers(client: redis.Redis) -> bool:
    """Whether the server takes commands by now."""
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False


def kafka_properties(folder: Path, ports: dict[str, int]) -> dict[str, str]:
    """
    What the image makes of the KAFKA_* variables: lower case, dots for underscores. Ports and hosts are this test's.

    Source: the image's guide, https://github.com/apache/kafka/blob/trunk/docker/examples/README.md
    """
    given = {
        name.removeprefix("KAFKA_").lower().replace("_", "."): value
        for name, value in service("kafka")["environment"].items()
        if name != "KAFKA_HEAP_OPTS"
    }
    given["log.dirs"] = str(folder / "data")
    for key in ("listeners", "advertised.listeners"):
        given[key] = re.sub(r"(\w+)://[^,]+", lambda match: f"{match[1]}://127.0.0.1:{ports[match[1]]}", given[key])
    given["controller.quorum.voters"] = f"1@127.0.0.1:{ports['CONTROLLER']}"
    return given


@pytest.fixture
def compose_kafka(tmp_path: Path, kafka_jars: Path) -> Iterator[dict[str, int]]:
    """A broker with the file's configuration, formatted and running; the ports by listener."""
    ports = dict(zip(("INTERNAL", "HOST", "CONTROLLER"), free_ports(3), strict=True))
    properties = tmp_path / "server.properties"
    properties.write_text(
        "".join(f"{name}={value}\n" for name, value in kafka_properties(tmp_path, ports).items()), encoding="ascii"
    )
    heap = service("kafka")["environment"]["KAFKA_HEAP_OPTS"].split()
    command = [str(java()), *heap, "-XX:TieredStopAtLevel=1", f"-Djava.io.tmpdir={tmp_path}", "-cp", f"{kafka_jars}/*"]
    cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    # With "=": one id of 64 begins with a dash, and is taken for an option otherwise.
    storage = ["kafka.tools.StorageTool", "format", f"--cluster-id={cluster_id}", "--config", str(properties)]
    subprocess.run([*command, *storage], check=True, capture_output=True, timeout=60)
    with (
        (tmp_path / "log").open("w") as log,
        subprocess.Popen([*command, "kafka.Kafka", str(properties)], stdout=log, stderr=log) as process,
    ):
        try:
            yield ports
        finally:
            process.terminate()
            process.wait(timeout=20)


def test_kafka_takes_the_configuration(compose_kafka: dict[str, int]) -> None:
    """Both listeners lead back to themselves, so containers and the host reach it, and no topic makes itself."""
    for listener in ("INTERNAL", "HOST"):
        port = compose_kafka[listener]
        admin = AdminClient({"bootstrap.servers": f"127.0.0.1:{port}", "log_level": 0, "reconnect.backoff.max.ms": 200})
        brokers = wait_until(partial(broker_ports, admin), timeout_seconds=40, what=f"Kafka on {listener}")
        assert brokers == {port}
        assert admin.list_topics("dev.not-there.v1", timeout=10).topics["dev.not-there.v1"].error is not None

    assert KAFKA_HOSTNAME in service("kafka")["environment"]["KAFKA_ADVERTISED_LISTENERS"]


def broker_ports(admin: AdminClient) -> set[int]:
    """The ports that the brokers name in their metadata; empty while none answers."""
    try:
        return {broker.port for broker in admin.list_topics(timeout=2).brokers.values()}
    except KafkaException:
        return set()
