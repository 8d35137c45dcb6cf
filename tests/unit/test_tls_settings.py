"""What each client is given for TLS, and what WMS_KAFKA_PROPERTIES may say."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
from pydantic import ValidationError

from tests.certificates import AUTHORITY
from tests.pems import certs_folder
from wms_tasks import tls
from wms_tasks.celery_config import configuration
from wms_tasks.persist.reader import _config
from wms_tasks.publish.producer import producer_config
from wms_tasks.settings import Settings
from wms_tasks.store.connect import parameters

SASL = "security.protocol=SASL_SSL\nsasl.mechanism=SCRAM-SHA-256\n\n# who we are\nsasl.username=wms\nsasl.password=a=b"


@pytest.fixture
def ca_only(tmp_path: Path) -> Path:
    """A folder with ca.pem."""
    return certs_folder(tmp_path / "certs")


@pytest.fixture
def certs(tmp_path: Path) -> Path:
    """A folder with all three files."""
    return certs_folder(tmp_path / "certs", AUTHORITY.issue_cert("wms-worker"))


def test_properties_are_lines_or_json() -> None:
    """The same either way; a value may hold an equals sign."""
    lines = Settings(kafka_properties="linger.ms=7\n socket.nagle.disable = true \nsasl.password=a=b")
    made = Settings(kafka_properties='{"linger.ms": 7, "socket.nagle.disable": true, "sasl.password": "a=b"}')
    assert tls.kafka(lines) == tls.kafka(made) == {
        "linger.ms": "7",
        "socket.nagle.disable": "true",
        "sasl.password": "a=b",
    }  # fmt: skip
    assert tls.kafka(Settings()) == {}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("enable.idempotence=false", "enable.idempotence is not to be set"),
        ("acks=1", "acks is not to be set"),
        ("enable.auto.commit=true", "enable.auto.commit is not to be set"),
        ('{"auto.offset.reset": "latest"}', "auto.offset.reset is not to be set"),
        ("test.mock.num.brokers=3", "test.mock.num.brokers is not to be set"),
        ("group.id=s3cr3t", "group.id is made from WMS_ENV"),
        ("bootstrap.servers=s3cr3t", "bootstrap.servers is made from WMS_KAFKA_BOOTSTRAP_SERVERS"),
        ("sasl.password=x\ns3cr3t", "a line is no name=value"),
        ("error_cb=s3cr3t", "names are librdkafka's"),
        ("logger=s3cr3t", "names are librdkafka's"),
        ('{"a.b": ["s3cr3t"]}', "a.b is neither a text"),
        ('{"sasl.password": "s3cr3t"', "begins like a JSON object and is none"),
    ],
)
def test_what_is_refused_is_said_without_its_value(text: str, why: str) -> None:
    """What exactly-once rests on, what another setting makes, and what is none."""
    with pytest.raises(ValidationError) as caught:
        Settings(kafka_properties=text)
    (error,) = caught.value.errors()
    assert why in error["msg"]
    assert "s3cr3t" not in error["msg"]


def test_properties_reach_every_client_and_win(certs: Path) -> None:
    """Over what we tune; what exactly-once rests on stays."""
    settings = Settings(kafka_properties="linger.ms=7\nsocket.timeout.ms=9000\nsecurity.protocol=SSL", certs_dir=certs)
    producer, consumer = producer_config(settings), _config(settings)
    assert (producer["linger.ms"], producer["socket.timeout.ms"], producer["enable.idempotence"]) == ("7", "9000", True)
    assert (consumer["socket.timeout.ms"], consumer["auto.offset.reset"]) == ("9000", "error")
    assert producer["ssl.ca.location"] == consumer["ssl.ca.location"] == str(certs / "ca.pem")


def test_our_certificate_asks_for_tls_in_staging_and_prod_only(certs: Path) -> None:
    """In dev the folder may be a left-over; there the property asks, and the files are the same."""
    given = {
        "security.protocol": "SSL",
        "ssl.ca.location": str(certs / "ca.pem"),
        "ssl.certificate.location": str(certs / "kafka-cert.pem"),
        "ssl.key.location": str(certs / "kafka-key.pem"),
    }
    assert tls.kafka(Settings(env="prod", certs_dir=certs)) == given
    assert tls.kafka(Settings(env="dev", certs_dir=certs)) == {}
    assert tls.kafka(Settings(certs_dir=certs, kafka_properties="security.protocol=SSL")) == given


def test_a_login_needs_no_certificate(ca_only: Path) -> None:
    """SASL_SSL with ca.pem; nothing is named that is not there."""
    made = tls.kafka(Settings(env="prod", certs_dir=ca_only, kafka_properties=SASL))
    assert made["ssl.ca.location"] == str(ca_only / "ca.pem")
    assert made["sasl.password"] == "a=b"
    assert not [name for name in made if name.startswith(("ssl.certificate", "ssl.key"))]


def test_files_that_the_properties_name_are_taken_instead(certs: Path) -> None:
    """An authority and a pair, each by itself."""
    own = "security.protocol=SSL\nssl.ca.location=/own/ca.pem\nssl.keystore.location=/own/all.p12"
    made = tls.kafka(Settings(env="prod", certs_dir=certs, kafka_properties=own))
    assert {name: value for name, value in made.items() if name.startswith("ssl.")} == {
        "ssl.ca.location": "/own/ca.pem",
        "ssl.keystore.location": "/own/all.p12",
    }


def test_postgres_is_verified_by_ca_pem(ca_only: Path) -> None:
    """Where the url asks for verification and names no authority."""

    def root(query: str) -> str | None:
        url = f"postgresql://wms@db.example/wms{query}"
        found: str | None = parameters(Settings(database_url=url, certs_dir=ca_only), "test").get("sslrootcert")
        return found

    assert root("?sslmode=verify-full") == root("?sslmode=verify-ca") == str(ca_only / "ca.pem")
    assert root("?sslmode=verify-full&sslrootcert=system") == "system"
    assert root("?sslmode=require") is root("") is None


def test_redis_is_verified_by_ca_pem_too(ca_only: Path) -> None:
    """In all that Celery has; the url's own parameters win, and are no longer in it."""
    settings = Settings(broker_url="rediss://:pw@redis.example:6380/3?ssl_check_hostname=false&x=1", certs_dir=ca_only)
    made = configuration(settings)
    assert made["broker_url"] == made["result_backend"] == "rediss://:pw@redis.example:6380/3?x=1"
    assert made["broker_use_ssl"] == made["redis_backend_use_ssl"] == {
        "ssl_cert_reqs": ssl.CERT_REQUIRED,
        "ssl_ca_certs": str(ca_only / "ca.pem"),
        "ssl_check_hostname": False,
    }  # fmt: skip
    own = settings.model_copy(update={"broker_url": "rediss://redis.example/0?ssl_ca_certs=/own.pem"})
    assert tls.redis(own)[1] == {"ssl_cert_reqs": ssl.CERT_REQUIRED, "ssl_ca_certs": "/own.pem"}
    assert tls.redis(Settings(certs_dir=ca_only)) == (Settings().broker_url, {})
