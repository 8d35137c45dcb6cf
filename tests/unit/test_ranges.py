"""How networks and ports are written where they open the guard."""

from __future__ import annotations

import pytest

from wms_tasks.errors import SettingsError
from wms_tasks.ranges import items, parse_network, parse_ports
from wms_tasks.settings import load_settings


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("10.1.2.3", "10.1.2.3/32"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("fd00::/8", "fd00::/8"),
        ("::1", "::1/128"),
        ("FD00:0:0:0::/64", "fd00::/64"),
        ("::ffff:0:0/96", "::ffff:0:0/96"),
    ],
)
def test_networks(text: str, meant: str) -> None:
    """CIDR, or an address alone."""
    assert str(parse_network(text)) == meant


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("10.0.0.1/8", "did you mean 10.0.0.0/8"),
        ("fd00::1/64", "did you mean fd00::/64"),
        ("10.0.0.0/33", "not a network"),
        ("10.0.0.0/255.0.0.0", "not a network"),
        ("10.0.0", "not a network"),
        ("167772160", "not a network"),
        ("localhost", "not a network"),
        ("fe80::1%eth0", "not a network"),
        ("10.0.0.0/-1", "not a network"),
        ("10.0.0.0 /8", "not a network"),
        ("10.0.0.0/8/8", "not a network"),
        ("", "not a network"),
        ("1" * 10_000, "not a network"),
    ],
)
def test_no_networks(text: str, words: str) -> None:
    """One line with what to write."""
    with pytest.raises(ValueError, match=words) as caught:
        parse_network(text)
    assert len(str(caught.value)) < 160


def test_ports() -> None:
    """One, or from and to."""
    assert (parse_ports("8080"), parse_ports("9000-9100"), parse_ports("1-65535")) == (
        range(8080, 8081),
        range(9000, 9101),
        range(1, 65536),
    )


@pytest.mark.parametrize("text", ["0", "65536", "9100-9000", "-1", "80-", "80,81", "http", "", "99999-99999", "٨٠"])
def test_no_ports(text: str) -> None:
    """With what to write."""
    with pytest.raises(ValueError, match=r"not a port|ends before it begins"):
        parse_ports(text)


def test_a_list() -> None:
    """Blanks and empty parts do not matter."""
    assert items(" 10.0.0.0/8, fd00::/8,,") == ("10.0.0.0/8", "fd00::/8")
    assert items("") == ()


def test_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Checked when they are read; a mistake is one line."""
    monkeypatch.setenv("WMS_ALLOW_NETWORKS", "10.0.0.0/8, ::1")
    monkeypatch.setenv("WMS_ALLOW_PORTS", "9200, 6000 - 6010")
    settings = load_settings()
    assert (settings.allow_networks, settings.allow_ports) == ("10.0.0.0/8,::1/128", "9200,6000-6010")
    monkeypatch.setenv("WMS_ALLOW_NETWORKS", "10.0.0.1/8")
    monkeypatch.setenv("WMS_ALLOW_PORTS", "http")
    with pytest.raises(SettingsError) as caught:
        load_settings()
    networks, ports = str(caught.value).splitlines()
    assert networks == "WMS_ALLOW_NETWORKS: '10.0.0.1/8' is an address inside a network (did you mean 10.0.0.0/8?)"
    assert ports.startswith("WMS_ALLOW_PORTS: 'http' is not a port")
