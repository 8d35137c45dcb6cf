"""
Which addresses and ports a probe may connect to: the public internet, and what was opened. Pure.

Whoever writes a url, or answers with a redirect or an address, would otherwise choose what our workers can reach from
inside (SSRF). Asked by connection.py about the very address it connects to next, so neither the way a host is written
nor a name that resolves to something else the second time (DNS rebinding) gets around it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address

from wms_tasks.net.resolve import Address
from wms_tasks.net.special import ENDING_IN_IPV4, GLOBAL_UNICAST, METADATA_SERVICES, SPECIAL_NETWORKS, SPECIAL_PORTS
from wms_tasks.ranges import Network, parse_network, parse_ports

# About 300 bytes each. A worker that meets more addresses than this only gets slower, by some 20 microseconds each.
MAX_REMEMBERED_VERDICTS = 16_384


class Blocked(OSError):  # noqa: N818 - says what happened to the connection
    """Nothing was connected to, because the guard forbids it. The message is one line for the result's detail."""


@lru_cache(maxsize=1024)
def _networks(texts: tuple[str, ...]) -> tuple[Network, ...]:
    return tuple(map(parse_network, texts))


@lru_cache(maxsize=1024)
def _ports(texts: tuple[str, ...]) -> tuple[range, ...]:
    return tuple(map(parse_ports, texts))


@dataclass(frozen=True, slots=True)
class Guard:
    """
    ``networks`` and ``ports`` are what is open beside the public internet, as `wms_tasks.ranges` reads them;
    ``Guard()`` is closed. Cheap enough to be made for each probe.

    Raises:
        ValueError: one of them is not written right.
    """

    networks: tuple[str, ...] = ()
    ports: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _networks(self.networks)
        _ports(self.ports)

    def refusal(self, address: str, port: int) -> str | None:
        """
        Why nobody may connect to this numeric address and port, with what would open it; None: anybody may.

        A zone id (``fe80::1%eth0``) does not matter: it is the address that is judged.
        """
        refusal = _address_refusal(self.networks, address)
        if refusal is not None or port not in SPECIAL_PORTS:
            return refusal
        return None if any(port in ports for ports in _ports(self.ports)) else _port_refusal(address, port)

    def admit(self, addresses: Sequence[Address]) -> list[Address]:
        """
        Those of a name's addresses that may be connected to, in their order.

        Raises:
            Blocked: none may; why the first may not.
        """
        refusals = [self.refusal(address.sockaddr[0], address.sockaddr[1]) for address in addresses]
        allowed = [address for address, refusal in zip(addresses, refusals, strict=True) if refusal is None]
        if not allowed:
            raise Blocked(refusals[0] if refusals else "the name has no address")
        return allowed


CLOSED = Guard()


@lru_cache(maxsize=MAX_REMEMBERED_VERDICTS)
def _address_refusal(networks: tuple[str, ...], address: str) -> str | None:
    try:
        ip = ip_address(address.partition("%")[0])
    except ValueError:
        return f"{address!r} is no address"
    # What is inside first: it says more, and opening only the form around it would not do.
    for judged in (*_embedded(ip), ip):
        what = _special(judged)
        if what is not None and not _is_open(judged, _networks(networks)):
            found = f"{ip} is" if judged is ip else f"{ip} leads to {judged}, which is"
            return f"{found} {what}; WMS_ALLOW_NETWORKS, or allow_networks: of the site, would open it"
    return None


def _special(ip: IPv4Address | IPv6Address) -> str | None:
    """What it is; None for an ordinary public address."""
    if ip in METADATA_SERVICES:
        return "a cloud's metadata service, which no wider network opens"
    for network, what in SPECIAL_NETWORKS:
        if ip in network:
            return what
    return "reserved (RFC 4291)" if ip.version == 6 and ip not in GLOBAL_UNICAST else None


def _is_open(ip: IPv4Address | IPv6Address, networks: tuple[Network, ...]) -> bool:
    """
    A metadata service is opened by its own address only: some lie in ranges that people open for good reasons
    (100.64.0.0/10, fd00::/8).
    """
    alone = ip in METADATA_SERVICES
    return any(ip in network for network in networks if network.num_addresses == 1 or not alone)


def _embedded(ip: IPv4Address | IPv6Address) -> tuple[IPv4Address, ...]:
    """The IPv4 addresses at which packets to this IPv6 address may end."""
    if isinstance(ip, IPv4Address) or int(ip) <= 1:  # :: and ::1 are not meant by IPv4-compatible
        return ()
    if any(ip in network for network in ENDING_IN_IPV4):
        return (IPv4Address(int(ip) & 0xFFFF_FFFF),)
    if ip.sixtofour is not None:
        return (ip.sixtofour,)
    return ip.teredo[::-1] if ip.teredo is not None else ()


def _port_refusal(address: str, port: int) -> str:
    what = SPECIAL_PORTS[port]
    return f"{address} port {port} is {what}; WMS_ALLOW_PORTS, or allow_ports: of the site, would open it"
