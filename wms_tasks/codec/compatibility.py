"""
Whether what is written with one Avro schema can be read with another, by the rules of Avro's schema resolution. Pure.

Stricter than a registry in two things: a logical type must stay what it is, since an instant in other units would be
read as another instant without a word; and types are told apart by their full names. Used by `wms schema check` and by
the tests, which hold every version ever published against every other, both ways.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

# A writer's number may be read as these.
_WIDER = {"int": {"long", "float", "double"}, "long": {"float", "double"}, "float": {"double"}}
_NAMED = frozenset({"record", "enum", "fixed"})

Tree = Mapping[str, Any]


def breaks(*, reader: Tree, writer: Tree) -> list[str]:
    """
    Why a reader with one schema cannot read what was written with the other; empty where it can.

    Args:
        reader, writer: schemas as JSON has them, each a record.
    """
    return list(_Pair(_names(reader), _names(writer)).compare(reader, writer, ""))


def breaks_either_way(new: Tree, old: Tree) -> list[str]:
    """Why they cannot live on one topic: each must be read with the other."""
    found = [f"old readers cannot read new messages: {one}" for one in breaks(reader=old, writer=new)]
    return found + [f"new readers cannot read old messages: {one}" for one in breaks(reader=new, writer=old)]


class _Pair:
    """The named types of both."""

    def __init__(self, reader: Mapping[str, Tree], writer: Mapping[str, Tree]) -> None:
        self._reader = reader
        self._writer = writer

    def compare(self, reader: Any, writer: Any, where: str) -> Iterator[str]:
        reader, writer = _resolved(reader, self._reader), _resolved(writer, self._writer)
        if isinstance(writer, list):
            for branch in writer:
                yield from self.compare(reader, branch, where)
        elif isinstance(reader, list):
            if all(any(True for _ in self.compare(branch, writer, where)) for branch in reader):
                yield f"{where or 'it'} may be {_said(writer)}, which is none of {', '.join(map(_said, reader))}"
        else:
            yield from self._compare_plain(reader, writer, where)

    def _compare_plain(self, reader: Tree, writer: Tree, where: str) -> Iterator[str]:
        if not _same_kind(reader, writer):
            yield f"{where or 'it'} is {_said(writer)}, and read as {_said(reader)}"
        elif reader["type"] == "record":
            yield from self._compare_fields(reader, writer, where)
        elif reader["type"] == "enum":
            unknown = [symbol for symbol in writer["symbols"] if symbol not in reader["symbols"]]
            if unknown and "default" not in reader:
                yield f"{where} may be {', '.join(unknown)}, which the enum lacks, and it has no default"
        elif reader["type"] in {"array", "map"}:
            of = "items" if reader["type"] == "array" else "values"
            yield from self.compare(reader[of], writer[of], f"{where}[]")

    def _compare_fields(self, reader: Tree, writer: Tree, where: str) -> Iterator[str]:
        written = {field["name"]: field for field in writer["fields"]}
        for field in reader["fields"]:
            path = f"{where}.{field['name']}" if where else field["name"]
            if field["name"] in written:
                yield from self.compare(field["type"], written[field["name"]]["type"], path)
            elif "default" not in field:
                yield f"{path} is not written, and has no default"


def _same_kind(reader: Tree, writer: Tree) -> bool:
    if reader.get("logicalType") != writer.get("logicalType") or reader.get("name") != writer.get("name"):
        return False
    return reader["type"] == writer["type"] or reader["type"] in _WIDER.get(writer["type"], ())


def _resolved(schema: Any, names: Mapping[str, Tree]) -> Any:
    """A named type's definition with its full name; a primitive as an object; a union as its list."""
    if isinstance(schema, str):
        return names.get(schema, {"type": schema})
    if isinstance(schema, Mapping) and schema["type"] in _NAMED and "at" not in schema:
        return next(one for one in names.values() if one["at"] is schema)
    return schema


def _names(schema: Tree) -> dict[str, Tree]:
    """Every named type in it by its full name, which stands in ``name`` too; ``at`` is where it is defined."""
    found: dict[str, Tree] = {}

    def walk(part: Any, namespace: str) -> None:
        if isinstance(part, list):
            for branch in part:
                walk(branch, namespace)
        elif isinstance(part, Mapping):
            if part["type"] in _NAMED:
                namespace = part.get("namespace", namespace)
                name = part["name"] if "." in part["name"] or not namespace else f"{namespace}.{part['name']}"
                found[name] = found[part["name"]] = {**part, "name": name, "at": part}
            for inner in (part.get("items"), part.get("values"), *(f["type"] for f in part.get("fields", ()))):
                walk(inner, namespace)

    walk(schema, "")
    return found


def _said(schema: Any) -> str:
    if isinstance(schema, str):
        return schema
    return str(schema.get("logicalType") or schema.get("name") or schema["type"])
