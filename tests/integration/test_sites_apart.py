"""A large sites file is read in a process of its own: the same sites, the same problems, and nothing left behind."""

from __future__ import annotations

import io
import subprocess
from pathlib import Path

import pytest

from wms_tasks.errors import SitesFileError
from wms_tasks.schedule.entries import SiteEntry
from wms_tasks.schedule.sites_reader import SitesReader
from wms_tasks.sites import apart
from wms_tasks.sites.apart import read_sites
from wms_tasks.sites.file import load_sites

FULL = """
defaults: {interval: 45s, headers: {X-All: "1"}}
groups:
  shop: {interval: 5m, expect: {status: [200, 3xx], headers: {Server: nginx}}}
sites:
  - name: Wörd „quoted“
    url: https://a.example/?q=1#f
    tags: [one, two]
    expect: {status: 2xx, body_regexp: "a.*b", slow: 1.5s, certificate_days: 14, json: ["a.b == `1`"]}
  - {name: posted, url: "http://b.example/", method: POST, body: "${WMS_SECRET_B}", ip: "6", max_body: 64KiB}
  - {name: grouped, url: "http://c.example/", group: shop, jitter: 0s, robots: ignore, retries: 0}
  - name: secret
    url: https://d.example/
    auth: {basic: {username: u, password: "${WMS_SECRET_D}"}}
    tls: {verify: false, min_version: "1.2"}
    allow_networks: [10.0.0.0/8]
    allow_ports: ["8080"]
  - {name: off, url: "http://e.example/", enabled: false}
"""


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every file is a large one, and goes over in parts of two sites."""
    monkeypatch.setattr(apart, "LARGE_BYTES", 0)
    path = tmp_path / "sites.yaml"
    path.write_text(FULL, encoding="utf-8")
    return path


def test_the_same_sites_in_the_same_order(path: Path) -> None:
    """Whatever is written about them."""
    sites = list(read_sites(path))
    assert sites == list(load_sites(path))
    assert len(sites) == 4
    assert [site.digest() for site in sites] == [site.digest() for site in load_sites(path)]


def test_more_sites_than_one_part_holds(path: Path) -> None:
    """Each once."""
    lines = ["sites:", *(f"  - {{name: s{n}, url: 'http://s{n}.example/'}}" for n in range(1_201))]
    path.write_text("\n".join(lines))
    assert [site.name for site in read_sites(path)] == [f"s{n}" for n in range(1_201)]


def test_the_same_problems(path: Path) -> None:
    """With their lines; also of a file that is not there."""
    path.write_text("sites:\n  - {name: a, url: 'http://a.example/', intervall: 3s}\n  - {name: a}\n")
    with pytest.raises(SitesFileError) as here:
        load_sites(path)
    with pytest.raises(SitesFileError) as there:
        list(read_sites(path))
    assert there.value.problems == here.value.problems
    with pytest.raises(SitesFileError, match="no such file"):
        list(read_sites(path.with_name("other.yaml")))


def test_who_asks_no_more_leaves_no_process_behind(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is gone once the reader is, though it had more to say."""
    started: list[subprocess.Popen[bytes]] = []

    class Remembered(subprocess.Popen[bytes]):
        def __init__(self, *args: object, **kwargs: object) -> None:
            super().__init__(*args, **kwargs)  # type: ignore[call-overload]
            started.append(self)

    monkeypatch.setattr(subprocess, "Popen", Remembered)
    sites = read_sites(path)
    next(sites)
    sites.close()  # type: ignore[attr-defined]
    assert [process.poll() is not None for process in started] == [True]


@pytest.mark.parametrize("share", [0.0, 0.4, 0.99])
def test_a_process_that_ends_early_is_no_shorter_list(path: Path, share: float) -> None:
    """Killed, out of memory: what had come is not all, and that is said."""
    said = b"".join(len(encoded).to_bytes(4, "big") + encoded for encoded in map(apart._encode, apart._parts(path)))
    with pytest.raises(SitesFileError, match="ended before"):
        list(apart._sites_of(io.BytesIO(said[: int(len(said) * share)]), path))


def test_of_an_unchanged_site_the_entry_stays(path: Path) -> None:
    """The very object; of a changed one there is another."""
    reader = SitesReader(path, SiteEntry)
    first = {entry.name: entry for entry in reader.read_first()}
    path.write_text(FULL.replace("64KiB", "32KiB"), encoding="utf-8")
    second = {entry.name: entry for entry in reader.read_first()}
    assert first.keys() == second.keys()
    assert {name for name, entry in second.items() if entry is not first[name]} == {"posted"}
