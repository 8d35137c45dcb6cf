"""
How networks and ports are written where they open the guard: ``10.0.0.0/8``, ``8080``, ``9000-9100``. Pure.

Settings and sites check what is written with this, net/guard.py goes by it.
"""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_interface, ip_network

Network = IPv4Network | IPv6Network

NETWORK_FORMS = "write an address like 10.1.2.3 or a network like 10.0.0.0/8 or fd00::/8"
PORT_FORMS = "write a port like 8080 or a range like 9000-9100, from 1 to 65535"
MAX_PORT = 65_535
_NETWORK = re.compile(r"[0-9A-Fa-f.:]{2,45}(?:/[0-9]{1,3})?")  # neither netmasks nor zone ids
_PORTS = re.compile(r"([1-9][0-9]{0,4})(?:\s*-\s*([1-9][0-9]{0,4}))?")
_SHOWN_CHARACTERS = 60


@lru_cache(maxsize=4096)
def parse_network(text: str) -> Network:
    """
    A network in CIDR notation (RFC 4632), or one address.

    Raises:
        ValueError: neither, or an address inside a network where the network's own was meant.
    """
    text = text.strip()
    try:
        if not _NETWORK.fullmatch(text):
            raise ValueError
        network = ip_network(text, strict=False)
    except ValueError:
        raise ValueError(f"{_shown(text)} is not a network ({NETWORK_FORMS})") from None
    if ip_interface(text).ip != network.network_address:
        raise ValueError(f"{_shown(text)} is an address inside a network (did you mean {network}?)")
    return network


@lru_cache(maxsize=4096)
def parse_ports(text: str) -> range:
    """
    A port, or the first and the last of a range.

    Raises:
        ValueError: neither, out of range, or a range that ends before it begins.
    """
    match = _PORTS.fullmatch(text.strip())
    first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if match is None or max(first, last) > MAX_PORT:
        raise ValueError(f"{_shown(text)} is not a port ({PORT_FORMS})")
    if first > last:
        raise ValueError(f"{_shown(text)} ends before it begins (did you mean {last}-{first}?)")
    return range(first, last + 1)


def network_text(text: str) -> str:
    """The network in its shortest form; an address becomes a network of one. Raises as `parse_network` does."""
    return str(parse_network(text))


def ports_text(text: str) -> str:
    """The port or range without spaces. Raises as `parse_ports` does."""
    ports = parse_ports(text)
    return str(ports[0]) if "-" not in text else f"{ports[0]}-{ports[-1]}"


def items(text: str) -> tuple[str, ...]:
    """The parts of a comma-separated list, without the blanks around them; empty ones are dropped."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _shown(text: str) -> str:
    return repr(text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 1] + "…")
