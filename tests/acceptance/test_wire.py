"""The whole system on Avro with a registry: `wms run`, with the registry away at first."""

from __future__ import annotations

from pathlib import Path

import pytest
from confluent_kafka import Consumer, Message

from tests.acceptance.test_run import SITES, rows, start
from tests.persisting import query
from tests.ports import free_port
from tests.registry import registry
from tests.waiting import wait_until
from wms_tasks.embedded.demo_site import DemoSite
from wms_tasks.settings import Settings

PASSWORD = "s3cr3t-of-the-registry"


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_it_waits_for_the_registry_and_goes_on(tmp_path: Path, settings: Settings, wms_environ: dict[str, str]) -> None:
    """One line that it is away, one that it is back; then rows, framed messages, no rejects, no password in the log."""
    tmp_path.joinpath("sites.yaml").write_text(SITES.format(port=(port := free_port())), encoding="utf-8")
    registry_port = free_port()
    avro = {
        "WMS_WIRE_FORMAT": "avro",
        "WMS_SCHEMA_REGISTRY_URL": f"http://127.0.0.1:{registry_port}",
        "WMS_SCHEMA_REGISTRY_AUTH": f"wms:{PASSWORD}",
        "WMS_LOG_LEVEL": "DEBUG",
    }
    site, log = DemoSite(port=port), tmp_path / "log"
    site.start()
    process = start(tmp_path, wms_environ | avro)
    try:
        wait_until(lambda: "registry.away" in log.read_text(), timeout_seconds=40, what="the registry is missed")
        with registry(port=registry_port) as double:
            double.logins = {f"wms:{PASSWORD}"}
            wait_until(lambda: rows(settings.database_url).count("up") >= 3, timeout_seconds=40, what="three rows")
            process.terminate()
            assert process.wait(timeout=20) == 0, log.read_text()
            assert list(double.subjects) == [f"{settings.topic}-value"]
    finally:
        process.kill()
        site.stop()
    said = log.read_text()
    assert said.count("registry.away") == said.count("registry.back") == 1
    assert PASSWORD not in said
    assert query(settings, "SELECT count(*) FROM wms.rejects") == [(0,)]
    assert {(message.value() or b"")[:5] for message in messages(settings)} == {b"\x00\x00\x00\x00\x01"}


def messages(settings: Settings) -> list[Message]:
    """Some of the topic's."""
    consumer = Consumer(
        {
            "bootstrap.servers": settings.kafka_bootstrap_servers,
            "group.id": settings.topic_suffix,
            "auto.offset.reset": "earliest",
        }
    )
    consumer.subscribe([settings.topic])
    found: list[Message] = []
    wait_until(lambda: found.extend(consumer.consume(1, 0.5)) or len(found) >= 3, 20, "messages")
    consumer.close()
    return found
