"""
Staging and prod speak with Kafka, the schema registry, Postgres and Redis over TLS that verifies the server, or not at
all: what is missing for that, one line each. Asked by each role and command before it begins; no server is.

Not a validator of the settings: who only reads them, as for a topic's name, needs no certificates.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from wms_tasks import clock, tls
from wms_tasks.errors import SettingsError
from wms_tasks.settings import Settings

# `housekeeping` is Postgres again, with a login of its own.
Service = Literal["redis", "kafka", "registry", "postgres", "housekeeping"]

_UNIX_SCHEMES = frozenset({"unix", "socket", "redis+socket"})
_OFF = frozenset({"false", "f", "0"})


def require(settings: Settings, *services: Service) -> Settings:
    """
    The same settings, if these services are used over verified TLS, or the environment is dev or test.

    Raises:
        SettingsError: with every fault, one a line, none of which holds a secret.
    """
    found = faults(settings, *services)
    if found:
        raise SettingsError("\n".join(found))
    return settings


def faults(settings: Settings, *services: Service) -> list[str]:
    """What is missing, each said once; nothing in dev and test, where a client says it when it connects."""
    if not settings.wants_tls:
        return []
    folder = settings.certs_dir.absolute()
    if services and folder.exists() and not os.access(folder, os.X_OK, effective_ids=True):
        return [f"{folder}: may not be entered: every file in it would seem not to be there"]
    return list(dict.fromkeys(fault for service in services for fault in _CHECKS[service](settings)))


def _redis(settings: Settings) -> Iterator[str]:
    scheme = urlsplit(settings.broker_url).scheme
    if scheme in _UNIX_SCHEMES:
        return
    if scheme != "rediss":
        yield f"WMS_BROKER_URL: no TLS for Redis: WMS_ENV={settings.env} wants rediss://"
        return
    _, options = tls.redis(settings)
    if options["ssl_cert_reqs"] != ssl.CERT_REQUIRED:
        yield f"WMS_BROKER_URL: ssl_cert_reqs does not verify Redis: WMS_ENV={settings.env} wants it left out"
    if options.get("ssl_check_hostname") is False:
        yield f"WMS_BROKER_URL: ssl_check_hostname=false verifies no name: WMS_ENV={settings.env} wants it left out"
    yield from _files(options, "ssl_ca_certs", "ssl_certfile", "ssl_keyfile", options.get("ssl_password"))


def _kafka(settings: Settings) -> Iterator[str]:
    """And the registry, which whoever writes or reads messages asks where there is one."""
    yield from _registry(settings)
    made = tls.kafka(settings)
    if made.get("security.protocol", "").upper() not in tls.KAFKA_PROTOCOLS:
        certificate = tls.in_folder(settings, tls.KAFKA_CERTIFICATE)
        yield (
            f"WMS_KAFKA_PROPERTIES: no TLS for Kafka: WMS_ENV={settings.env} wants security.protocol=SASL_SSL or SSL, "
            f"or {certificate} and its key"
        )
        return
    if made.get("enable.ssl.certificate.verification", "").lower() in _OFF:
        yield (
            "WMS_KAFKA_PROPERTIES: enable.ssl.certificate.verification=false does not verify Kafka: "
            f"WMS_ENV={settings.env} wants it left out"
        )
    if made.get("ssl.endpoint.identification.algorithm", "").lower() == "none":
        yield (
            "WMS_KAFKA_PROPERTIES: ssl.endpoint.identification.algorithm=none verifies no name: "
            f"WMS_ENV={settings.env} wants it left out"
        )
    identity = ("ssl.certificate.location", "ssl.key.location")
    yield from _files(made, "ssl.ca.location", *identity, made.get("ssl.key.password"))


def _registry(settings: Settings) -> Iterator[str]:
    if settings.schema_registry_url is None:
        return
    if urlsplit(settings.schema_registry_url).scheme != "https":
        yield f"WMS_SCHEMA_REGISTRY_URL: no TLS for the schema registry: WMS_ENV={settings.env} wants https://"
        return
    files = ("schema_registry_ca", "schema_registry_certificate", "schema_registry_key")
    yield from _files({name: getattr(settings, name) for name in files}, *files, None)


def _postgres(settings: Settings) -> Iterator[str]:
    from wms_tasks.store.connect import parameters  # the driver is not for whoever needs no database

    try:
        given = parameters(settings, "check")
    except SettingsError as error:
        yield error.message
        return
    hosts = str(given.get("host") or "").split(",")
    if all(host.startswith(("/", "@")) for host in hosts) and not given.get("hostaddr"):
        return
    variable = settings.database_variable
    if (mode := given.get("sslmode")) != "verify-full":
        what = "no sslmode" if mode is None else f"sslmode={mode}"
        yield f"{variable}: {what} does not verify Postgres: WMS_ENV={settings.env} wants sslmode=verify-full"
        return
    if not given.get("sslrootcert"):
        yield f"{tls.in_folder(settings, tls.CA)}: is not there, and {variable} has no sslrootcert"
    elif given["sslrootcert"] == "system":
        given = {**given, "sslrootcert": None}
    yield from _files(given, "sslrootcert", "sslcert", "sslkey", given.get("sslpassword"))


def _housekeeping(settings: Settings) -> Iterator[str]:
    yield from _postgres(settings.for_housekeeping)


def _files(
    options: Mapping[str, Any], authority: str, certificate: str, key: str, password: str | None
) -> Iterator[str]:
    """What is wrong with the files that these options name."""
    from wms_tasks.tls_files import authority_faults, identity_faults  # 4 MB that dev and test do without

    now = clock.utcnow()
    path = options.get(authority)
    if path and not Path(path).is_dir():  # a folder of authorities, as OpenSSL's, has files in its own form
        yield from authority_faults(Path(path), now)
    if path := options.get(certificate):
        yield from identity_faults(Path(path), Path(options.get(key) or path), now, password=password)


_CHECKS: dict[Service, Callable[[Settings], Iterator[str]]] = {
    "redis": _redis,
    "kafka": _kafka,
    "registry": _registry,
    "postgres": _postgres,
    "housekeeping": _housekeeping,
}
