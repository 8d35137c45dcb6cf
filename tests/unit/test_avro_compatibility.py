"""Every version of the record that was ever published against every other; and what a new one may not do."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable
from io import BytesIO
from itertools import product
from pathlib import Path
from typing import Any

import msgspec
import pytest
from fastavro import parse_schema, schemaless_reader, schemaless_writer
from hypothesis import given

from tests.results import FULL, RESULTS, a_result
from wms_tasks.codec import avro_codec
from wms_tasks.codec.avro_schema import by_fingerprint, current, published
from wms_tasks.codec.compatibility import breaks, breaks_either_way
from wms_tasks.result import Result

SCHEMAS = Path(__file__).resolve().parents[2] / "wms_tasks" / "codec" / "schemas"
VERSIONS = {name: schema for name, schema in published().items() if schema.n == current().n}

# What is published stays as it is: the fingerprint, by which readers know it, and the file to the byte, since defaults,
# docs and logical types are no part of a fingerprint.
FINGERPRINTS = {"v1.0": "1197ac3580889ac6", "v1.1": "344ef02db4b56720"}
SHA256 = {
    "v1.0": "12fe22202814c656b03839552e89a48ab12ac0c9f9b4b1f2667c80112a262b2d",
    "v1.1": "7460992ca425032b7dac85fdd321cff446d47e61c0e97a0121859d4d2ad69234",
}

Change = Callable[[dict[str, Any]], Any]


def fields_by_name(tree: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Its fields."""
    return {field["name"]: field for field in tree["fields"]}


def changed(change: Change) -> dict[str, Any]:
    """The current schema after a change."""
    tree = copy.deepcopy(current().tree)
    change(tree)
    return tree


def test_what_is_published_is_not_changed() -> None:
    """A version's file is never edited; a new one gets the next number, and its two lines here (`sha256sum`)."""
    files = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in SCHEMAS.glob("metrics.v*.avsc")}
    assert files == {f"metrics.{name}.avsc": digest for name, digest in SHA256.items()}
    assert {name: schema.fingerprint[::-1].hex() for name, schema in VERSIONS.items()} == FINGERPRINTS
    assert len(by_fingerprint()) == len(published())


def test_what_is_written_is_the_newest_that_is_published() -> None:
    """metrics.avsc is the source; once it is changed, it is published under a new number, in the same commit."""
    newest = list(VERSIONS)[-1]
    assert current().text == VERSIONS[newest].text
    assert (SCHEMAS / f"metrics.{newest}.avsc").read_text(encoding="utf-8") == current().text


@pytest.mark.parametrize(("new", "old"), list(product(VERSIONS, VERSIONS)))
def test_every_version_reads_every_other(new: str, old: str) -> None:
    """By the rules of Avro, and ours."""
    assert breaks_either_way(VERSIONS[new].tree, VERSIONS[old].tree) == []


def resolved(datum: bytes, written_with: str, read_with: str) -> Any:
    """What a reader that only knows its own version makes of it: Avro's schema resolution, by fastavro."""
    writer, reader = VERSIONS[written_with].parsed, VERSIONS[read_with].parsed
    return schemaless_reader(BytesIO(datum), writer, reader)


@given(result=RESULTS)
def test_every_old_message_is_read_by_the_new_schema_and_every_new_by_the_old(result: Result) -> None:
    """Fields that both know are equal to the bit; those that the writer lacks have their defaults."""
    fields = msgspec.structs.asdict(avro_codec.decode(avro_codec.encode(result), 0, current()))
    everything = msgspec.to_builtins(result, builtin_types=(type(result.due_at), type(result.site_id)))
    for written_with, read_with in product(VERSIONS, VERSIONS):
        datum = BytesIO()
        schemaless_writer(datum, VERSIONS[written_with].parsed, everything)
        found = msgspec.convert(resolved(datum.getvalue(), written_with, read_with), Result)
        known = set(fields_by_name(VERSIONS[written_with].tree)) & set(fields_by_name(VERSIONS[read_with].tree))
        expected = Result(**{name: value for name, value in fields.items() if name in known})
        assert found == expected, (written_with, read_with)


@given(result=RESULTS)
def test_our_reader_loses_nothing_of_an_older_writer(result: Result) -> None:
    """It reads with the writer's schema."""
    everything = msgspec.to_builtins(result, builtin_types=(type(result.due_at), type(result.site_id)))
    for schema in VERSIONS.values():
        datum = BytesIO()
        schemaless_writer(datum, schema.parsed, everything)
        kept = {
            name: value for name, value in msgspec.structs.asdict(result).items() if name in fields_by_name(schema.tree)
        }
        assert avro_codec.decode(datum.getvalue(), 0, schema) == Result(**kept)


def _retype(name: str, type_: Any) -> Change:
    return lambda tree: fields_by_name(tree)[name].update(type=type_)


def _drop(name: str) -> Change:
    return lambda tree: tree["fields"].remove(fields_by_name(tree)[name])


def _add(**field: Any) -> Change:
    return lambda tree: tree["fields"].append(field)


def _inner(name: str, change: Change) -> Change:
    return lambda tree: change(fields_by_name(tree)[name]["type"][1])


_MICROS = {"type": "long", "logicalType": "timestamp-micros"}
BREAKING: dict[str, tuple[Change, str]] = {
    "a field goes": (_drop("worker"), "worker is not written"),
    "a field comes without a default": (_add(name="region", type="string"), "region is not written"),
    "a field is renamed": (lambda tree: fields_by_name(tree)["worker"].update(name="prober"), "worker is not written"),
    "a number is narrower": (_retype("response_time_ms", ["null", "float"]), "response_time_ms"),
    "a number is wider, which old readers cannot read": (_retype("attempt", "long"), "attempt"),
    "a text becomes a number": (_retype("spec_digest", "long"), "spec_digest"),
    "a text becomes bytes": (_retype("detail", ["null", "bytes"]), "detail"),
    "what was there may be null": (_retype("worker", ["null", "string"]), "worker is null"),
    "what may be null may not": (_retype("status_code", "int"), "status_code"),
    "an instant is counted in milliseconds": (
        _retype("scheduled_at", {"type": "long", "logicalType": "timestamp-millis"}),
        "scheduled_at",
    ),
    "an instant is a bare number": (_retype("due_at", "long"), "due_at"),
    "an enum loses its default": (
        lambda tree: (
            fields_by_name(tree)["outcome"]["type"].pop("default")
            and fields_by_name(tree)["outcome"]["type"]["symbols"].remove("skipped")
        ),
        "skipped",
    ),
    "an enum is renamed": (lambda tree: fields_by_name(tree)["outcome"]["type"].update(name="Ending"), "outcome"),
    "the record is renamed": (lambda tree: tree.update(name="Metric"), "Metric"),
    "another namespace": (lambda tree: tree.update(namespace="wms.metrics.v2"), "v2"),
    "a field of a part goes": (_inner("certificate", lambda part: part["fields"].pop(0)), "certificate"),
    "a part's field comes without a default": (
        _inner("certificate", lambda part: part["fields"].append({"name": "serial", "type": "string"})),
        "certificate",
    ),
    "a list of texts becomes one of numbers": (
        _inner("certificate", lambda part: part["fields"][2]["type"].update(items="long")),
        "certificate",
    ),
    "a map's values are numbers": (
        _inner("evidence", lambda part: part["fields"][0]["type"].update(values="long")),
        "evidence",
    ),
}
ALLOWED: dict[str, Change] = {
    "a field comes with a default": _add(name="region", type=["null", "string"], default=None),
    "another doc": lambda tree: tree.update(doc="Other words."),
    "an outcome more, since the enum has a default": lambda tree: fields_by_name(tree)["outcome"]["type"][
        "symbols"
    ].append("degraded"),
    "a field with a default goes": _drop("address"),
    "the fields in another order": lambda tree: tree["fields"].reverse(),
}


@pytest.mark.parametrize("name", BREAKING)
def test_a_change_that_breaks_a_reader_is_refused(name: str) -> None:
    """Old or new, and it says which field."""
    change, says = BREAKING[name]
    found = breaks_either_way(changed(change), current().tree)
    assert any(says in one for one in found), found


@pytest.mark.parametrize("name", ALLOWED)
def test_what_breaks_nobody_is_a_new_minor_version(name: str) -> None:
    """Both ways."""
    assert breaks_either_way(changed(ALLOWED[name]), current().tree) == []


@pytest.mark.parametrize("name", [*BREAKING, *ALLOWED])
def test_the_rules_agree_with_avro_itself(name: str) -> None:
    """What we call readable is read by fastavro, whichever of the two wrote it; we are stricter, never laxer."""
    change = BREAKING[name][0] if name in BREAKING else ALLOWED[name]
    new, old = changed(change), current().tree
    fields = msgspec.to_builtins(a_result(**FULL), builtin_types=(type(FULL["certificate"].expires_at),))
    more = fields | {"region": "x", "certificate": fields["certificate"] | {"serial": "1"}}
    for reader, writer in ((new, old), (old, new)):
        if breaks(reader=reader, writer=writer):
            continue
        datum = BytesIO()
        schemaless_writer(datum, parse_schema(json.loads(json.dumps(writer))), more)
        schemaless_reader(BytesIO(datum.getvalue()), parse_schema(writer), parse_schema(reader))
