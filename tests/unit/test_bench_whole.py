"""The whole system's figures: what is computed of what was read."""

from __future__ import annotations

import json
import urllib.request
from ipaddress import ip_address
from pathlib import Path

import pytest

from bench.delay_server import ROBOTS, delay_server
from bench.figure import PeerMissing
from bench.gatus import program
from bench.on_whole import SUBJECT, Used, round_of
from bench.whole import OURS, STORES, host_of, write_sites
from wms_tasks.sites.file import load_sites

EACH = dict.fromkeys((*OURS, *STORES), 2.0)


def used(per_second: float, cpu: dict[str, float]) -> Used:
    return Used(cpu=cpu, results=round(10 * per_second), seconds=10.0)


def ask(port: int, path: str, agent: str) -> bytes:
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers={"User-Agent": agent})
    with urllib.request.urlopen(request, timeout=10) as response:
        body: bytes = response.read()
    return body


def test_a_round_has_the_cost_of_each_and_the_ratio() -> None:
    """Ours are the three roles; the stores are shown, and in no ratio."""
    values = round_of(used(200, EACH), used(200, {"gatus": 4.0}))
    assert values["whole.cpu.kafka"] == pytest.approx(1.0)
    assert values["whole.cpu"] == pytest.approx(3.0)
    assert values["whole.gatus_cpu"] == pytest.approx(2.0)
    assert values["whole.cpu_ratio"] == pytest.approx(1.5)
    of_disks = {"whole.row_bytes", "whole.message_bytes"}
    assert set(values) == {figure.key for figure in SUBJECT.figures} - of_disks


@pytest.mark.parametrize(("ours", "theirs"), [(200, 190), (190, 200), (0, 200)])
def test_at_another_pace_there_is_no_figure(ours: float, theirs: float) -> None:
    """Whoever fell behind did less of its work in that time; nothing at all, perhaps."""
    values = round_of(used(ours, EACH), used(theirs, {"gatus": 4.0}))
    assert values == {"whole.pace": pytest.approx(min(ours, theirs))}


def test_every_site_has_a_host_of_its_own(tmp_path: Path) -> None:
    """Else spacing would hold them back; and the file is one that beat takes."""
    hosts = {host_of(number) for number in range(100_000)}
    assert len(hosts) == 100_000
    assert all(ip_address(host).is_loopback for host in hosts)
    write_sites(tmp_path / "sites.yaml", count=3, url="http://{host}:1/", interval_seconds=2.5)
    sites = load_sites(tmp_path / "sites.yaml")
    assert [site.url for site in sites] == [f"http://127.1.0.{number}:1/" for number in (1, 2, 3)]
    assert {(site.interval_seconds, site.robots) for site in sites} == {(2.5, "respect")}


def test_the_server_counts_each_clients_probes() -> None:
    """By the name in User-Agent, without robots.txt."""
    with delay_server() as port:
        for path, agent in (("/", "Wms/1 (+x)"), ("/1?ms=1", "wms/2"), ("/robots.txt", "wms/2"), ("/", "Gatus/1.0")):
            assert ask(port, path, agent) in (b"ok", ROBOTS)
        assert json.loads(ask(port, "/counted", "x")) == {"wms": 2, "gatus": 1}


def test_a_gatus_that_is_nowhere_is_a_missing_peer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Named, and where it would be looked for."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PeerMissing, match="gatus is not here"):
        program()
