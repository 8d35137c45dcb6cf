"""docs/check.md against the code: its sample is what is shown, its tables have every option and every key of JSON."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

from rich.console import Console

from tests.checks import checked
from wms_tasks.commands.check.options import OPTIONS
from wms_tasks.commands.check.picture import as_text, picture
from wms_tasks.commands.check.report import as_json
from wms_tasks.commands.check.sources import Setting
from wms_tasks.sites.expect_spec import ExpectSpec
from wms_tasks.sites.request_spec import TlsSpec
from wms_tasks.sites.spec import DefaultsSpec

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "check.md").read_text(encoding="utf-8")


def keys_of(value: object) -> set[str]:
    """Of an object and those within it, but not of headers, which are no keys of ours."""
    if isinstance(value, list):
        return set().union(*map(keys_of, value))
    if not isinstance(value, dict):
        return set()
    inner = (keys_of(part) for name, part in value.items() if name != "headers")
    return set(value).union(*inner)


def test_the_sample_is_what_is_shown() -> None:
    """To the letter: put what this prints there after a change that is meant."""
    console = Console(file=io.StringIO(), width=80, highlight=False, color_system=None)
    shown = as_text(console, picture(checked()))
    (sample,) = re.findall(r"```text\n(.*?)\n```", PAGE, re.DOTALL)
    assert sample == shown, shown


def test_every_option_is_there() -> None:
    """With the key that it writes."""
    rows = dict(re.findall(r"^\| `(--[a-z-]+)[^`]*` \| `([a-z_.]+)", PAGE, re.MULTILINE))
    assert rows == {option.name: option.key for option in OPTIONS}


def test_every_option_is_a_key_of_the_file() -> None:
    """And nearly every key has one; what the schedule alone knows has none."""
    top = set(DefaultsSpec.model_fields) - {"headers", "tls", "expect", "auth"}
    tls = {f"tls.{name}" for name in TlsSpec.model_fields}
    expect = {f"expect.{field.alias or name}" for name, field in ExpectSpec.model_fields.items()}
    known = {*top, *tls, *expect, "headers", "auth.basic", "auth.bearer"}
    assert known - {option.key for option in OPTIONS} == {"interval", "jitter", "retries", "tags"}
    assert {option.key for option in OPTIONS} <= known


def test_every_key_of_the_json_is_there() -> None:
    """And none that is not."""
    table = PAGE.partition("## JSON")[2]
    named = {word for row in table.splitlines() if row.startswith("| `") for word in re.findall(r"`([a-z_]+)`", row)}
    values = {"up", "down", "skipped", "allowed", "forbidden", "unreachable", "ignored", "body_regexp"}
    report = json.loads(as_json(checked(), [Setting("url", "x", "site", "sites.yaml:1")]))
    assert keys_of(report) == named - values
