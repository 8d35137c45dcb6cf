"""
A schema registry with Confluent's REST interface (Karapace, Confluent's own): ids for schemas, and schemas for ids.

confluent_kafka does the asking; every answer that is none becomes one of our errors, none of which holds a credential.
Its module is imported when a registry is first asked, since that takes a while. Used by wire.py and `wms schema`.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote, urlsplit

import structlog

from wms_tasks import clock
from wms_tasks.codec.avro_schema import AvroSchema, read_schema
from wms_tasks.errors import CodecError, NotRegistered, RegistryAway, WmsError
from wms_tasks.settings import Settings

TIMEOUT_SECONDS = 2.0
# A registry that did not answer is not asked again before this: whoever needs it waits, and must not wait long.
ASK_AGAIN_SECONDS = 2.0
# What it did not know, it may know later: one that is restored, or one whose copy lags.
UNKNOWN_SECONDS = 30.0
_UNKNOWN_MOST = 10_000
_UNAUTHORIZED = (401, 403)
# Of a registry, not of whatever else may answer at its address: no such subject, version, schema.
_NOT_FOUND = (40401, 40402, 40403)

_log = structlog.get_logger()


class Registry:
    """One process's; any thread may ask. Says once that the registry is away, and once that it is back."""

    def __init__(self, settings: Settings, *, log: bool = True) -> None:
        """
        Nothing is opened yet. ``schema_registry_url`` must be set.

        Args:
            log: False for a command, which says by its error what is wrong.
        """
        assert settings.schema_registry_url is not None
        self._settings = settings
        self._log = log
        url = urlsplit(settings.schema_registry_url)
        self._login = settings.schema_registry_auth or _login_of(url.username, url.password)
        self._url = url._replace(netloc=url.netloc.rpartition("@")[2]).geturl().rstrip("/")
        self._lock = threading.Lock()
        self._schemas: dict[int, AvroSchema] = {}
        self._unknown: dict[int, tuple[CodecError, float]] = {}
        self._away: RegistryAway | None = None
        self._ask_at = 0.0

    def __str__(self) -> str:
        return self._url

    def schema(self, schema_id: int) -> AvroSchema:
        """
        The schema with this id; asked for once.

        Raises:
            CodecError: there is none, or it is not of this release's record.
            RegistryAway: no answer.
        """
        known = self.remembered(schema_id)
        if isinstance(known, AvroSchema):
            return known
        if known is not None and clock.monotonic() < self._unknown[schema_id][1]:
            raise CodecError(known.message)
        try:
            found = self._fetch(schema_id)
        except CodecError as error:
            if len(self._unknown) >= _UNKNOWN_MOST:
                self._unknown.clear()
            self._unknown[schema_id] = (error, clock.monotonic() + UNKNOWN_SECONDS)
            raise
        self._schemas[schema_id] = found
        return found

    def remembered(self, schema_id: int) -> AvroSchema | CodecError | None:
        """What was last heard of this id, without asking; None: nothing yet."""
        return self._schemas.get(schema_id) or self._unknown.get(schema_id, (None,))[0]

    def id_of(self, subject: str, schema: AvroSchema) -> int:
        """
        The id under which this very schema is registered for the subject.

        Raises:
            NotRegistered: it is not.
            RegistryAway: no answer.
        """
        with self._asking() as (client, http_error):
            try:
                return int(client.lookup_schema(subject, _as_theirs(schema)).schema_id)
            except http_error as error:
                if error.error_code in _NOT_FOUND:
                    raise NotRegistered(
                        f"the registry at {self} does not have this release's schema for {subject}",
                        hint="wms schema register",
                    ) from error
                raise

    def register(self, subject: str, schema: AvroSchema) -> int:
        """
        Register it, if it is not; its id.

        Raises:
            CodecError: the registry refuses it as incompatible with an earlier version.
            RegistryAway: no answer, or not ours to write.
        """
        with self._asking() as (client, http_error):
            try:
                return int(client.register_schema(subject, _as_theirs(schema)))
            except http_error as error:
                if error.http_status_code in {409, 422}:
                    raise CodecError(f"the registry at {self} refuses it: {_said(error)}") from error
                raise

    def is_compatible(self, subject: str, schema: AvroSchema) -> bool | None:
        """
        Whether the registry would take it after the subject's newest version; None where the subject has none.

        Raises:
            RegistryAway: no answer.
        """
        with self._asking() as (client, http_error):
            try:
                return bool(client.test_compatibility(subject, _as_theirs(schema)))
            except http_error as error:
                if error.error_code in _NOT_FOUND:
                    return None
                raise

    def _fetch(self, schema_id: int) -> AvroSchema:
        with self._asking() as (client, http_error):
            try:
                text = client.get_schema(schema_id).schema_str
            except http_error as error:
                if error.error_code in _NOT_FOUND:
                    raise CodecError(f"the registry at {self} has no schema {schema_id}") from error
                raise
        try:
            return read_schema(text)
        except CodecError as error:
            raise CodecError(f"schema {schema_id} of the registry at {self}: {error.message}") from error

    @contextmanager
    def _asking(self) -> Iterator[tuple[Any, Any]]:
        """The client and its error; what means "no answer" comes out as `RegistryAway`."""
        import httpx2
        from confluent_kafka.schema_registry import SchemaRegistryClient
        from confluent_kafka.schema_registry.error import SchemaRegistryError

        if self._away is not None and clock.monotonic() < self._ask_at:
            raise RegistryAway(self._away.message)
        try:
            # One for each question: they are few, and a connection that is kept outlives forks and whoever made it.
            with SchemaRegistryClient(self._config()) as client:
                yield client, SchemaRegistryError
        except WmsError:
            self._is_back()
            raise
        except SchemaRegistryError as error:
            raise self._is_away(self._refused(error)) from error
        except httpx2.TimeoutException as error:
            raise self._is_away(f"no answer within {TIMEOUT_SECONDS:g} s") from error
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise self._is_away(f"{type(error).__name__}: {self._clean(str(error))}") from error
        self._is_back()

    def _config(self) -> dict[str, Any]:
        settings = self._settings
        given = {
            "basic.auth.user.info": self._login,
            "ssl.ca.location": settings.schema_registry_ca,
            "ssl.certificate.location": settings.schema_registry_certificate,
            "ssl.key.location": settings.schema_registry_key,
        }
        config: dict[str, Any] = {name: str(value) for name, value in given.items() if value}
        # Whoever needs an answer waits and asks again; the client's own waiting would hold a thread for half a minute.
        return {"url": self._url, "timeout": TIMEOUT_SECONDS, "max.retries": 0, **config}

    def _refused(self, error: Any) -> str:
        if error.http_status_code in _UNAUTHORIZED:
            return f"it refuses us ({error.http_status_code}): look at WMS_SCHEMA_REGISTRY_AUTH"
        return f"{error.http_status_code}: {self._clean(_said(error))}"

    def _clean(self, text: str) -> str:
        """One line, without the login, should somebody have repeated it."""
        for secret in filter(None, (self._login, (self._login or "").partition(":")[2])):
            text = text.replace(secret, "***")
        return " ".join(text.split())[:200]

    def _is_away(self, why: str) -> RegistryAway:
        error = RegistryAway(f"schema registry {self}: {why}")
        with self._lock:
            first, self._away = self._away is None, error
            self._ask_at = clock.monotonic() + ASK_AGAIN_SECONDS
        if first and self._log:
            _log.warning("registry.away", registry=str(self), why=why, then="asked again until it answers")
        return error

    def _is_back(self) -> None:
        with self._lock:
            was_away, self._away = self._away, None
        if was_away is not None and self._log:
            _log.warning("registry.back", registry=str(self))


def _login_of(user: str | None, password: str | None) -> str | None:
    return f"{unquote(user)}:{unquote(password or '')}" if user else None


def _said(error: Any) -> str:
    return str(error.error_message)


def _as_theirs(schema: AvroSchema) -> Any:
    from confluent_kafka.schema_registry import Schema

    return Schema(json.dumps(schema.tree), "AVRO")
