"""
A double of Aiven's API on loopback: one project with our three services, as ops/terraform makes them. It knows the
operations that we ask for and no others, and each of its answers is held to aiven-api.json, the published shapes.

Secrets are redacted unless ``include_secrets=true`` asks for them, as Aiven does from March 2027 on.
"""

from __future__ import annotations

import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

import jsonschema
import trustme

from tests.certificates import AUTHORITY, CA, chain_of
from tests.pems import pkcs8

_PUBLISHED = json.loads((Path(__file__).parent / "aiven-api.json").read_text(encoding="utf-8"))
TOKEN = "aivenToken/Of+Nobody=="
PROJECT = "acme-wms"
_SECRETS = ("password", "access_key")
_LONG_AGO = "2026-11-01T12:00:00Z"


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """What services and users are called; by default what ops/terraform calls those of staging."""

    kafka: str = "wms-staging-kafka"
    postgres: str = "wms-staging-pg"
    valkey: str = "wms-staging-valkey"
    database: str = "wms"
    pool: str = "wms-reader"
    kafka_users: tuple[str, ...] = ("staging-wms-worker", "staging-wms-persist", "staging-wms-release")
    postgres_users: tuple[str, ...] = ("wms_migrate", "wms_housekeeping", "wms_persist", "wms_reader")
    valkey_user: str = "wms"


@dataclass(slots=True, kw_only=True)
class AivenApi:
    """Its state may be changed while it runs; use with `with`."""

    names: Names = field(default_factory=Names)
    token: str = TOKEN
    may_read_secrets: bool = True
    #: A status and a body for what its path ends in, instead of the right answer; the body goes out as it is.
    instead: dict[str, tuple[int, str]] = field(default_factory=dict)
    #: Every path that was asked for, without ``/v1/project/…``.
    asked: list[str] = field(default_factory=list)
    services: dict[str, dict[str, Any]] = field(init=False)
    users: dict[str, dict[str, dict[str, Any]]] = field(init=False)
    _server: ThreadingHTTPServer = field(init=False)

    def __post_init__(self) -> None:
        names = self.names
        self.users = {
            names.kafka: {name: _kafka_user(name) for name in names.kafka_users},
            names.postgres: {name: _user(name) for name in names.postgres_users},
            names.valkey: {names.valkey_user: _user(names.valkey_user)},
        }
        self.services = {
            names.kafka: _service(names.kafka, "kafka", 12345)
            | {"components": [_component("kafka", 12345), _component("schema_registry", 12346)]},
            names.postgres: _service(names.postgres, "pg", 12347) | {"connection_pools": [self._pool()]},
            names.valkey: _service(names.valkey, "valkey", 12349),
        }

    def _pool(self) -> dict[str, Any]:
        (reader,) = [name for name in self.names.postgres_users if name.endswith("reader")]
        password = self.users[self.names.postgres][reader]["password"]
        host = _host(self.names.postgres)
        return {
            "connection_uri": f"postgres://{reader}:{password}@{host}:12348/{self.names.pool}?sslmode=require",
            "database": self.names.database,
            "pool_mode": "transaction",
            "pool_name": self.names.pool,
            "pool_size": 10,
            "username": reader,
        }

    @property
    def url(self) -> str:
        """WMS_AIVEN_URL."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        api = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, body = api.answer(self.path, self.headers.get("authorization", ""))
                self.send_response(status)
                html = body.startswith(b"<")  # of a proxy or a balancer in front of it
                self.send_header("content-type", "text/html" if html else "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, target: str, authorization: str) -> tuple[int, bytes]:
        """Of an operation, which is one that is published."""
        parts = urlsplit(target)
        self.asked.append(unquote(parts.path).removeprefix(f"/v1/project/{PROJECT}/"))
        for end, (status, text) in self.instead.items():
            if parts.path.endswith(end):
                return status, text.encode()
        (operation,) = [name for name, one in _PUBLISHED["operations"].items() if re.match(one["path"], parts.path)]
        query = parse_qs(parts.query)
        assert set(query) <= set(_PUBLISHED["operations"][operation]["query"])
        status, body = self._answer(operation, unquote(parts.path).split("/")[3:], authorization, query)
        held_to = operation if status == 200 else "Error"
        jsonschema.validate(body, {**_PUBLISHED, "$ref": f"#/$defs/{held_to}"})
        return status, json.dumps(body).encode()

    def _answer(
        self, operation: str, words: list[str], authorization: str, query: dict[str, list[str]]
    ) -> tuple[int, dict[str, Any]]:
        secrets = query.get("include_secrets") == ["true"]
        if authorization != f"aivenv1 {self.token}":
            return _refusal(401, "Invalid token")
        if words[0] != PROJECT:
            return _refusal(404, "Project does not exist")
        if operation == "ProjectKmsGetCA":
            return 200, {"certificate": CA}
        if secrets and not self.may_read_secrets:
            return _refusal(403, "Missing permission service:secrets:read")
        return self._of_service(words[2], words[4] if operation == "ServiceUserGet" else None, secrets)

    def _of_service(self, name: str, user: str | None, secrets: bool) -> tuple[int, dict[str, Any]]:
        service = self.services.get(name)
        if service is None:
            return _refusal(404, "Service does not exist")
        if user is None:
            users = list(self.users[name].values())
            return 200, {"service": _shown({**service, "users": users}, secrets)}
        found = self.users[name].get(user)
        return (200, {"user": _shown(found, secrets)}) if found else _refusal(404, "Service user does not exist")


def _refusal(status: int, message: str) -> tuple[int, dict[str, Any]]:
    return status, {"errors": [{"message": message, "status": status}], "message": message}


def _shown(value: Any, secrets: bool) -> Any:
    """With its secrets, or without."""
    if secrets:
        return value
    if isinstance(value, list):
        return [_shown(one, secrets) for one in value]
    if isinstance(value, dict):
        return {name: _redacted(name, inner) for name, inner in value.items()}
    return value


def _redacted(name: str, value: Any) -> Any:
    if name in _SECRETS and value is not None:
        return "<redacted>"
    if name == "connection_uri":
        return re.sub(r":[^:@/]+@", ":<redacted>@", value)
    return _shown(value, False)


def _host(service: str) -> str:
    return f"{service}-acme.a.aivencloud.com"


def _component(name: str, port: int) -> dict[str, Any]:
    more = {"kafka_authentication_method": "certificate"} if name == "kafka" else {}
    host = _host("wms-kafka")
    return {"component": name, "host": host, "port": port, "route": "dynamic", "usage": "primary", **more}


def _service(name: str, kind: str, port: int) -> dict[str, Any]:
    return {
        "cloud_name": "google-europe-west1",
        "create_time": _LONG_AGO,
        "group_list": ["default"],
        "plan": "startup-4",
        "project_vpc_id": None,
        "service_integrations": [],
        "service_name": name,
        "service_type": kind,
        "service_uri": f"{kind}://{_host(name)}:{port}",
        "service_uri_params": {"host": _host(name), "port": str(port)},
        "state": "RUNNING",
        "termination_protection": False,
        "update_time": _LONG_AGO,
        "user_config": {},
    }


def _user(name: str) -> dict[str, Any]:
    return {"username": name, "password": f"AVNS_of-{name}_x", "type": "normal"}


def _kafka_user(name: str) -> dict[str, Any]:
    leaf: trustme.LeafCert = AUTHORITY.issue_cert(f"{name}.example", common_name=name)
    return {**_user(name), "access_cert": chain_of(leaf), "access_key": pkcs8(leaf)}
