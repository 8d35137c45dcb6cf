"""An embedded Kafka that speaks TLS beside its open listener, asks for certificates or logins, and has rights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import trustme
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    NewTopic,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from tests.certificates import AUTHORITY, CA, chain_of
from tests.pems import pkcs8, put
from tests.ports import free_ports
from wms_tasks.embedded.kafka import EmbeddedKafka
from wms_tasks.settings import Settings

PASSWORD = "correct-horse"


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsKafka:
    """
    Where it listens. ``ssl``: for clients with a certificate; ``sasl``: for clients with a login; ``misnamed``: as
    ``ssl``, but its certificate is another host's. ``admin`` is on the open listener and may do everything.
    """

    ssl: str
    sasl: str
    misnamed: str
    admin: AdminClient

    def make_topic(self, settings: Settings, *, users: str = "") -> None:
        """
        Make the topic, with the rights that ops/terraform gives: the worker writes, persist reads, in its group.

        Args:
            users: how their names begin.
        """
        made = self.admin.create_topics([NewTopic(settings.topic, num_partitions=1)])
        made[settings.topic].result(10)
        topic, group = (ResourceType.TOPIC, settings.topic), (ResourceType.GROUP, settings.consumer_group)
        rights = [
            _right(f"{users}worker", *topic, AclOperation.WRITE),
            _right(f"{users}persist", *topic, AclOperation.READ),
            _right(f"{users}persist", *group, AclOperation.READ),
        ]
        for done in self.admin.create_acls(rights).values():
            done.result(10)


def _right(user: str, kind: ResourceType, name: str, operation: AclOperation) -> AclBinding:
    return AclBinding(kind, name, ResourcePatternType.LITERAL, f"User:{user}", "*", operation, AclPermissionType.ALLOW)


def _shown(prefix: str, folder: Path, leaf: trustme.LeafCert) -> dict[str, str]:
    """A certificate and its key, in one file, as Kafka wants them."""
    path = put(folder / f"{prefix}.pem", pkcs8(leaf) + chain_of(leaf))
    return {f"{prefix}.keystore.type": "PEM", f"{prefix}.keystore.location": str(path)}


def _listeners(folder: Path, ports: dict[str, int]) -> dict[str, str]:
    """Of server.properties: who listens where, with what."""
    here, elsewhere = AUTHORITY.issue_cert("127.0.0.1"), AUTHORITY.issue_cert("kafka.example")
    protocols = dict.fromkeys(ports, "PLAINTEXT") | {"SSL": "SSL", "SASL": "SASL_SSL", "MISNAMED": "SSL"}
    return {
        "listeners": ",".join(f"{name}://127.0.0.1:{port}" for name, port in ports.items()),
        "advertised.listeners": ",".join(
            f"{name}://127.0.0.1:{port}" for name, port in ports.items() if name != "CONTROLLER"
        ),
        "listener.security.protocol.map": ",".join(f"{name}:{protocol}" for name, protocol in protocols.items()),
        "inter.broker.listener.name": "PLAINTEXT",
        **_shown("ssl", folder, here),
        **_shown("listener.name.misnamed.ssl", folder, elsewhere),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(put(folder / "authority.pem", CA)),
        "listener.name.ssl.ssl.client.auth": "required",
        "listener.name.ssl.ssl.principal.mapping.rules": "RULE:^.*CN=([^,]*).*$/$1/,DEFAULT",
        "sasl.enabled.mechanisms": "SCRAM-SHA-256",
        "listener.name.sasl.scram-sha-256.sasl.jaas.config": (
            "org.apache.kafka.common.security.scram.ScramLoginModule required;"
        ),
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS",
    }


@contextmanager
def tls_kafka(folder: Path, jars: Path) -> Iterator[TlsKafka]:
    """It runs until the end of the block; ``worker`` and ``persist`` may log in with `PASSWORD`."""
    folder.mkdir()
    names = ("PLAINTEXT", "SSL", "SASL", "MISNAMED", "CONTROLLER")
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    server = EmbeddedKafka(
        folder,
        port=ports["PLAINTEXT"],
        controller_port=ports["CONTROLLER"],
        jars=jars,
        properties=_listeners(folder, ports),
    )
    server.start()
    try:
        admin = AdminClient({"bootstrap.servers": server.bootstrap_servers, "log_level": 0})
        login = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_256, 4096)
        users = [UserScramCredentialUpsertion(user, login, PASSWORD.encode()) for user in ("worker", "persist")]
        for done in admin.alter_user_scram_credentials(users).values():
            done.result(10)
        yield TlsKafka(
            ssl=f"127.0.0.1:{ports['SSL']}",
            sasl=f"127.0.0.1:{ports['SASL']}",
            misnamed=f"127.0.0.1:{ports['MISNAMED']}",
            admin=admin,
        )
    finally:
        server.stop()
