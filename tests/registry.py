"""
A schema registry for tests: an HTTP server with the part of Confluent's published REST interface that we use.

A double, because no real registry (Karapace needs a Kafka of its own and a container) can be had by every test machine.
It is held to the shapes of Confluent's API reference, which Karapace keeps too: paths, bodies, the media types of both
sides, errors as ``{"error_code", "message"}``, and schemas that are one where their JSON is. What no double can show, a
release tries against docker-compose's Karapace.
"""

from __future__ import annotations

import base64
import json
import re
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

from fastavro.schema import SchemaParseException, parse_schema

from tests.ports import free_port
from wms_tasks.codec.compatibility import breaks

MEDIA_TYPE = "application/vnd.schemaregistry.v1+json"
# What may be sent; and asked for, beside anything.
SENT = {MEDIA_TYPE, "application/vnd.schemaregistry+json", "application/json", "application/octet-stream"}
ASKED = {MEDIA_TYPE, "application/vnd.schemaregistry+json", "application/json", "application/*", "*/*"}


class _Error(Exception):
    def __init__(self, status: int, code: int, message: str) -> None:
        self.status, self.body = status, {"error_code": code, "message": message}


class Registry:
    """
    What it holds, and how it behaves. ``asked``: each request, as method and path. ``logins``: who may ask, anybody if
    it is empty; ``logged_in``: who of them did.
    """

    def __init__(self) -> None:
        self.schemas: list[str] = []
        self.subjects: dict[str, list[int]] = {}
        self.asked: list[str] = []
        self.logins: set[str] = set()
        self.logged_in: set[str] = set()
        self.broken = False
        self.url = ""
        self.first_id = 1

    def put(self, text: str, subject: str = "other-value") -> int:
        """As if somebody had registered it; its id."""
        number = self._id_of(text)
        if number is None:
            self.schemas.append(text)
            number = len(self.schemas) - 1 + self.first_id
        versions = self.subjects.setdefault(subject, [])
        if number not in versions:
            versions.append(number)
        return number

    def _id_of(self, text: str) -> int | None:
        """However it is spaced, and in whatever order its keys are; other words are another schema."""
        trees = [json.loads(kept) for kept in self.schemas]
        return trees.index(tree) + self.first_id if (tree := json.loads(text)) in trees else None

    def answer(self, method: str, path: str, body: Any, authorization: str | None) -> Any:
        """The answer's body."""
        path = unquote(path)
        self.asked.append(f"{method} {path}")
        self._log_in(authorization)
        if self.broken:
            raise _Error(500, 50001, "Error in the backend data store")
        for pattern, handler in (
            (r"POST /subjects/([^/]+)/versions", self._register),
            (r"POST /subjects/([^/]+)", self._look_up),
            (r"GET /schemas/ids/(\d+)", self._schema),
            (r"POST /compatibility/subjects/([^/]+)/versions/(latest|\d+)", self._compatibility),
        ):
            if found := re.fullmatch(pattern, f"{method} {path}"):
                return handler(found[1], body)
        raise _Error(404, 404, "HTTP 404 Not Found")

    def _log_in(self, authorization: str | None) -> None:
        known = {f"Basic {base64.b64encode(login.encode()).decode()}": login for login in self.logins}
        if known and authorization not in known:
            raise _Error(401, 401, "Unauthorized")
        self.logged_in |= {known[authorization]} if authorization in known else set()

    def _register(self, subject: str, body: Any) -> Any:
        text = self._valid(body)
        if subject in self.subjects and not self._is_compatible(subject, text):
            raise _Error(409, 409, "Schema being registered is incompatible with an earlier schema")
        return {"id": self.put(text, subject)}

    def _look_up(self, subject: str, body: Any) -> Any:
        text = self._valid(body)
        if subject not in self.subjects:
            raise _Error(404, 40401, f"Subject '{subject}' not found.")
        number = self._id_of(text)
        if number is None or number not in self.subjects[subject]:
            raise _Error(404, 40403, "Schema not found")
        kept = self.schemas[number - self.first_id]
        return {"subject": subject, "id": number, "version": self.subjects[subject].index(number) + 1, "schema": kept}

    def _schema(self, schema_id: str, _: Any) -> Any:
        place = int(schema_id) - self.first_id
        if not 0 <= place < len(self.schemas):
            raise _Error(404, 40403, "Schema not found")
        return {"schema": self.schemas[place]}

    def _compatibility(self, subject: str, body: Any) -> Any:
        text = self._valid(body)
        if subject not in self.subjects:
            raise _Error(404, 40401, f"Subject '{subject}' not found.")
        return {"is_compatible": self._is_compatible(subject, text)}

    def _is_compatible(self, subject: str, text: str) -> bool:
        """BACKWARD, the default of a registry: the new one reads what the newest there wrote."""
        newest = self.schemas[self.subjects[subject][-1] - self.first_id]
        return not breaks(reader=json.loads(text), writer=json.loads(newest))

    @staticmethod
    def _valid(body: Any) -> str:
        try:
            assert body.get("schemaType", "AVRO") == "AVRO"
            parse_schema(json.loads(body["schema"]))
        except (KeyError, ValueError, SchemaParseException) as error:
            raise _Error(422, 42201, f"Invalid schema {error}") from error
        return str(body["schema"])


def _check_media(headers: Message, *, has_body: bool) -> None:
    """As a registry does before it looks at anything else."""
    if has_body and headers.get_content_type() not in SENT:
        raise _Error(415, 415, "HTTP 415 Unsupported Media Type")
    asked = {one.partition(";")[0].strip() for one in headers.get("Accept", "*/*").split(",")}
    if asked.isdisjoint(ASKED):
        raise _Error(406, 406, "HTTP 406 Not Acceptable")


@contextmanager
def registry(context: ssl.SSLContext | None = None, *, port: int | None = None) -> Iterator[Registry]:
    """Running on loopback until the end of the block; over TLS with a context."""
    held = Registry()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            try:
                _check_media(self.headers, has_body=bool(body))
                path, login = urlsplit(self.path).path, self.headers.get("Authorization")
                status, found = 200, held.answer(self.command, path, json.loads(body) if body else None, login)
            except _Error as error:
                status, found = error.status, error.body
            content = json.dumps(found).encode()
            self.send_response(status)
            self.send_header("Content-Type", MEDIA_TYPE)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = _any  # noqa: N815 - the server's names

        def log_message(self, *_: Any) -> None:
            """Silent."""

    server = ThreadingHTTPServer(("127.0.0.1", port or free_port()), Handler)
    server.daemon_threads = True
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    held.url = f"http{'s' if context else ''}://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield held
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
