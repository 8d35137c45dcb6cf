"""Whatever is written rightly arrives; whatever is written wrongly is a SitesFileError and nothing else."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from wms_tasks.errors import SitesFileError
from wms_tasks.sites.durations import format_duration
from wms_tasks.sites.expect_spec import ExpectSpec, HeaderRuleSpec
from wms_tasks.sites.file import load_file
from wms_tasks.sites.record import site_id_for
from wms_tasks.sites.request_spec import AuthSpec, BasicSpec, TlsSpec
from wms_tasks.sites.sizes import format_size, parse_size_bytes
from wms_tasks.sites.spec import SiteSpec

SAMPLE = (Path(__file__).resolve().parents[2] / "sites.yaml").read_bytes()
WORDS = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x17F, exclude_categories=["C", "Z"]), min_size=1)

NETWORKS = st.one_of(
    st.tuples(st.ip_addresses(v=4), st.integers(0, 32)), st.tuples(st.ip_addresses(v=6), st.integers(0, 128))
).map(lambda network: str(ip_network(network, strict=False)))
PORTS = st.one_of(
    st.integers(1, 65_535).map(str),
    st.tuples(st.integers(1, 65_535), st.integers(1, 65_535)).map(lambda ends: f"{min(ends)}-{max(ends)}"),
)
MODELS: list[type[BaseModel]] = [SiteSpec, ExpectSpec, AuthSpec, BasicSpec, TlsSpec, HeaderRuleSpec]
KEYS = ["sites", "defaults", "hosts", *(field.alias or name for m in MODELS for name, field in m.model_fields.items())]
PATTERNS = st.lists(st.sampled_from(["error", "(?i)sold out"]), max_size=2, unique=True)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One file, written anew for each example."""
    return tmp_path_factory.mktemp("sites") / "sites.yaml"


@st.composite
def specs(draw: st.DrawFn) -> dict[str, Any]:
    """A site as it may be written, with times that fit."""
    interval_ms = draw(st.integers(1_000, 86_400_000))
    timeout_ms = draw(st.integers(100, min(30_000, interval_ms)))
    jitter_ms = draw(st.integers(0, interval_ms - timeout_ms))
    optional = {
        "id": WORDS,
        "enabled": st.booleans(),
        "method": st.sampled_from(["GET", "OPTIONS"]),
        "headers": st.dictionaries(st.sampled_from(["Accept", "X-A", "x-b"]), st.sampled_from(["", "a: b", "1.10"])),
        "retries": st.integers(0, 10),
        "robots": st.sampled_from(["respect", "ignore"]),
        "max_body": st.integers(1, 8 * 1024**2).map(format_size),
        "max_redirects": st.integers(1, 10),
        "ip": st.sampled_from(["any", "4", "6", "prefer_4", "prefer_6"]),
        "evidence": st.sampled_from(["none", "headers", "body"]),
        "compression": st.lists(st.sampled_from(["gzip", "br", "deflate"]), unique=True),
        "allow_networks": st.lists(NETWORKS, max_size=3, unique=True),
        "allow_ports": st.lists(PORTS, max_size=3, unique=True),
        "tags": st.lists(st.sampled_from(["eu", "no", "1.10", "a b"]), unique=True),
    }
    status = st.lists(
        st.one_of(st.integers(100, 599).map(str), st.integers(1, 5).map("{}xx".format)), min_size=1, unique=True
    )
    return {
        **draw(st.fixed_dictionaries({"name": WORDS}, optional=optional)),
        "url": draw(st.sampled_from(["https://a.example/", "http://[::1]:8080/x?y=z", "https://bücher.example/ü"])),
        "interval": format_duration(interval_ms),
        "timeout": format_duration(timeout_ms),
        "jitter": format_duration(jitter_ms),
        "expect": draw(
            st.fixed_dictionaries(
                {"status": status},
                optional={
                    "body_regexp": st.sampled_from(["ok", r"\d+: [a-z]"]),
                    "body_not_regexp": PATTERNS,
                    "http_version": st.lists(st.sampled_from(["1.0", "1.1"]), unique=True),
                    "tls": st.sampled_from(["required", "forbidden"]),
                    "json": st.lists(st.sampled_from(["a == 'b'", "length(@) > `1`"]), max_size=2, unique=True),
                    "headers": st.dictionaries(st.sampled_from(["Server", "X-A"]), st.sampled_from(["a", "^b"])),
                },
            )
        ),
    }


@given(specs(), st.booleans())
def test_what_is_written_arrives(path: Path, spec: dict[str, Any], flow: bool) -> None:
    """Any right site, in YAML's flow or block style, becomes a record with the same values."""
    text = yaml.safe_dump({"sites": [spec]}, default_flow_style=flow, allow_unicode=True)
    path.write_text(text, encoding="utf-8")

    found = load_file(path)

    (site,) = found.sites + found.disabled
    assert (site in found.sites) == spec.get("enabled", True)
    assert site.site_id == site_id_for(spec.get("id", spec["name"]))
    for key in ("name", "url", "method", "headers", "retries", "robots", "ip", "evidence", "max_redirects"):
        assert getattr(site, key) == spec.get(key, getattr(site, key))
    for key in ("compression", "allow_networks", "allow_ports"):
        assert list(getattr(site, key)) == spec.get(key, list(getattr(site, key)))
    assert format_size(site.max_body_bytes) == spec.get("max_body", "1MiB")
    for key in ("interval", "timeout", "jitter"):
        assert format_duration(round(getattr(site, f"{key}_seconds") * 1000)) == spec[key]
    assert list(site.tags) == spec.get("tags", [])
    assert list(site.expect.status) == spec["expect"]["status"]
    assert site.expect.body_regexp == spec["expect"].get("body_regexp")
    expect = spec["expect"]
    assert list(site.expect.body_not_regexps) == expect.get("body_not_regexp", [])
    assert list(site.expect.http_versions) == expect.get("http_version", [])
    assert list(site.expect.json) == expect.get("json", [])
    assert site.expect.tls == expect.get("tls")
    assert {rule.name: rule.regexp for rule in site.expect.headers} == {
        name.lower(): regexp for name, regexp in expect.get("headers", {}).items()
    }
    assert site.jitter_seconds + site.timeout_seconds <= site.interval_seconds + 1e-9


@given(st.integers(0, 2**36))
def test_a_size_is_read_as_it_is_written(size_bytes: int) -> None:
    """To the byte."""
    assert parse_size_bytes(format_size(size_bytes)) == size_bytes


def load_or_refuse(path: Path, data: bytes) -> None:
    """Loads `data`; a refusal must be printable lines that name the file."""
    path.write_bytes(data)
    problems: tuple[str, ...] = ()
    try:
        assert load_file(path)
    except SitesFileError as refused:
        problems = refused.problems
        if not problems:
            raise AssertionError("refused without a word") from refused
    for problem in problems:
        assert problem.startswith(f"{path}:")
        assert problem.isprintable()


@given(st.binary())
def test_any_bytes_are_loaded_or_refused(path: Path, data: bytes) -> None:
    """Fuzz: a picture, half a character, nothing."""
    load_or_refuse(path, data)


@given(st.integers(0, len(SAMPLE)), st.integers(0, 40), st.sampled_from([b"", *map(bytes, [[c] for c in range(256)])]))
def test_a_mangled_sample_is_loaded_or_refused(path: Path, at: int, cut: int, put: bytes) -> None:
    """Some bytes of a real file are lost or overwritten."""
    load_or_refuse(path, SAMPLE[:at] + put + SAMPLE[at + cut :])


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(KEYS) | st.text(),
                inner,
            )
        ),
        max_leaves=20,
    )
)
def test_any_yaml_is_loaded_or_refused(path: Path, value: object) -> None:
    """Our keys in any shape and place, with any value."""
    load_or_refuse(path, yaml.safe_dump(value, allow_unicode=True).encode("utf-8", "surrogatepass"))
