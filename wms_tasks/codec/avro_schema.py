"""
The Avro schemas of the record: ``schemas/metrics.avsc``, with which this release writes, and every version ever
published, ``metrics.v{n}.{m}.avsc``, which stay for good so that what was written can be read.

A new ``m`` only adds what older readers can do without; anything else is a new ``n``, a namespace and a topic of its
own (compatibility.py judges). Read from the package, once; fastavro, 2 MB, is imported with the first of them.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from operator import itemgetter
from typing import Any

from wms_tasks.codec.rules import one_line
from wms_tasks.codec.upcast import UPCASTS
from wms_tasks.errors import CodecError
from wms_tasks.result import SCHEMA_VERSION

_RECORD = re.compile(r"wms\.metrics\.v(\d+)\.Result")
# What fastavro raises of it, beside its own.
_NO_SCHEMA = (ValueError, TypeError, KeyError, AttributeError, RecursionError)
_PUBLISHED = re.compile(r"metrics\.(v(\d+)\.(\d+))\.avsc")


@dataclass(frozen=True, slots=True, eq=False)
class AvroSchema:
    """
    One schema of the record, for the topic's v{n}. ``fingerprint``: as it stands in the single-object encoding; two
    schemas that differ only in words, defaults or logical types share it, so no two published ones may.
    """

    n: int
    text: str
    parsed: Any
    fingerprint: bytes

    @property
    def tree(self) -> dict[str, Any]:
        """As JSON has it."""
        found: dict[str, Any] = json.loads(self.text)
        return found


def read_schema(text: str) -> AvroSchema:
    """
    A schema of our record, ours or a registry's.

    Raises:
        CodecError: it is no schema, or not of a record that this release reads.
    """
    from fastavro import schema

    try:
        parsed = schema.parse_schema(json.loads(text))
        crc = bytes.fromhex(schema.fingerprint(schema.to_parsing_canonical_form(parsed), "CRC-64-AVRO"))
    except (*_NO_SCHEMA, schema.SchemaParseException, schema.UnknownType) as error:
        raise CodecError(f"no Avro schema: {one_line(error)}") from error
    name = parsed.get("name") if isinstance(parsed, dict) else None
    found = _RECORD.fullmatch(name or "")
    if found is None or int(found[1]) not in readable():
        ours = " and ".join(f"wms.metrics.v{n}.Result" for n in readable())
        raise CodecError(f"the schema is of {name or 'no record'}, and this release reads {ours}")
    return AvroSchema(int(found[1]), text, parsed, crc)


def readable() -> list[int]:
    """Every ``n`` that this release reads."""
    return sorted({SCHEMA_VERSION, *UPCASTS})


@lru_cache(maxsize=1)
def current() -> AvroSchema:
    """What this release writes."""
    return read_schema((files("wms_tasks.codec") / "schemas" / "metrics.avsc").read_text(encoding="utf-8"))


@lru_cache(maxsize=1)
def published() -> dict[str, AvroSchema]:
    """Every version that was ever published, of each ``n`` that this release reads, oldest first: v1.0, v1.1, …."""
    named = ((_PUBLISHED.fullmatch(path.name), path) for path in (files("wms_tasks.codec") / "schemas").iterdir())
    ours = [(int(name[2]), int(name[3]), name[1], path) for name, path in named if name and int(name[2]) in readable()]
    texts = {name: path.read_text(encoding="utf-8") for _, _, name, path in sorted(ours, key=itemgetter(0, 1))}
    return {name: read_schema(text) for name, text in texts.items()}


@lru_cache(maxsize=1)
def by_fingerprint() -> dict[bytes, AvroSchema]:
    """Those that a single-object encoded value may have been written with."""
    return {schema.fingerprint: schema for schema in published().values()}
