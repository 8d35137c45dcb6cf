"""What the probe worker's benchmark is made of, as far as it needs no service."""

from __future__ import annotations

import os
import urllib.request

import pytest

from bench import blackbox
from bench.cpu import cpu_seconds, paced
from bench.delay_server import delay_server
from bench.figure import PeerMissing
from bench.probing import sites


def test_the_sites_are_each_on_a_host_of_its_own() -> None:
    """Or spacing would hold them back, and the figure be the spacing's."""
    found = sites(4000, "http://HOST:80/page")
    assert len({site.url for site in found}) == len({site.site_id for site in found}) == 4000
    assert all(site.url.startswith("http://127.1.") and site.robots == "respect" for site in found)


def test_every_call_is_made_also_when_it_is_late() -> None:
    """A pace of 10,000 a second is kept by nobody; none is left out."""
    numbers: list[int] = []
    paced(10_000, 0.01, numbers.append)
    assert numbers == list(range(100))


def test_cpu_time_only_grows() -> None:
    """Ours, with our children's."""
    before = cpu_seconds(os.getpid())
    assert sum(range(3_000_000)) > 0
    assert cpu_seconds(os.getpid()) >= before > 0


def test_a_missing_peer_says_how_it_is_had(monkeypatch: pytest.MonkeyPatch) -> None:
    """By name."""
    monkeypatch.setenv("PATH", "")
    with pytest.raises(PeerMissing, match="prometheus-blackbox-exporter"):
        blackbox.program()


def test_the_target_has_a_page_and_a_robots_txt() -> None:
    """The rules forbid a folder, so that there is something to read."""
    with delay_server() as port:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/page", timeout=10) as answer:
            assert answer.read() == b"ok"
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/robots.txt", timeout=10) as answer:
            assert b"Disallow: /private/" in answer.read()
