"""The JSON Schema for editors: complete, correct, and of one mind with what reads the file."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from jsonschema import Draft202012Validator

from wms_tasks.commands.sites import sites
from wms_tasks.sites.file import examine, load_sites
from wms_tasks.sites.schema import MODELS, keys_of, sites_schema
from wms_tasks.sites.schema_words import DESCRIPTIONS, WORDS

ROOT = Path(__file__).resolve().parents[2]
GOOD_FILES = [ROOT / "sites.yaml", ROOT / "wms_tasks" / "embedded" / "sites.yaml"]
A_SITE = {"name": "a", "url": "https://a.example/"}
VALIDATOR = Draft202012Validator(sites_schema())


def problems(written: Any) -> list[str]:
    """What an editor would underline."""
    return [error.json_path for error in VALIDATOR.iter_errors(written)]


def test_it_is_a_schema_and_what_the_command_prints() -> None:
    """Of the draft it names."""
    Draft202012Validator.check_schema(sites_schema())
    assert json.loads(CliRunner().invoke(sites, ["schema"]).stdout) == sites_schema()


def test_every_key_is_described_and_no_other() -> None:
    """As soon as a model has a key, an editor must say what it is."""
    described = {name for place, model in MODELS.items() for _, name in keys_of(place, model)}
    assert described == set(DESCRIPTIONS)
    assert all(words.isprintable() and words.endswith(".") and "](" not in words for words in DESCRIPTIONS.values())


DEFAULTS = {key: words.default[1:-1] for key, words in WORDS.items() if re.fullmatch(r"`[^`:]+`", words.default or "")}
# A file without the key, and where it goes.
WRITTEN = {
    "site": ("sites: [{{name: a, url: 'https://a.example/'{}}}]", ", {}"),
    "tls": ("sites: [{{name: a, url: 'https://a.example/'{}}}]", ", tls: {{{}}}"),
    "expect": ("sites: [{{name: a, url: 'https://a.example/'{}}}]", ", expect: {{{}}}"),
    "expect.headers": (
        "sites: [{{name: a, url: 'https://a.example/', expect: {{headers: {{A: {{regexp: x{}}}}}}}}}]",
        ", {}",
    ),
    "host": ("sites: [{{name: a, url: 'https://a.example/'}}]{}", "\nhosts: {{a.example: {{{}}}}}"),
}
WRITTEN["defaults"] = WRITTEN["site"]


@pytest.mark.parametrize("key", DEFAULTS)
def test_what_is_said_to_be_the_default_is(tmp_path: Path, key: str) -> None:
    """Written out, it makes the same site."""
    place, _, name = key.rpartition(".")
    whole, part = WRITTEN[place]
    found = []
    for number, more in enumerate(("", part.format(f"{name}: {DEFAULTS[key]}"))):
        path = tmp_path / f"{number}.yaml"
        path.write_text(whole.format(more), encoding="utf-8")
        found.append(load_sites(path))

    assert len(found[0]) == 1
    assert found[0] == found[1]


@pytest.mark.parametrize("path", GOOD_FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_good_files(path: Path) -> None:
    """Ours."""
    assert problems(yaml.safe_load(path.read_text(encoding="utf-8"))) == []


EVERY_KEY = """
x-base: &base {anything: goes}
defaults: {robots: respect, tags: , expect: , headers: }
groups: {shop: {interval: 1m30s, method: HEAD}, empty: }
hosts: {shop.example: {spacing: 250ms}}
sites:
  - name: 1.10
    id: yes
    enabled: true
    url: https://shop.example/
    group: shop
    method: POST
    headers: {X-A: 1.10, X-Key: '${WMS_SECRET_KEY}'}
    body: '{"a": "${file:shop/token}"}'
    auth: {basic: {username: me, password: '${WMS_SECRET_PASSWORD}'}}
    tls: {ca: '${file:ca.pem}', certificate: '${file:me.pem}', key: '${file:me.key}', server_name: a.example,
          min_version: 1.2, max_version: "1.3"}
    compression: gzip
    max_redirects: 3
    ip: 4
    max_body: 64KiB
    evidence: body
    interval: 30s
    jitter: 0s
    timeout: 1.5s
    retries: 0
    robots: ignore
    tags: [a, 1]
    allow_networks: 10.0.0.0/8
    allow_ports: [8080, 9000-9100]
    expect:
      status: [2xx, 404]
      http_version: 1.1
      tls: required
      body_regexp: a
      body_not_regexp: [b, c]
      headers: {Content-Type: '^text', Server: {regexp: x, may_lack: true}}
      not_headers: {X-Old: .}
      json: "status == 'ok'"
      certificate_days: 14
      slow: 800ms
  - {name: b, url: 'https://b.example/', auth: {bearer: '${file:token}'}, follow_redirects: false,
     tls: {verify: true}, expect: {status: 301}}
"""


def test_every_key_as_it_may_be_written(tmp_path: Path) -> None:
    """A value alone or in a list, text that YAML takes for a number; our reader takes the same file."""
    path = tmp_path / "sites.yaml"
    path.write_text(EVERY_KEY, encoding="utf-8")
    found, told = examine(path)
    assert told == ()
    assert found is not None
    written = yaml.safe_load(EVERY_KEY)
    assert problems(written) == []
    keys = {key for site in written["sites"] for key in site}
    assert keys == {key for key, _ in keys_of("site", MODELS["site"])}


@pytest.mark.parametrize(
    ("site", "place"),
    [
        ({"intervall": "30s"}, "$.sites[0]"),
        ({"interval": 30}, "$.sites[0].interval"),
        ({"interval": "30"}, "$.sites[0].interval"),
        ({"interval": None}, "$.sites[0].interval"),
        ({"url": "shop.example"}, "$.sites[0].url"),
        ({"method": "get"}, "$.sites[0].method"),
        ({"robots": "no"}, "$.sites[0].robots"),
        ({"retries": 11}, "$.sites[0].retries"),
        ({"tags": "shop"}, "$.sites[0].tags"),
        ({"max_body": "1MB"}, "$.sites[0].max_body"),
        ({"auth": {"bearer": "hunter2"}}, "$.sites[0].auth.bearer"),
        ({"expect": {"tls": "yes"}}, "$.sites[0].expect.tls"),
        ({"expect": {"headers": {"A": {"regex": "x"}}}}, "$.sites[0].expect.headers.A"),
        ({"tls": {"min_version": "1.4"}}, "$.sites[0].tls.min_version"),
    ],
)
def test_mistakes_are_underlined(site: dict[str, Any], place: str) -> None:
    """Where they are."""
    assert place in problems({"sites": [A_SITE | site]})


def test_a_file_says_something() -> None:
    """No sites, groups or hosts; an unknown key at the top."""
    assert problems({"defaults": {"interval": "1m"}}) == ["$"]
    assert problems({"sites": [A_SITE], "site": []}) == ["$"]
    assert problems({"sites": [{"name": "a"}]}) == ["$.sites[0]"]
