"""Of Aiven's answers, the fields that we use; whatever else they hold is not looked at."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from wms_tasks.prepared import prepared

POWERED_OFF = "POWEROFF"
# What stands for a secret that was not asked for, or that the token may not read.
REDACTED = "<redacted>"

Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]
Text = Annotated[str, msgspec.Meta(min_length=1)]


@prepared
class Authority(msgspec.Struct, frozen=True, kw_only=True):
    """Of a project: who vouches for its services."""

    certificate: Annotated[str, msgspec.Meta(pattern="-----BEGIN CERTIFICATE-----")]


@prepared
class Address(msgspec.Struct, frozen=True, kw_only=True):
    """Where a service is; the port is a text in some answers."""

    host: Text
    port: Port


class Component(msgspec.Struct, frozen=True, kw_only=True):
    """A part of a service, by one way to reach it."""

    component: str
    host: Text
    port: Port
    route: str
    usage: str = "primary"


class Pool(msgspec.Struct, frozen=True, kw_only=True):
    """Of PostgreSQL's connection pools; the url's password is mostly redacted."""

    pool_name: str
    connection_uri: Text


@prepared
class Service(msgspec.Struct, frozen=True, kw_only=True):
    """One that is powered off, or being built, has no address, or an empty one."""

    service_name: str
    state: str
    service_uri_params: dict[str, Any] | None = None
    components: tuple[Component, ...] | None = None
    connection_pools: tuple[Pool, ...] | None = None


@prepared
class User(msgspec.Struct, frozen=True, kw_only=True):
    """A service's user. The password is null where somebody set it outside Aiven."""

    username: str
    password: str | None = None
    access_cert: str | None = None
    access_key: str | None = None
