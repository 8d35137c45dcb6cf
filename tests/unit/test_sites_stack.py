"""One site as a stack of what is written: the same site as the whole file makes, and the place of each setting."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from wms_tasks.errors import SitesFileError, UsageError
from wms_tasks.sites.file import load_file
from wms_tasks.sites.find import Found, find_site
from wms_tasks.sites.record import Site
from wms_tasks.sites.stack import Part, Stack, stacked
from wms_tasks.sites.yaml_reader import Block

TEXTS = st.dictionaries(st.sampled_from(["Accept", "accept", "X-A"]), st.sampled_from(["a", "b"]), max_size=1)
KEYS = {
    "method": st.sampled_from(["GET", "OPTIONS"]),
    "headers": TEXTS,
    "tls": st.fixed_dictionaries(
        {}, optional={"server_name": st.just("a.example"), "min_version": st.sampled_from(["1.2", "1.3"])}
    ),
    "follow_redirects": st.sampled_from(["true", "false"]),
    "retries": st.integers(0, 10).map(str),
    "ip": st.sampled_from(["any", "4"]),
    "tags": st.lists(st.sampled_from(["a", "b"]), unique=True),
    "timeout": st.sampled_from(["1s", "2s"]),
    "expect": st.fixed_dictionaries(
        {},
        optional={
            "status": st.lists(st.sampled_from(["2xx", "404"]), min_size=1, unique=True),
            "body_regexp": st.sampled_from(["a", "b"]),
            "headers": TEXTS,
        },
    ),
}
LAYERS = st.fixed_dictionaries({}, optional=KEYS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For one file, written anew for each example."""
    return tmp_path_factory.mktemp("sites")


def stack_of(found: Found, command: Block | None = None) -> Stack:
    """As ``wms check --site`` has it."""
    part = Part("command line", None, Block(0) if command is None else command)
    return Stack(part, found.own, found.group, found.defaults, found.host)


def block(values: dict[str, Any]) -> Block:
    """A command line's."""
    made = Block(0)
    for key, value in values.items():
        made[key] = block(value) if isinstance(value, dict) else value
    return made


def written(folder: Path, own: dict[str, Any], group: dict[str, Any], defaults: dict[str, Any]) -> Path:
    """A file with one site in a group."""
    path = folder / "sites.yaml"
    site = {"name": "a", "url": "https://a.example/", "group": "g", **own}
    path.write_text(
        yaml.safe_dump(
            {"sites": [site], "groups": {"g": group}, "defaults": defaults, "hosts": {"a.example": {"spacing": "2s"}}}
        ),
        encoding="utf-8",
    )
    return path


@given(LAYERS, LAYERS, LAYERS)
def test_a_stack_makes_what_the_file_makes(
    folder: Path, own: dict[str, Any], group: dict[str, Any], defaults: dict[str, Any]
) -> None:
    """One rule for both."""
    path = written(folder, own, group, defaults)
    (site,) = load_file(path).sites
    assert stacked(stack_of(find_site(path, "a"))) == site


@given(LAYERS, LAYERS, LAYERS)
def test_a_command_line_is_one_more_layer(
    folder: Path, command: dict[str, Any], own: dict[str, Any], below: dict[str, Any]
) -> None:
    """Over the site, as the site is over a group: the same as a site whose group and defaults are one step further."""
    over = stacked(stack_of(find_site(written(folder, own, below, {}), "a"), block(command)))
    path = written(folder, command, own, below)
    (site,) = load_file(path).sites
    assert _but_times(over) == _but_times(site)


def _but_times(site: Site) -> dict[str, Any]:
    """The command line's timeout leaves the jitter alone: nothing is scheduled."""
    fields = {name: getattr(site, name) for name in site.__struct_fields__}
    return {name: value for name, value in fields.items() if name not in {"jitter_seconds", "interval_seconds"}}


@pytest.mark.parametrize(
    "path", [Path(__file__).resolve().parents[2] / "sites.yaml", *sorted(Path(__file__).parent.glob("sites/*.yaml"))],
    ids=lambda path: path.stem,
)  # fmt: skip
def test_every_file_of_these_tests(path: Path) -> None:
    """Each site of each good file is found and made alike; a bad file is refused as a whole."""
    try:
        whole = load_file(path)
    except SitesFileError:
        with pytest.raises(SitesFileError):
            find_site(path, "any")
        return
    for site in (*whole.sites, *whole.disabled):
        found = find_site(path, site.name)
        assert stacked(stack_of(found)) == site == found.site
        assert found.enabled == (site in whole.sites)


FILE = """\
defaults:
  retries: 3
  headers: {Accept: text/html}
groups:
  shop:
    follow_redirects: true
    max_redirects: 2
    expect:
      slow: 2s
hosts:
  a.example:
    spacing: 250ms
x-base: &base {ip: "4"}
sites:
  - name: Shop
    id: shop-1
    <<: *base
    url: https://a.example/
    group: shop
    follow_redirects: true
    tls:
      min_version: "1.2"
    expect: {status: 404}
  - &old
    name: Old  shop
    url: https://b.example/
    enabled: false
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file with all kinds of layers."""
    path = tmp_path / "sites.yaml"
    path.write_text(FILE, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("key", "words", "line"),
    [
        ("url", "site", 18),
        ("ip", "site", 13),  # where the anchor is
        ("retries", "defaults", 2),
        ("headers.Accept", "defaults", 3),
        ("expect.slow", "group shop", 9),
        ("expect.status", "site", 23),
        ("tls.min_version", "site", 22),
        ("max_redirects", "group shop", 7),
        ("spacing", "hosts", 12),
        ("tls.verify", None, None),
        ("body", None, None),
    ],
)
def test_where_a_setting_is_written(file: Path, key: str, words: str | None, line: int | None) -> None:
    """The uppermost layer that says it; ``follow_redirects: true`` says no number."""
    path = tuple(key.split("."))
    part = stack_of(find_site(file, "Shop")).origin(path)
    assert (part.words if part else None) == words
    assert (part.where(path) if part else None) == (None if line is None else f"{file}:{line}")


def test_a_site_is_found_by_name_and_id(file: Path) -> None:
    """Blanks in a name count once; a site that is disabled is found."""
    assert find_site(file, "shop-1").site.name == "Shop"
    old = find_site(file, "Old shop")
    assert (old.enabled, old.group, old.host) == (False, None, None)


@pytest.mark.parametrize(
    ("wanted", "words"),
    [("Shpo", "there is no site 'Shpo' (did you mean 'Shop'?)"), ("zzz", "(there are 'Shop', 'Old shop')")],
)
def test_a_site_that_is_not_there(file: Path, wanted: str, words: str) -> None:
    """The nearest name, or some of those that are there."""
    with pytest.raises(UsageError) as raised:
        find_site(file, wanted)
    assert words in str(raised.value)


def test_a_folder(tmp_path: Path) -> None:
    """Defaults are the file's own; groups and hosts are found in any."""
    (tmp_path / "a.yaml").write_text("defaults: {retries: 5}\nsites: [{name: A, url: https://a.example/}]", "utf-8")
    (tmp_path / "b.yaml").write_text("defaults: {retries: 2}\nsites: [{name: B, url: https://b.example/, group: g}]")
    (tmp_path / "c.yaml").write_text("groups: {g: {ip: '6'}}\nhosts: {B.example: {spacing: 3s}}", "utf-8")
    found = find_site(tmp_path, "B")
    assert (found.site.retries, found.site.ip, found.site.spacing_seconds) == (2, "6", 3.0)
    stack = stack_of(found)
    assert stacked(stack) == found.site
    files = [Path((part.where(path) or "").rpartition(":")[0]).name for path in [("retries",), ("ip",), ("spacing",)]
             if (part := stack.origin(path))]  # fmt: skip
    assert files == ["b.yaml", "c.yaml", "c.yaml"]
