"""
What the clients of Kafka, Postgres and Redis are given for TLS, from the settings and from which files `certs_dir` has.

Reads none of the files; tls_check.py says what is wrong with them. Used wherever such a client is made.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from wms_tasks.kafka_properties import parse_properties
from wms_tasks.settings import Settings

# As scripts/export-tf-outputs.sh writes them.
CA = "ca.pem"
KAFKA_CERTIFICATE = "kafka-cert.pem"
KAFKA_KEY = "kafka-key.pem"

KAFKA_PROTOCOLS = ("SSL", "SASL_SSL")
_OWN_AUTHORITY = ("ssl.ca.location", "ssl.ca.pem")
_OWN_IDENTITY = ("ssl.certificate.", "ssl.key.", "ssl.keystore.")
_CERT_REQS = {"none": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}


def in_folder(settings: Settings, name: str) -> Path:
    """Where a file of `certs_dir` is or would be, whatever the working directory becomes."""
    return settings.certs_dir.absolute() / name


def _there(path: Path) -> bool:
    """False also for what may not be looked at, which `Path.exists` raises for."""
    return os.access(path, os.F_OK, effective_ids=True)


def authority(settings: Settings) -> Path | None:
    """ca.pem, where there is one."""
    path = in_folder(settings, CA)
    return path if _there(path) else None


def kafka(settings: Settings) -> dict[str, str]:
    """
    The properties to make a Kafka client with, over those of its own: WMS_KAFKA_PROPERTIES, and the files that it names
    none instead of.

    In staging and prod our certificate for Kafka is enough to ask for TLS. In dev and test, where the folder may be a
    left-over from looking at production, only the property is.
    """
    given = parse_properties(settings.kafka_properties)
    files = {
        "ssl.certificate.location": in_folder(settings, KAFKA_CERTIFICATE),
        "ssl.key.location": in_folder(settings, KAFKA_KEY),
    }
    identified = any(_there(path) for path in files.values())
    implied = {"security.protocol": "SSL"} if identified and settings.wants_tls else {}
    made = {**implied, **given}
    if made.get("security.protocol", "").upper() not in KAFKA_PROTOCOLS:
        return made
    if (ca := authority(settings)) is not None and not any(name in given for name in _OWN_AUTHORITY):
        made["ssl.ca.location"] = str(ca)
    if identified and not any(name.startswith(_OWN_IDENTITY) for name in given):
        made |= {name: str(path) for name, path in files.items()}
    return made


def postgres(settings: Settings, given: Mapping[str, Any]) -> dict[str, str]:
    """What libpq is told beside the parameters that the url gave: ca.pem, where the server is verified by no other."""
    ca = authority(settings)
    if ca is None or given.get("sslrootcert") or not str(given.get("sslmode", "")).startswith("verify-"):
        return {}
    return {"sslrootcert": str(ca)}


def redis(settings: Settings) -> tuple[str, dict[str, Any]]:
    """
    The broker's url without its ``ssl_…`` parameters, and all TLS options for redis-py, kombu and Celery, each of which
    reads such parameters in its own way; none for a url without TLS.

    The server is verified unless the url says otherwise, by the public authorities and by ca.pem.
    """
    url = urlsplit(settings.broker_url)
    if url.scheme != "rediss":
        return settings.broker_url, {}
    query = parse_qsl(url.query, keep_blank_values=True)
    asked = {name: _option(name, value) for name, value in query if name.startswith("ssl_")}
    ca = authority(settings)
    ours = {"ssl_cert_reqs": ssl.CERT_REQUIRED} | ({} if ca is None else {"ssl_ca_certs": str(ca)})
    rest = urlencode([(name, value) for name, value in query if not name.startswith("ssl_")])
    return url._replace(query=rest).geturl(), {**ours, **asked}


def _option(name: str, value: str) -> Any:
    """As redis-py wants it; a word that means nothing stays, for redis-py or tls_check.py to refuse."""
    from redis.connection import URL_QUERY_ARGUMENT_PARSERS

    if name == "ssl_cert_reqs":
        return _CERT_REQS.get(value.lower().removeprefix("cert_"), value)
    parse: Any = URL_QUERY_ARGUMENT_PARSERS.get(name)
    return parse(value) if parse is not None else value
