"""Our clients on a real Kafka over TLS: with certificates and with logins, and only with the rights of their role."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import trustme
from structlog.testing import capture_logs

from tests.certificates import AUTHORITY
from tests.e2e.outside import Outside
from tests.pems import certs_folder
from tests.results import a_result
from tests.tls_kafka import PASSWORD, TlsKafka, tls_kafka
from tests.waiting import wait_until
from wms_tasks.errors import NotPublished, ServiceUnavailable
from wms_tasks.ledger.passed import topic_ends
from wms_tasks.persist.reader import Reader
from wms_tasks.publish import Publisher
from wms_tasks.settings import Settings
from wms_tasks.tls_check import require
from wms_tasks.topic import ensure_topic

pytestmark = pytest.mark.slow

As = Callable[..., Settings]


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory, kafka_jars: Path) -> Iterator[TlsKafka]:
    """One for this file."""
    with tls_kafka(tmp_path_factory.mktemp("tls") / "kafka", kafka_jars) as running:
        yield running


@pytest.fixture
def as_role(kafka: TlsKafka, tmp_path: Path) -> As:
    """Settings of staging for a role, with its certificate; over a topic of the test's own."""
    suffix = os.urandom(6).hex()

    def settings(role: str, **other: Any) -> Settings:
        leaf = AUTHORITY.issue_cert(f"{role}.wms.example", common_name=role)
        given = {"kafka_bootstrap_servers": kafka.ssl, "certs_dir": certs_folder(tmp_path / role, leaf)}
        return Settings(env="staging", topic_suffix=suffix, **(given | other))

    kafka.make_topic(settings("worker"))
    return settings


def with_login(kafka: TlsKafka, tmp_path: Path, user: str, password: str = PASSWORD) -> dict[str, Any]:
    """Settings for a login, where there is no certificate of ours."""
    login = f"security.protocol=SASL_SSL\nsasl.mechanism=SCRAM-SHA-256\nsasl.username={user}\nsasl.password={password}"
    folder = certs_folder(tmp_path / "ca-only")
    return {"kafka_bootstrap_servers": kafka.sasl, "certs_dir": folder, "kafka_properties": login}


def publish(settings: Settings) -> None:
    """One result, as a worker does it."""
    publisher = Publisher(require(settings, "kafka"))
    try:
        publisher.publish(a_result(), timeout_seconds=8)
    finally:
        publisher.close()


def read_one(settings: Settings) -> bytes | None:
    """The topic's first message, as persist does it."""
    reader = Reader(require(settings, "kafka"))
    try:
        wait_until(lambda: reader.poll(1, 0.1) or reader.assigned, 20, "the partition")
        reader.position({0: 0})
        (message,) = wait_until(lambda: reader.poll(1, 0.1), 20, "the message")
        value: bytes | None = message.value()
        return value
    finally:
        reader.close()


def test_each_role_by_its_certificate(as_role: As) -> None:
    """Nothing is set but the folder and the servers: looked for, written, read, and asked for its end."""
    ensure_topic(as_role("worker"))
    publish(as_role("worker"))
    assert read_one(as_role("persist")) is not None
    assert topic_ends(as_role("persist")).ends == {0: 1}


def test_each_role_by_its_login(as_role: As, kafka: TlsKafka, tmp_path: Path) -> None:
    """SCRAM over TLS, by properties."""
    publish(as_role("worker", **with_login(kafka, tmp_path, "worker")))
    assert read_one(as_role("persist", **with_login(kafka, tmp_path, "persist"))) is not None
    refused = as_role("worker", **with_login(kafka, tmp_path, "worker", "wrong"))
    with pytest.raises(ServiceUnavailable):
        ensure_topic(refused, timeout_seconds=2)


def test_who_looks_from_outside_needs_no_more_than_persist(as_role: As) -> None:
    """The reader of tests/e2e: ends and messages, by the certificate of a role that may write nothing."""
    publish(as_role("worker"))
    outside = Outside(as_role("persist"))
    (message,) = outside.messages({0: 0}, outside.ends())

    assert outside.ends() == {0: 1}
    assert message.key() == str(a_result().site_id).encode()


def test_a_role_has_no_more_rights_than_it_needs(as_role: As) -> None:
    """Persist may not write, which is said at once and with its reason; the worker may not read."""
    with capture_logs() as logs, pytest.raises(NotPublished, match="Purged in queue"):
        publish(as_role("persist"))
    died = [one for one in logs if one["event"] == "publish.producer_died"]
    assert [one for one in died if "authorization failed" in one["error"]]
    reader = Reader(as_role("worker"))
    with capture_logs() as logs:
        wait_until(lambda: reader.poll(1, 0.1) or refusals(logs), 15, "that it is refused")
    assert not reader.assigned
    reader.close()


def refusals(logs: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """What a reader said of rights that it lacks."""
    return [one for one in logs if one["event"] == "persist.kafka_event" and "AUTHORIZATION" in one.get("code", "")]


@pytest.mark.parametrize("what", ["another authority", "another host", "no certificate", "a stranger's certificate"])
def test_who_is_not_trusted_is_not_spoken_to(as_role: As, kafka: TlsKafka, tmp_path: Path, what: str) -> None:
    """Neither by us nor by Kafka; our check at start, which asks no server, cannot tell."""
    other = trustme.CA()
    ours = AUTHORITY.issue_cert("worker.wms.example", common_name="worker")
    stranger = other.issue_cert("worker.wms.example", common_name="worker")
    instead: dict[str, dict[str, Any]] = {
        "another authority": {"certs_dir": certs_folder(tmp_path / "odd", ours, ca=other.cert_pem.bytes().decode())},
        "another host": {"kafka_bootstrap_servers": kafka.misnamed},
        "no certificate": {
            "certs_dir": certs_folder(tmp_path / "bare"),
            "kafka_properties": "security.protocol=SSL",
        },
        "a stranger's certificate": {"certs_dir": certs_folder(tmp_path / "strange", stranger)},
    }
    settings = as_role("worker", **instead[what])
    with pytest.raises(ServiceUnavailable):
        ensure_topic(require(settings, "kafka"), timeout_seconds=3)
    if what == "another host":
        trusting = settings.model_copy(update={"kafka_properties": "ssl.endpoint.identification.algorithm=none"})
        ensure_topic(trusting, timeout_seconds=5)
