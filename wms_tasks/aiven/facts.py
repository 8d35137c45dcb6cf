"""
Which role needs what, what it is called, and the settings that follow. Pure.

Held to ops/terraform, whose names and outputs these are, by tests/unit/test_aiven_terraform.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import quote, urlsplit

from wms_tasks.aiven.answers import Address, Pool, Service, User
from wms_tasks.settings import Settings
from wms_tasks.tls import CA

Role = Literal["beat", "worker", "persist", "housekeeping", "migrate", "reader", "release"]
# `housekeeping` is Postgres again, with a login of its own.
Need = Literal["redis", "kafka", "registry", "postgres", "housekeeping"]

ROLES: Mapping[Role, tuple[Need, ...]] = {
    "beat": ("redis",),
    "worker": ("redis", "kafka"),
    "persist": ("redis", "kafka", "postgres", "housekeeping"),
    "housekeeping": ("postgres", "housekeeping"),
    "migrate": ("postgres",),
    "reader": ("postgres",),
    "release": ("registry",),
}
# Where one of these is set already, its service is left alone. Who names one login for Postgres wants it for both.
SET_BY: Mapping[Need, tuple[str, ...]] = {
    "redis": ("broker_url",),
    "kafka": ("kafka_bootstrap_servers",),
    "registry": ("schema_registry_url",),
    "postgres": ("database_url",),
    "housekeeping": ("database_url_housekeeping", "database_url"),
}
DATABASE = "wms"
READERS_POOL = f"{DATABASE}-reader"
VALKEY_USER = "wms"
_REGISTRY = ("schema_registry", "dynamic", "primary")


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """The services of an environment."""

    redis: str
    kafka: str
    postgres: str

    @classmethod
    def of(cls, settings: Settings) -> Names:
        """As the settings say, else as ops/terraform makes them."""
        prefix = "-".join(part for part in ("wms", settings.env, settings.topic_suffix) if part)
        return cls(
            redis=settings.aiven_valkey_service or f"{prefix}-valkey",
            kafka=settings.aiven_kafka_service or f"{prefix}-kafka",
            postgres=settings.aiven_postgres_service or f"{prefix}-pg",
        )


def kafka_user(settings: Settings, role: Role) -> str:
    """Has a certificate for Kafka and a password for the schema registry."""
    return f"{settings.env}-wms-{role}"


def postgres_user(role: Role) -> str:
    """The role's name in Postgres."""
    return f"{DATABASE}_{role}"


def broker(address: Address, user: User) -> dict[str, str]:
    """Of Valkey."""
    return {"broker_url": f"rediss://{_login(user)}@{_at(address)}/0"}


def kafka(address: Address) -> dict[str, str]:
    """Of Kafka itself."""
    return {"kafka_bootstrap_servers": _at(address)}


def registry(service: Service, user: User, folder: Path) -> dict[str, str]:
    """Of the schema registry that a Kafka service may have; nothing where it has none."""
    for one in service.components or ():
        if (one.component, one.route, one.usage) == _REGISTRY:
            return {
                "schema_registry_url": f"https://{one.host}:{one.port}",
                "schema_registry_auth": f"{user.username}:{user.password}",
                "schema_registry_ca": str(folder / CA),
            }
    return {}


def reads_by_pool(role: Role) -> bool:
    """Whether its `database_url` is the readers'. Housekeeping looks with it, and writes with its own login."""
    return role in {"reader", "housekeeping"}


def database(field: str, address: Address, user: User) -> dict[str, str]:
    """Of Postgres, without a pool: what a role keeps in its session stays its own."""
    return {field: f"postgresql://{_login(user)}@{_at(address)}/{DATABASE}?sslmode=verify-full"}


def beside_database(role: Role) -> dict[str, str]:
    """What goes with a login that is one of several: who migrates names the others, who persists waits for that."""
    if role == "migrate":
        named: tuple[Role, ...] = ("persist", "housekeeping", "reader")
        return {f"database_role_{one}": postgres_user(one) for one in named}
    return {"migrate": "wait"} if role == "persist" else {}


def pooled_database(pool: Pool, user: User) -> dict[str, str]:
    """Of Postgres, through a pool, which has a port of its own and is called by its name as if it were a database."""
    there = urlsplit(pool.connection_uri)
    where = there.netloc.rpartition("@")[2]
    url = there._replace(netloc=f"{_login(user)}@{where}", query="sslmode=verify-full")
    return {"database_url": url.geturl(), "database_pooled": "true"}


def _login(user: User) -> str:
    return f"{quote(user.username, safe='')}:{quote(user.password or '', safe='')}"


def _at(address: Address) -> str:
    return f"{address.host}:{address.port}"
