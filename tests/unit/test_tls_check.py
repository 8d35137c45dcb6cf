"""Staging and prod start over verified TLS only; what is missing is said in one line each."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import trustme
from cryptography.hazmat.primitives import serialization

from tests.certificates import AUTHORITY, CA, NOW, PAST, chain_of
from tests.pems import certs_folder, pkcs8, put
from wms_tasks.errors import SettingsError
from wms_tasks.settings import Settings
from wms_tasks.tls_check import faults, require

ALL = ("redis", "kafka", "postgres")
GOOD: dict[str, Any] = {
    "env": "prod",
    "broker_url": "rediss://u:s3cr3t@redis.example/0",
    "database_url": "postgresql://u:s3cr3t@db.example/wms?sslmode=verify-full",
}


@pytest.fixture(scope="module")
def leaf() -> trustme.LeafCert:
    """Ours for Kafka."""
    return AUTHORITY.issue_cert("wms-worker")


@pytest.fixture
def certs(tmp_path: Path, leaf: trustme.LeafCert) -> Path:
    """A folder with all that Terraform's outputs give a role."""
    return certs_folder(tmp_path / "certs", leaf)


def with_(certs: Path, **other: Any) -> Settings:
    """Good settings, but for what is named."""
    return Settings(**(GOOD | {"certs_dir": certs} | other))


def test_all_is_well_with_what_terraform_gives(certs: Path) -> None:
    """The settings come back; nothing has to be set beside them."""
    settings = with_(certs)
    assert faults(settings, *ALL) == []
    assert require(settings, *ALL) is settings


def test_dev_and_test_need_none() -> None:
    """Nor do the files of others matter there."""
    assert [faults(Settings(env=env), *ALL) for env in ("dev", "test")] == [[], []]


@pytest.mark.parametrize("env", ["staging", "prod"])
def test_each_service_without_tls_is_named(tmp_path: Path, env: str) -> None:
    """Each that is asked about, by the setting to mend; without what is secret in it."""
    url = "postgresql://u:s3cr3t@db/wms"
    bare = Settings(env=env, certs_dir=tmp_path, broker_url="redis://:s3cr3t@redis/0", database_url=url)
    redis, kafka, postgres = faults(bare, *ALL)
    assert redis == f"WMS_BROKER_URL: no TLS for Redis: WMS_ENV={env} wants rediss://"
    assert kafka.startswith(f"WMS_KAFKA_PROPERTIES: no TLS for Kafka: WMS_ENV={env} wants security.protocol=SASL_SSL")
    assert f"{tmp_path}/kafka-cert.pem" in kafka
    assert postgres.startswith("WMS_DATABASE_URL: no sslmode does not verify Postgres")
    assert faults(bare, "kafka") == [kafka]
    with pytest.raises(SettingsError) as caught:
        require(bare, *ALL)
    assert caught.value.message.splitlines() == [redis, kafka, postgres]
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("other", "line"),
    [
        ({"broker_url": "rediss://r/0?ssl_cert_reqs=none"}, "WMS_BROKER_URL: ssl_cert_reqs does not verify"),
        ({"broker_url": "rediss://r/0?ssl_cert_reqs=CERT_OPTIONAL"}, "WMS_BROKER_URL: ssl_cert_reqs does not verify"),
        ({"broker_url": "rediss://r/0?ssl_check_hostname=no"}, "WMS_BROKER_URL: ssl_check_hostname=false"),
        ({"database_url": "postgresql://d/w?sslmode=require"}, "WMS_DATABASE_URL: sslmode=require does not verify"),
        ({"database_url": "postgresql://d/w?sslmode=verify-ca"}, "WMS_DATABASE_URL: sslmode=verify-ca does not"),
        ({"database_url": "postgresql:///w"}, "WMS_DATABASE_URL: no sslmode"),
        ({"database_url": "postgresql://%zz"}, "WMS_DATABASE_URL: not a Postgres url"),
        ({"kafka_properties": "security.protocol=sasl_plaintext"}, "WMS_KAFKA_PROPERTIES: no TLS for Kafka"),
        (
            {"kafka_properties": "enable.ssl.certificate.verification=false"},
            "WMS_KAFKA_PROPERTIES: enable.ssl.certificate.verification=false does not verify Kafka",
        ),
        (
            {"kafka_properties": "ssl.endpoint.identification.algorithm=none"},
            "WMS_KAFKA_PROPERTIES: ssl.endpoint.identification.algorithm=none verifies no name",
        ),
    ],
)
def test_tls_that_verifies_less_is_no_tls(certs: Path, other: dict[str, str], line: str) -> None:
    """In the url or in the properties; one line."""
    (said,) = faults(with_(certs, **other), *ALL)
    assert said.startswith(line)


def test_the_registry_is_looked_at_with_kafka_and_alone(certs: Path) -> None:
    """Where there is one; its login would be read on the way, and so could a schema be changed."""
    line = "WMS_SCHEMA_REGISTRY_URL: no TLS for the schema registry: WMS_ENV=prod wants https://"
    plain = with_(certs, schema_registry_url="http://wms:s3cr3t@r.example:8081")
    secure = {"schema_registry_url": "https://r.example:8081"}

    assert faults(plain, "kafka") == faults(plain, "registry") == [line]
    assert faults(with_(certs, **secure), "kafka", "registry") == []
    gone = faults(with_(certs, **secure, schema_registry_ca=Path("/no/ca.pem")), "registry")
    assert gone == ["/no/ca.pem: is not there"]
    pair = {"schema_registry_certificate": certs / "kafka-cert.pem", "schema_registry_key": Path("/no/key.pem")}
    assert faults(with_(certs, **secure, **pair), "registry") == ["/no/key.pem: is not there"]


def test_housekeepings_own_login_is_looked_at_too(certs: Path) -> None:
    """By its own name, and for those who use it; without one there is nothing more to say."""
    other = {"database_url_housekeeping": "postgresql://keeper:s3cr3t@db.example/wms"}
    assert faults(with_(certs), "postgres", "housekeeping") == []
    assert faults(with_(certs, **other), "postgres") == []
    (said,) = faults(with_(certs, **other), "postgres", "housekeeping")
    assert said.startswith("WMS_DATABASE_URL_HOUSEKEEPING: no sslmode does not verify Postgres")
    (said,) = faults(with_(certs, database_url_housekeeping="postgresql://%zz"), "housekeeping")
    assert said.startswith("WMS_DATABASE_URL_HOUSEKEEPING: not a Postgres url")


def test_a_unix_socket_meets_no_network(certs: Path) -> None:
    """Named as such, in either url."""
    other = {"broker_url": "unix:///run/redis.sock?db=0", "database_url": "postgresql://%2Frun%2Fpostgresql/wms"}
    assert faults(with_(certs, **other), *ALL) == []
    mixed = "postgresql://%2Frun%2Fpostgresql,db.example/wms"
    assert len(faults(with_(certs, database_url=mixed), *ALL)) == 1


def test_a_login_does_without_certificate(tmp_path: Path) -> None:
    """SASL_SSL; and Postgres' authority may be one that the url names."""
    folder = certs_folder(tmp_path / "certs")
    assert faults(with_(folder, kafka_properties="security.protocol=SASL_SSL"), *ALL) == []
    (folder / "ca.pem").unlink()
    assert faults(with_(folder), "postgres") == [
        f"{folder}/ca.pem: is not there, and WMS_DATABASE_URL has no sslrootcert"
    ]
    system = f"{GOOD['database_url']}&sslrootcert=system"
    assert faults(with_(folder, database_url=system), "redis", "postgres") == []


@pytest.mark.parametrize("name", ["ca.pem", "kafka-cert.pem", "kafka-key.pem"])
def test_a_file_that_is_no_pem(certs: Path, name: str) -> None:
    """Said once, though three services use ca.pem."""
    put(certs / name, "nonsense")
    (said,) = faults(with_(certs), *ALL)
    assert said.startswith(f"{certs / name}: holds no ")


def test_half_a_pair(certs: Path) -> None:
    """The other half is asked for."""
    (certs / "kafka-key.pem").unlink()
    assert faults(with_(certs), *ALL) == [f"{certs}/kafka-key.pem: is not there"]
    certs_folder(certs, AUTHORITY.issue_cert("again"))
    (certs / "kafka-cert.pem").unlink()
    assert faults(with_(certs), *ALL) == [f"{certs}/kafka-cert.pem: is not there"]


NOBODY = 65534


@contextmanager
def without_rights() -> Iterator[None]:
    """Root may read everything; for a moment we are nobody."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


@pytest.fixture
def reachable(leaf: trustme.LeafCert) -> Iterator[Path]:
    """A folder of certificates that also nobody gets to, which pytest's own are not."""
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield certs_folder(Path(folder) / "certs", leaf)


@pytest.mark.parametrize("name", ["ca.pem", "kafka-cert.pem", "kafka-key.pem"])
def test_a_file_that_cannot_be_read(reachable: Path, name: str) -> None:
    """Because its owner is another, or because it is none."""
    for path in reachable.iterdir():
        if os.geteuid() == 0:
            os.chown(path, NOBODY, -1)
    (reachable / name).chmod(0)
    with without_rights():
        assert faults(with_(reachable), *ALL) == [f"{reachable}/{name}: cannot be read: Permission denied"]
    (reachable / name).unlink()
    (reachable / name).mkdir(mode=0o700)
    if name != "ca.pem":  # a folder of authorities is what OpenSSL takes too
        assert faults(with_(reachable), *ALL) == [f"{reachable}/{name}: cannot be read: Is a directory"]


def test_a_folder_that_may_not_be_entered(reachable: Path) -> None:
    """Said itself, and nothing of files that seem not to be there."""
    reachable.chmod(0o600)
    with without_rights():
        assert faults(with_(reachable), *ALL) == [
            f"{reachable}: may not be entered: every file in it would seem not to be there"
        ]


def test_a_key_that_others_may_read(certs: Path) -> None:
    """Its group may, as in Kubernetes; a certificate is no secret."""
    (certs / "kafka-cert.pem").chmod(0o644)
    (certs / "kafka-key.pem").chmod(0o640)
    assert faults(with_(certs), *ALL) == []
    (certs / "kafka-key.pem").chmod(0o644)
    said = f"{certs}/kafka-key.pem: may be read by others (mode 0644): chmod 600"
    assert faults(with_(certs), *ALL) == [said]


def test_a_key_of_another_certificate(certs: Path) -> None:
    """Both are good, and no pair."""
    put(certs / "kafka-key.pem", pkcs8(AUTHORITY.issue_cert("another")))
    assert faults(with_(certs), *ALL) == [f"{certs}/kafka-key.pem: is not the key of {certs}/kafka-cert.pem"]


def test_an_encrypted_key(certs: Path, leaf: trustme.LeafCert) -> None:
    """With the password that the properties have, without one, with another one."""
    key = serialization.load_pem_private_key(leaf.private_key_pem.bytes(), None)
    lock = serialization.BestAvailableEncryption(b"s3cr3t")
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, lock)
    path = put(certs / "kafka-key.pem", key.private_bytes(*form).decode())
    assert faults(with_(certs), *ALL) == [f"{path}: is encrypted, and no password is set"]
    files = f"ssl.certificate.location={certs}/kafka-cert.pem\nssl.key.location={path}\nsecurity.protocol=SSL\n"
    assert faults(with_(certs, kafka_properties=f"{files}ssl.key.password=s3cr3t"), *ALL) == []
    (said,) = faults(with_(certs, kafka_properties=f"{files}ssl.key.password=other"), *ALL)
    assert said == f"{path}: holds no key in PEM, or its password is another"


def test_a_certificate_out_of_its_time(certs: Path) -> None:
    """Too late, too early."""
    certs_folder(certs, AUTHORITY.issue_cert("late", not_before=PAST - timedelta(days=9), not_after=PAST))
    assert faults(with_(certs), *ALL) == [f"{certs}/kafka-cert.pem: expired at {PAST:%Y-%m-%d %H:%MZ}"]
    early = NOW + timedelta(days=2)
    certs_folder(certs, AUTHORITY.issue_cert("early", not_before=early, not_after=early + timedelta(days=9)))
    assert faults(with_(certs), *ALL) == [f"{certs}/kafka-cert.pem: is not valid before {early:%Y-%m-%d %H:%MZ}"]


def test_of_several_authorities_one_is_enough(certs: Path) -> None:
    """While they change, the old one stands beside the new one."""
    old = chain_of(AUTHORITY.issue_cert("old", not_before=PAST - timedelta(days=9), not_after=PAST))
    put(certs / "ca.pem", old + CA)
    assert faults(with_(certs), *ALL) == []
    put(certs / "ca.pem", old)
    assert faults(with_(certs), *ALL) == [f"{certs}/ca.pem: expired at {PAST:%Y-%m-%d %H:%MZ}"]


def test_files_that_the_urls_name_are_looked_at(certs: Path) -> None:
    """Authorities and pairs of Redis and Postgres; a pair may be one file."""
    other = {
        "broker_url": f"rediss://r/0?ssl_ca_certs=/no/ca.pem&ssl_certfile={certs}/kafka-cert.pem&ssl_keyfile=/no/key",
        "database_url": f"{GOOD['database_url']}&sslrootcert=/no/root&sslcert=/no/cert&sslkey={certs}/kafka-key.pem",
    }
    gone = [f"/no/{name}: is not there" for name in ("ca.pem", "key", "root", "cert")]
    assert faults(with_(certs, **other), *ALL) == gone
    both = put(certs / "both.pem", (certs / "kafka-cert.pem").read_text() + (certs / "kafka-key.pem").read_text())
    assert faults(with_(certs, broker_url=f"rediss://r/0?ssl_certfile={both}"), "redis") == []


WORKER = ("-m", "celery", "-A", "wms_tasks", "worker", "-P", "solo")
STARTS = [
    pytest.param(("-m", "celery", "-A", "wms_tasks", "beat"), {}, "wms: WMS_BROKER_URL", id="beat"),
    pytest.param(("-m", "celery", "-A", "wms_tasks", "flower"), {}, "wms: WMS_BROKER_URL", id="Flower"),
    pytest.param(WORKER, {}, "wms: WMS_BROKER_URL", id="worker without Redis' TLS"),
    pytest.param(WORKER, {"WMS_BROKER_URL": "rediss://r/0"}, "wms: WMS_KAFKA_PROPERTIES", id="worker"),
    pytest.param(
        (*WORKER, "--persist"),
        {"WMS_BROKER_URL": "rediss://r/0", "WMS_KAFKA_PROPERTIES": "security.protocol=SASL_SSL"},
        "wms: WMS_DATABASE_URL",
        id="persist",
    ),
    pytest.param(
        (*WORKER, "-Q", "housekeeping"),
        {"WMS_BROKER_URL": "rediss://r/0", "WMS_KAFKA_PROPERTIES": "security.protocol=SASL_SSL"},
        "wms: WMS_DATABASE_URL",
        id="housekeeping",
    ),
    pytest.param(("-m", "wms_tasks.cli", "status"), {}, "wms: WMS_DATABASE_URL", id="wms status"),
    pytest.param(("-m", "wms_tasks.cli", "migrate", "up"), {}, "wms: WMS_DATABASE_URL", id="wms migrate"),
    pytest.param(
        ("-m", "wms_tasks.cli", "run", "--sites", "sites.yaml"),
        {"WMS_BROKER_URL": "rediss://r/0", "WMS_KAFKA_PROPERTIES": "security.protocol=SASL_SSL"},
        "wms: WMS_DATABASE_URL",
        id="wms run",
    ),
]


@pytest.mark.parametrize(("words", "environ", "line"), STARTS)
def test_who_starts_without_is_stopped(
    tmp_path: Path, words: tuple[str, ...], environ: dict[str, str], line: str
) -> None:
    """One line about its own services, exit 2; nothing was connected to."""
    (tmp_path / "sites.yaml").write_text("sites:\n  - name: one\n    url: https://example.com/\n")
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, *words], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, "PYTHONPATH": str(root), "WMS_ENV": "prod", "WMS_CERTS_DIR": str(tmp_path), **environ},
    )  # fmt: skip
    said = [one for one in done.stderr.splitlines() if "TLS" in one or "verify" in one]
    assert (done.returncode, len(said)) == (2, 1), done.stderr
    assert said[0].startswith(line)
    assert "Traceback" not in done.stderr
