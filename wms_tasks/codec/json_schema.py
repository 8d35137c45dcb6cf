"""The JSON Schema of a message whose value is JSON, made of the Avro schema, so that the two cannot differ. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

_PRIMITIVES: dict[str, dict[str, Any]] = {
    "null": {"type": "null"},
    "boolean": {"type": "boolean"},
    "int": {"type": "integer", "minimum": -(2**31), "maximum": 2**31 - 1},
    "long": {"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1},
    "double": {"type": "number"},
    "string": {"type": "string"},
}
_LOGICAL: dict[str, dict[str, Any]] = {
    "uuid": {"type": "string", "format": "uuid"},
    # RFC 3339, in UTC, with as many digits of a second as it has.
    "timestamp-micros": {"type": "string", "format": "date-time", "pattern": "Z$"},
}


def json_schema(record: Mapping[str, Any]) -> dict[str, Any]:
    """
    The schema (draft 2020-12) of an Avro record as JSON has it.

    As open as our reader is: it takes fields, outcomes and reasons that it does not know.
    """
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": record["name"], **_record(record)}


def _record(record: Mapping[str, Any]) -> dict[str, Any]:
    fields = record["fields"]
    return {
        "description": record["doc"],
        "type": "object",
        "properties": {field["name"]: _field(field) for field in fields},
        "required": [field["name"] for field in fields if "default" not in field],
    }


def _field(field: Mapping[str, Any]) -> dict[str, Any]:
    found = _type(field["type"])
    if "default" in field:
        found = found | {"default": field["default"]}
    return {"description": field["doc"], **({"anyOf": [found]} if "description" in found else found)}


def _type(avro: Any) -> dict[str, Any]:
    if isinstance(avro, list):
        found: dict[str, Any] = {"anyOf": [_type(one) for one in avro]}
    elif isinstance(avro, str):
        found = dict(_PRIMITIVES[avro])
    elif avro.get("logicalType") in _LOGICAL:
        found = dict(_LOGICAL[avro["logicalType"]])
    else:
        found = _COMPLEX[avro["type"]](avro)
    return found


_COMPLEX: dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    "record": _record,
    "enum": lambda avro: {"type": "string", "examples": [one for one in avro["symbols"] if one != avro["default"]]},
    "array": lambda avro: {"type": "array", "items": _type(avro["items"])},
    "map": lambda avro: {"type": "object", "additionalProperties": _type(avro["values"])},
}
