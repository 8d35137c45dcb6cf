"""
The sites file as JSON Schema (draft 2020-12), for editors: made from the models that read it. Pure.

An editor sees YAML's numbers and truths where we see text, so text may be either there. It checks shape and words; what
needs more than one key is for ``wms sites validate``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from wms_tasks.sites.expect_spec import ExpectSpec, HeaderRuleSpec
from wms_tasks.sites.fields import ONE_OR_MORE, Strict
from wms_tasks.sites.request_spec import AuthSpec, BasicSpec, TlsSpec
from wms_tasks.sites.schema_words import DESCRIPTIONS
from wms_tasks.sites.spec import DefaultsSpec, HostSpec, SiteSpec
from wms_tasks.sites.text_rules import METHODS

DIALECT = "https://json-schema.org/draft/2020-12/schema"
Json = dict[str, Any]
_NULL: Json = {"type": "null"}
_TEXT: Json = {"type": ["string", "number", "boolean"]}
_DURATION: Json = {"type": "string", "pattern": r"^([0-9]+(\.[0-9]+)?(d|h|m|s|ms))+$", "examples": ["30s", "1m30s"]}
_SIZE: Json = {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)? *(B|KiB|MiB)$", "examples": ["64KiB", "1MiB"]}
_REFERENCE: Json = {
    "type": "string",
    "pattern": r"^\$\{(WMS_SECRET_[A-Z0-9_]+|file:[A-Za-z0-9._/-]+)\}$",
    "examples": ["${WMS_SECRET_NAME}", "${file:name}"],
}
# What the models know only as a function that looks at text.
_FORMS: dict[str, Json] = {
    **dict.fromkeys(("interval", "jitter", "timeout", "slow", "spacing"), _DURATION),
    **dict.fromkeys(("password", "bearer", "certificate", "key"), _REFERENCE),
    "max_body": _SIZE,
    "method": {"type": "string", "enum": list(METHODS)},
    "url": {"type": "string", "pattern": "^https?://"},
}


class FileSpec(Strict):
    """The whole file."""

    sites: tuple[SiteSpec, ...] = ()
    defaults: DefaultsSpec | None = None
    groups: dict[str, DefaultsSpec] | None = None
    hosts: dict[str, HostSpec] | None = None


# By the place of their keys, as `DESCRIPTIONS` names it.
MODELS: dict[str, type[BaseModel]] = {
    "": FileSpec,
    "site": SiteSpec,
    "defaults": DefaultsSpec,
    "host": HostSpec,
    "auth": AuthSpec,
    "auth.basic": BasicSpec,
    "tls": TlsSpec,
    "expect": ExpectSpec,
    "expect.headers": HeaderRuleSpec,
}

# What holds other keys may stand empty, because its last line may have been commented out.
_MAY_BE_EMPTY = frozenset({DefaultsSpec, AuthSpec, TlsSpec, ExpectSpec})


def sites_schema() -> Json:
    """The schema, as plain JSON."""
    schema = FileSpec.model_json_schema()
    of_model = schema.pop("$defs") | {FileSpec.__name__: schema}
    for place, model in MODELS.items():
        _adapt(of_model[model.__name__], model, place)
    top: Json = of_model.pop(FileSpec.__name__)
    top |= {"patternProperties": {"^x-": True}, "anyOf": [{"required": [key]} for key in ("sites", "groups", "hosts")]}
    return {"$schema": DIALECT, "title": "The sites file of wms-tasks", **top, "$defs": of_model}


def keys_of(place: str, model: type[BaseModel]) -> Iterator[tuple[str, str]]:
    """Each key of `model`, with its name in `DESCRIPTIONS`; what sites and defaults share has one."""
    for name, field in model.model_fields.items():
        shared = "defaults" if place == "site" and name in DefaultsSpec.model_fields else place
        yield field.alias or name, f"{shared}.{field.alias or name}".removeprefix(".")


def _adapt(schema: Json, model: type[BaseModel], place: str) -> None:
    schema.pop("description", None)  # the models', for those who read the code
    schema.pop("title", None)
    if model in _MAY_BE_EMPTY:
        schema["type"] = ["object", "null"]
    fields = {field.alias or name: field for name, field in model.model_fields.items()}
    for key, described in keys_of(place, model):
        written = schema["properties"][key]
        value = _FORMS.get(key) or _plain(_inner(written))
        if ONE_OR_MORE in fields[key].metadata:
            value = {"anyOf": [value["items"], value]}
        elif value.get("type") in ("object", "array") and _NULL in written.get("anyOf", ()):
            value["type"] = [value["type"], "null"]
        if described == "expect.headers":
            value["additionalProperties"] = {"anyOf": [_TEXT, value["additionalProperties"]]}
        schema["properties"][key] = {"description": DESCRIPTIONS[described]} | value


def _inner(schema: Json) -> Json:
    """What a value is where it is one."""
    return next((choice for choice in schema.get("anyOf", ()) if choice != _NULL), schema)


def _plain(schema: Json) -> Json:
    """Without pydantic's titles and defaults, and with text as an editor sees it."""
    found = {key: value for key, value in schema.items() if key not in {"title", "default"}}
    if found.get("type") == "string":
        return {"enum": [one for text in found["enum"] for one in _spellings(text)]} if "enum" in found else _TEXT
    for key in ("items", "additionalProperties"):
        if isinstance(found.get(key), dict):
            found[key] = _plain(found[key])
    return found


def _spellings(text: str) -> Iterator[str | float]:
    yield text
    try:
        yield float(text)
    except ValueError:
        return
