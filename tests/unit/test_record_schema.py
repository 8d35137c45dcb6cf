"""One source for the record, the Avro schema: the typed record, the JSON Schema and `wms schema` follow from it."""

from __future__ import annotations

import json
import types
import typing
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import jsonschema
import msgspec
import pytest
from click.testing import CliRunner
from hypothesis import given

from tests.certificates import AUTHORITY, CA, SOON, in_front
from tests.registry import registry
from tests.results import FULL, RESULTS, a_result
from wms_tasks.cli import wms
from wms_tasks.codec import json_codec
from wms_tasks.codec.avro_schema import current, published
from wms_tasks.codec.json_schema import json_schema
from wms_tasks.errors import UsageError, WmsError
from wms_tasks.result import Outcome, Result

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = json_schema(current().tree)
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER)
AVRO_OF = {
    int: {"int", "long"},
    float: {"double"},
    str: {"string"},
    bool: {"boolean"},
    UUID: {"uuid"},
    datetime: {"timestamp-micros"},
}


def _same_type(avro: Any, python: Any, where: str) -> None:
    if isinstance(avro, list):
        assert avro[0] == "null", where
        inner, null = typing.get_args(python)
        assert null is types.NoneType, where
        _same_type(avro[1], inner, where)
    elif isinstance(avro, dict) and avro["type"] == "record":
        _same_record(avro, python)
    elif isinstance(avro, dict) and avro["type"] == "array":
        assert typing.get_origin(python) is tuple, where
        _same_type(avro["items"], typing.get_args(python)[0], where)
    elif isinstance(avro, dict) and avro["type"] == "map":
        assert typing.get_origin(python) is dict, where
        _same_type(avro["values"], typing.get_args(python)[1], where)
    elif isinstance(avro, dict) and avro["type"] == "enum":
        assert (python, [*avro["symbols"]]) == (str, [*Outcome, avro["default"]]), where
    else:
        name = avro if isinstance(avro, str) else avro["logicalType"]
        assert name in AVRO_OF[python], where


def _same_record(record: dict[str, Any], python: Any) -> None:
    fields = msgspec.structs.fields(python)
    written = {field["name"]: field for field in record["fields"]}
    assert set(written) == {field.name for field in fields}
    for ours in fields:
        avro = written[ours.name]
        assert avro["doc"], avro["name"]
        assert avro.get("default", msgspec.NODEFAULT) == ours.default, avro["name"]
        _same_type(avro["type"], ours.type, avro["name"])


def test_the_typed_record_is_the_schemas() -> None:
    """The same fields, with the same types and defaults; their order is each format's own."""
    _same_record(current().tree, Result)


@given(result=RESULTS)
def test_every_message_in_json_holds_against_the_json_schema(result: Result) -> None:
    """Whatever may be written."""
    VALIDATOR.validate(json.loads(json_codec.encode(result)))


def _message(**changes: Any) -> dict[str, Any]:
    message: dict[str, Any] = json.loads(json_codec.encode(a_result(**FULL)))
    return {name: value for name, value in (message | changes).items() if value is not ...}


@pytest.mark.parametrize(
    "changes",
    [
        {"site_id": ...},
        {"site_id": "no-uuid"},
        {"attempt": "1"},
        {"attempt": 2**31},
        {"status_code": 200.5},
        {"scheduled_at": "2026-11-23T07:00:00"},
        {"scheduled_at": "2026-11-23T07:00:00+00:00"},
        {"phases": {"tls_ms": "1"}},
        {"certificate": {"subject": ""}},
        {"evidence": {"headers": ["x"]}},
    ],
)
def test_the_json_schema_refuses_what_is_no_message(changes: dict[str, Any]) -> None:
    """So its yes means something."""
    VALIDATOR.validate(_message())
    assert not VALIDATOR.is_valid(_message(**changes))


def test_the_json_schema_is_as_open_as_we_are() -> None:
    """A newer writer's fields, outcomes and reasons."""
    VALIDATOR.validate(_message(region="eu", outcome="degraded", reason="slow_dns"))


def test_the_json_schema_is_one() -> None:
    """By its own schema."""
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert json.loads((ROOT / "docs/reference/record.schema.json").read_text(encoding="utf-8")) == SCHEMA


def run(*arguments: str) -> Any:
    """`wms schema`."""
    return CliRunner().invoke(wms, ["schema", *arguments])


def test_show_prints_the_schemas() -> None:
    """This release's, an older one, the JSON Schema, the list."""
    assert json.loads(run("show").output) == current().tree
    assert json.loads(run("show", "--version", "v1.0").output) == published()["v1.0"].tree
    assert json.loads(run("show", "--json-schema").output) == SCHEMA
    assert [line.split()[0] for line in run("show", "--list").output.splitlines()] == ["version", *published()]
    refused = run("show", "--version", "v9.9").exception
    assert isinstance(refused, UsageError)
    assert "v1.0" in str(refused)


def test_register_and_check_ask_the_registry(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where one is set, over TLS in prod; registering twice changes nothing, and a breaking change there is exit 1."""
    monkeypatch.setenv("WMS_ENV", "prod")
    assert isinstance(run("register").exception, UsageError)
    assert run("check").output == "v1.0: both ways\nv1.1: both ways\n"
    (tmp_path / "ca.pem").write_text(CA)
    with registry(in_front(AUTHORITY.issue_cert("127.0.0.1", not_after=SOON))) as double:
        monkeypatch.setenv("WMS_SCHEMA_REGISTRY_URL", double.url.replace("//", "//wms:s3cr3t@"))
        monkeypatch.setenv("WMS_SCHEMA_REGISTRY_CA", str(tmp_path / "ca.pem"))
        subject = "prod.scraped-metrics.v1-value"
        _fresh_settings()
        assert f"{subject}: {double.url} has no version yet" in run("check").output
        assert run("register").output == run("register").output == f"{subject}: id 1 at {double.url}\n"
        assert double.subjects == {subject: [1]}
        assert f"{subject}: {double.url} would take it" in run("check").output
        double.put(json.dumps(current().tree).replace('"worker"', '"prober"'), subject)
        found = run("check")
        assert f"{subject}: {double.url} refuses it" in found.output
        assert isinstance(found.exception, WmsError)
        refused = run("register").exception
        assert "refuses it: Schema being registered is incompatible" in str(refused)
        double.broken = True
        assert "500: Error in the backend data store" in str(run("register").exception)


def _fresh_settings() -> None:
    from wms_tasks.settings import get_settings

    get_settings.cache_clear()
