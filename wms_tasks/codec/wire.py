"""
Which codec: a writer for what WMS_WIRE_FORMAT says, and a reader that takes both, told apart by what a value begins
with. Made by publish and by persist, once a process. What Avro needs is imported where Avro is met.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

import structlog

from wms_tasks.codec import json_codec
from wms_tasks.codec.avro_schema import AvroSchema, by_fingerprint, current
from wms_tasks.codec.compatibility import breaks_either_way
from wms_tasks.codec.envelope import AVRO, JSON, Headers, content_type_of, headers_of
from wms_tasks.codec.framing import (
    CONFLUENT_BYTES,
    SINGLE_OBJECT_BYTES,
    confluent,
    is_framed,
    registry_id,
    single_object,
    unframe,
)
from wms_tasks.codec.registry import Registry
from wms_tasks.errors import CodecError, NotRegistered
from wms_tasks.result import Result
from wms_tasks.settings import Settings

Encoded = tuple[bytes, list[tuple[str, bytes]]]
_log = structlog.get_logger()
_AVRO_BEGINS = (0x00, 0xC3)


@lru_cache(maxsize=1)
def _ours_framed() -> bytes:
    """How a value begins that is written with this release's schema and without a registry."""
    return single_object(current().fingerprint)


def subject_of(topic: str) -> str:
    """What the schema of a topic's values is called in a registry: the usual name (TopicNameStrategy)."""
    return f"{topic}-value"


class WireWriter:
    """Thread-safe. A registry is asked for the id of this release's schema at the first result, and not again."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._avro = settings.wire_format == "avro"
        self._registry = Registry(settings) if self._avro and settings.schema_registry_url else None
        self._said = False
        self._frame = _ours_framed() if self._avro and not self._registry else None

    def encode(self, result: Result) -> Encoded:
        """
        A message's value and headers.

        Raises:
            CodecError: it cannot be written unchanged.
            RegistryAway: the registry has not told the schema's id yet.
        """
        if not self._avro:
            return json_codec.encode(result), headers_of(result, JSON)
        frame = self._frame or self._ask()
        from wms_tasks.codec import avro_codec

        return frame + avro_codec.encode(result), headers_of(result, AVRO)

    def _ask(self) -> bytes:
        """Registers it where this environment may make topics too; elsewhere that is a step of the release."""
        assert self._registry is not None
        subject = subject_of(self._settings.topic)
        try:
            schema_id = self._registry.id_of(subject, current())
        except NotRegistered as error:
            if not self._settings.may_make:
                self._say(error)
                raise
            schema_id = self._registry.register(subject, current())
        self._frame = confluent(schema_id)
        return self._frame

    def _say(self, error: NotRegistered) -> None:
        """Once: somebody has to register it, and until then every result waits."""
        if not self._said:
            self._said = True
            _log.error("registry.schema_missing", problem=str(error), results="tried again until their slots end")


class WireReader:
    """
    Reads what any writer of this or an older release wrote, and of a newer one what has the same ``n``.

    Without a registry, Avro is read only in the single-object encoding and with a schema that this release knows.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        has_registry = settings is not None and settings.schema_registry_url is not None
        self._registry = Registry(settings) if settings is not None and has_registry else None
        self._ready: set[int] = set()
        self._ours: set[int] = set()
        self._framed: bytes | None = None

    def start_of_ours(self, value: bytes) -> int | None:
        """Where the Avro datum begins, if its framing says just this release's schema; None of all else."""
        if value[:SINGLE_OBJECT_BYTES] == self._framed:
            return SINGLE_OBJECT_BYTES
        if not value or value[0] not in _AVRO_BEGINS:
            return None
        # Only now, because it brings fastavro with it.
        self._framed = _ours_framed()
        if value.startswith(self._framed):
            return SINGLE_OBJECT_BYTES
        return CONFLUENT_BYTES if registry_id(value) in self._ours else None

    def prepare(self, values: Iterable[bytes | None]) -> None:
        """
        Ask now for every schema that `decode` will need of these; whoever has called this need not wait there.

        Raises:
            RegistryAway: not all are known; nothing is lost by asking again.
        """
        if self._registry is None:
            return
        for schema_id in {registry_id(value) for value in values} - self._ready:
            if schema_id is not None:
                self._look_up(self._registry, schema_id)

    def decode(self, value: bytes | None, headers: Headers = ()) -> Result:
        """
        The inverse of `WireWriter.encode`. What begins as Avro does is Avro, the rest JSON; only of what cannot be read
        so is the content-type looked at, for what is wrong with it (decision 42).

        Raises:
            CodecError: one line that says what is wrong.
            RegistryAway: the schema is not known yet; never right after `prepare`.
        """
        usual = AVRO if is_framed(value) else JSON
        try:
            return self._decode(value, usual)
        except CodecError:
            content_type = content_type_of(headers)
            if content_type in {usual, None}:
                raise
        if content_type not in {JSON, AVRO}:
            raise CodecError(f"content-type is {content_type!r}, neither {JSON.decode()} nor {AVRO.decode()}")
        return self._decode(value, content_type)

    def _decode(self, value: bytes | None, content_type: bytes) -> Result:
        if content_type == JSON:
            return json_codec.decode_value(value)
        frame = unframe(value)
        assert value is not None
        from wms_tasks.codec import avro_codec

        return avro_codec.decode(value, frame.start, self._schema(frame.schema))

    def _look_up(self, registry: Registry, schema_id: int) -> None:
        try:
            schema = registry.schema(schema_id)
        except CodecError:
            return  # said again by `decode`, of the message that needs it
        self._ready.add(schema_id)
        # A fingerprint says nothing of logical types.
        if schema.fingerprint == current().fingerprint and not breaks_either_way(schema.tree, current().tree):
            self._ours.add(schema_id)

    def _schema(self, which: int | bytes) -> AvroSchema:
        if isinstance(which, int):
            if self._registry is None:
                raise CodecError(f"schema {which} of a registry, and WMS_SCHEMA_REGISTRY_URL is not set")
            known = self._registry.remembered(which)
            if isinstance(known, CodecError):
                raise CodecError(known.message)
            return known or self._registry.schema(which)
        schema = by_fingerprint().get(which)
        if schema is None:
            raise CodecError(f"an Avro schema that this release does not know, fingerprint {which[::-1].hex()}")
        return schema
