"""The guard's verdicts, and that nothing gets around them: not the way a host is written, a redirect or a resolver."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.guards import ON_LOOPBACK
from tests.servers import LocalServer, answer, redirect
from wms_tasks.net.fetch import Answer, Fetcher
from wms_tasks.net.guard import Blocked, Guard
from wms_tasks.net.redact import MAX_DETAIL_CHARACTERS
from wms_tasks.net.redirect import Request
from wms_tasks.net.resolve import Address, Resolver
from wms_tasks.net.special import METADATA_SERVICES, SPECIAL_NETWORKS
from wms_tasks.result import Reason

METADATA = IPv4Address("169.254.169.254")
EVERYTHING = Guard(("0.0.0.0/0", "::/0"), ("1-65535",))

REFUSED = {
    "0.0.0.0": "this host",
    "0.1.2.3": "this host",
    "10.1.2.3": "private",
    "100.64.0.1": "carrier-grade",
    "100.100.100.200": "metadata",
    "127.0.0.1": "loopback",
    "127.255.255.254": "loopback",
    "168.63.129.16": "metadata",
    "169.254.1.1": "link-local",
    "169.254.169.254": "metadata",
    "172.16.0.1": "private",
    "172.31.255.255": "private",
    "192.0.0.8": "reserved",
    "192.0.2.1": "documentation",
    "192.88.99.1": "6to4",
    "192.168.1.1": "private",
    "198.18.0.1": "benchmarks",
    "198.19.255.255": "benchmarks",
    "198.51.100.1": "documentation",
    "203.0.113.1": "documentation",
    "224.0.0.1": "multicast",
    "239.255.255.255": "multicast",
    "240.0.0.1": "reserved",
    "255.255.255.255": "broadcast",
    "::": "this host",
    "::1": "loopback",
    "::1%lo": "loopback",
    "::7f00:1": "leads to 127.0.0.1",
    "::8.8.8.8": "IPv4-compatible",
    "::ffff:10.0.0.1": "leads to 10.0.0.1",
    "::ffff:8.8.8.8": "IPv4-mapped",
    "::ffff:0:169.254.169.254": "leads to 169.254.169.254",
    "64:ff9b::a9fe:a9fe": "leads to 169.254.169.254",
    "64:ff9b::808:808": "NAT64",
    "64:ff9b:1::10.0.0.1": "leads to 10.0.0.1",
    "64:ff9b:1:2::808:808": "NAT64",
    "100::1": "discarded",
    "2001::1": "leads to",  # Teredo
    "2001:0:4136:e378:8000:63bf:3fff:fdd2": "leads to 192.0.2.45",
    "2001:2::1": "benchmarks",
    "2001:10::1": "reserved",
    "2001:20::1": "reserved",
    "2001:db8::1": "documentation",
    "2002:a9fe:a9fe::1": "leads to 169.254.169.254",
    "2002:808:808::1": "6to4",
    "3fff::1": "documentation",
    "4000::1": "reserved",
    "5f00::1": "segment routing",
    "fc00::1": "private",
    "fd00:ec2::254": "metadata",
    "fd12:3456::1": "private",
    "fe80::1%eth0": "link-local",
    "fe80::a9fe:a9fe": "metadata",
    "fec0::1": "site-local",
    "ff02::1": "multicast",
    "localhost": "no address",
    "": "no address",
    "127.1": "no address",
}

PUBLIC = (
    *("1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255"),
    *("169.253.255.255", "172.15.255.255", "172.32.0.0", "192.0.1.0", "192.167.255.255", "198.17.255.255"),
    *("198.20.0.0", "223.255.255.255", "2001:200::1", "2001:4860:4860::8888", "2606:4700::1111", "2a00:1450::1"),
)


@pytest.mark.parametrize("address", REFUSED)
def test_what_nobody_may_reach(address: str) -> None:
    """Every special range, with what it is."""
    refusal = Guard().refusal(address, 443)
    assert refusal is not None
    assert REFUSED[address] in refusal


@pytest.mark.parametrize("address", PUBLIC)
def test_the_public_internet_is_open(address: str) -> None:
    """Up to the very borders of what is refused."""
    assert Guard().refusal(address, 443) is None


def addresses() -> st.SearchStrategy[IPv4Address | IPv6Address]:
    """Any, special ones often: within a range or at its borders."""

    def near(number: int, offset: int, version: int) -> IPv4Address | IPv6Address:
        kind = IPv4Address if version == 4 else IPv6Address
        return kind((number + offset) % 2 ** kind(0).max_prefixlen)

    borders = [
        near(int(edge), offset, network.version)
        for network, _ in SPECIAL_NETWORKS
        for edge in (network.network_address, network.broadcast_address)
        for offset in (-1, 0, 1)
    ]
    within = st.sampled_from([network for network, _ in SPECIAL_NETWORKS]).flatmap(
        lambda network: st.ip_addresses(network=network)
    )
    return st.one_of(st.ip_addresses(), st.sampled_from(borders), within)


def wrapped(inside: IPv4Address) -> list[IPv6Address]:
    """The IPv6 addresses that lead to an IPv4 one."""
    low, top = int(inside), 2**32 - 1
    ending = ("::", "::ffff:0:0", "::ffff:0:0:0", "64:ff9b::", "64:ff9b:1::", "64:ff9b:1:abcd::")
    found = [IPv6Address(int(IPv6Address(form)) | low) for form in ending if low > 1 or form != "::"]
    six_to_four = int(IPv6Address("2002::")) | low << 80 | 1
    teredo = int(IPv6Address("2001::")) | int(IPv4Address("65.54.227.120")) << 64 | (low ^ top)
    server = int(IPv6Address("2001::")) | low << 64 | (int(IPv4Address("8.8.8.8")) ^ top)
    return [*found, IPv6Address(six_to_four), IPv6Address(teredo), IPv6Address(server)]


@given(address=addresses(), port=st.integers(0, 65_535))
def test_what_is_not_global_is_refused(address: IPv4Address | IPv6Address, port: int) -> None:
    """All that the standard library knows of, at least."""
    if not address.is_global or address.is_multicast or address.is_reserved:
        assert Guard().refusal(str(address), port) is not None


@given(address=addresses())
def test_a_refusal_tells_what_to_do(address: IPv4Address | IPv6Address) -> None:
    """One line that fits, names the address and the setting, and is right: that setting opens it, and only it."""
    refusal = Guard().refusal(str(address), 443)
    if refusal is None:
        return
    assert len(refusal) <= MAX_DETAIL_CHARACTERS
    assert str(address) in refusal
    assert "WMS_ALLOW_NETWORKS" in refusal
    assert "allow_networks:" in refusal
    inside = tuple(str(ip) for ip in wrapped_in(address))
    assert Guard((str(address), *inside)).refusal(str(address), 443) is None


def wrapped_in(address: IPv4Address | IPv6Address) -> list[IPv4Address]:
    """The inverse of `wrapped`, by trying: what the guard says it leads to, until it says nothing."""
    found: list[IPv4Address] = []
    while True:
        refusal = Guard((str(address), *map(str, found))).refusal(str(address), 443)
        if refusal is None or " leads to " not in refusal:
            return found
        found.append(IPv4Address(refusal.partition(" leads to ")[2].partition(",")[0]))


@given(inside=st.ip_addresses(v=4))
def test_a_form_around_an_address_opens_nothing(inside: IPv4Address) -> None:
    """Every IPv4-in-IPv6 form is refused; opened, it still is refused where what is inside is."""
    assume(int(inside) > 1)
    for outside in wrapped(inside):
        assert Guard().refusal(str(outside), 443) is not None
        opened = Guard(("::/0",)).refusal(str(outside), 443)
        assert (opened is None) is (Guard().refusal(str(inside), 443) is None), outside


@given(address=addresses(), networks=st.lists(st.ip_addresses(), max_size=3))
def test_opening_more_refuses_no_more(
    address: IPv4Address | IPv6Address, networks: list[IPv4Address | IPv6Address]
) -> None:
    """And opens nothing that is not named."""
    opened = Guard(tuple(map(str, networks)))
    if Guard().refusal(str(address), 443) is None:
        assert opened.refusal(str(address), 443) is None
    elif address not in networks:
        assert opened.refusal(str(address), 443) is not None


@given(address=addresses())
def test_everything_can_be_opened_but_metadata(address: IPv4Address | IPv6Address) -> None:
    """Which only its own address opens: 100.64.0.0/10 and fd00::/8 are opened for other reasons."""
    refusal = EVERYTHING.refusal(str(address), 443)
    assert refusal is None or "metadata service" in refusal


@pytest.mark.parametrize("service", METADATA_SERVICES)
def test_a_metadata_service(service: IPv4Address | IPv6Address) -> None:
    """By its own address alone; the refusal says so."""
    wider = ip_network((service, service.max_prefixlen - 1), strict=False)
    for networks in ((), (str(wider),), EVERYTHING.networks):
        assert "no wider network" in (Guard(networks).refusal(str(service), 80) or "")
    assert Guard((str(service),)).refusal(str(service), 80) is None


@pytest.mark.parametrize(
    ("port", "what"),
    [
        *((0, "browsers"), (22, "browsers"), (25, "browsers"), (6000, "browsers"), (6379, "Redis")),
        *((9092, "Kafka"), (9200, "Elasticsearch"), (27017, "MongoDB"), (2375, "Docker"), (11211, "memcached")),
    ],
)
def test_ports_that_are_not_for_probes(port: int, what: str) -> None:
    """Refused on every address; opened by port or range, and never by opening the network."""
    refusal = Guard(("10.0.0.0/8",)).refusal("10.0.0.1", port)
    assert refusal is not None
    assert all(words in refusal for words in ("10.0.0.1", f"port {port} is", what, "WMS_ALLOW_PORTS", "allow_ports:"))
    assert Guard().refusal("8.8.8.8", port) is not None
    if port:
        assert Guard(ports=(str(port),)).refusal("8.8.8.8", port) is None
        assert Guard(ports=(f"{port - 1 or 1}-{port + 1}",)).refusal("8.8.8.8", port) is None
    assert Guard(ports=("1234",)).refusal("8.8.8.8", port) is not None


@pytest.mark.parametrize("port", [80, 443, 1024, 3000, 8000, 8080, 8443, 9000, 32_768, 49_152, 60_999, 65_535])
def test_ports_of_web_servers(port: int) -> None:
    """Open, the usual ones and those that systems give out."""
    assert Guard().refusal("8.8.8.8", port) is None


def test_a_guard_that_is_written_wrong() -> None:
    """Is none."""
    with pytest.raises(ValueError, match="inside a network"):
        Guard(("10.0.0.1/8",))
    with pytest.raises(ValueError, match="not a port"):
        Guard(ports=("http",))


def test_some_of_a_names_addresses() -> None:
    """Those that may be connected to are left, in their order; where none is, the first one's refusal."""
    found = [Address(2, (host, 443)) for host in ("10.0.0.1", "8.8.8.8", "169.254.169.254", "1.1.1.1")]
    assert [address.sockaddr[0] for address in Guard().admit(found)] == ["8.8.8.8", "1.1.1.1"]
    with pytest.raises(Blocked, match=r"^10\.0\.0\.1 is private"):
        Guard().admit([found[0], found[2]])


@pytest.fixture
def server() -> Iterator[LocalServer]:
    """On loopback, where a guard that is closed lets nobody go."""
    with LocalServer({"/": answer(b"hello")}) as local:
        yield local


def get(url: str, guard: Guard | None = None, resolver: Resolver | None = None) -> Answer:
    """A GET; by default with the guard that `fetch` has by default."""
    given = {} if guard is None else {"guard": guard}
    return Fetcher(resolver=resolver).fetch(Request(method="GET", url=url), deadline_seconds=5, **given)


def blocked(got: Answer) -> str:
    """The detail of an answer that was blocked."""
    assert got.failure is not None
    assert (got.failure.reason, got.elapsed_ms) == (Reason.BLOCKED_ADDRESS, None), got.failure
    return got.failure.detail


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "localhost", "localhost.", "LOCALHOST", "2130706433", "017700000001", "0x7f000001"),
        *("0177.0.0.1", "0x7f.1", "127.1", "127.0.1", "0", "0.0.0.0", "127.0.0.1.", "①②⑦.⓪.⓪.①", "127。0。0。1"),
        *("[::1]", "[::]", "[0:0:0:0:0:0:0:1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]"),
        *("[64:ff9b::127.0.0.1]", "[2002:7f00:1::]", "[fe80::1%25lo]", "[::1%25lo]", "[::1%lo]", "[fec0::1]"),
        *("user@127.0.0.1", "example.org@127.0.0.1"),
    ],
)
def test_however_the_host_is_written(server: LocalServer, host: str) -> None:
    """Nobody gets through, whether it was asked for or redirected to."""
    url = f"http://{host}:{server.port}/"
    with LocalServer({"/": redirect(url)}, host="127.0.0.2") as first:
        answers = [get(url), get(first.url("/"), Guard(("127.0.0.2",)))]
    for got in answers:
        assert got.failure is not None
        # Some are no url, or no name that anybody has.
        assert got.failure.reason in {Reason.BLOCKED_ADDRESS, Reason.DNS, Reason.PROTOCOL}
        assert got.status_code is None or got.redirects == 0
    assert server.seen == []


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0177.0.0.1", "0x7f.1", "127.1"])
def test_addresses_in_disguise_are_known_for_what_they_are(server: LocalServer, host: str) -> None:
    """The same hosts reach the server once loopback is open: they were blocked, not merely wrong."""
    url = f"http://{host}:{server.port}/"
    assert "loopback" in blocked(get(url))
    assert get(url, ON_LOOPBACK).body == b"hello"


def test_a_dot_at_the_end_is_no_way_round(server: LocalServer) -> None:
    """Where the machine's resolver knows ``localhost.`` at all."""
    url = server.url("/", host="localhost.")
    assert "loopback" in blocked(get(url, resolver=resolving(["127.0.0.1"])))
    assert get(url, ON_LOOPBACK, resolving(["127.0.0.1"])).body == b"hello"


def resolving(*answers: list[str]) -> Resolver:
    """A resolver that gives these answers in turn, whatever it is asked."""
    left = list(answers)

    def lookup(*_: object) -> list[object]:
        return [(2 if ip_address(ip).version == 4 else 10, 1, 6, "", (ip, 0)) for ip in left.pop(0)]

    return Resolver(lookup)


def test_a_resolver_that_changes_its_mind(server: LocalServer) -> None:
    """DNS rebinding: each connection is made to the address that was judged; asking again is what never happens."""
    rebinding = resolving(["127.0.0.1"], ["127.0.0.2"], ["127.0.0.1"])
    guard = Guard(("127.0.0.1",))
    with LocalServer({"/": redirect(f"http://rebinding.example:{server.port}/")}, host="127.0.0.1") as first:
        assert get(server.url("/", host="rebinding.example"), guard, rebinding).body == b"hello"
        got = get(first.url("/"), guard, rebinding)
    assert blocked(got).startswith("127.0.0.2 is loopback")
    assert got.redirects == 1
    assert get(server.url("/", host="rebinding.example"), guard, rebinding).body == b"hello"
    assert len(server.seen) == 2


@contextmanager
def internal_alone() -> Iterator[LocalServer]:
    """At 127.0.0.2, on a port at which nobody listens at 127.0.0.1, nor begins to: another test's server once did."""
    for _ in range(10):
        with LocalServer({"/": answer(b"internal")}, host="127.0.0.2") as internal, socket.socket() as held:
            try:
                held.bind(("127.0.0.1", internal.port))
            except OSError:
                continue
            yield internal
            return
    raise AssertionError("no port is free at both addresses")


def test_only_the_open_addresses_of_a_name_are_tried(server: LocalServer) -> None:
    """The others might answer, and first."""
    both = ["127.0.0.2", "127.0.0.1"]
    with internal_alone() as internal:
        url = internal.url("/", host="both.example")
        got = get(url, Guard(("127.0.0.1",)), resolving(both))
        assert got.failure is not None
        assert got.failure.reason == Reason.CONNECT_REFUSED
        assert get(url, ON_LOOPBACK, resolving(both)).body == b"internal"
        assert len(internal.seen) == 1
    assert get(server.url("/", host="both.example"), Guard(("127.0.0.1",)), resolving(both)).body == b"hello"


@pytest.mark.parametrize(
    ("location", "words"),
    [
        ("http://169.254.169.254/latest/meta-data/?token=secret", "169.254.169.254 is a cloud's metadata service"),
        ("http://[fd00:ec2::254]/", "fd00:ec2::254 is a cloud's metadata service"),
        ("http://[::ffff:169.254.169.254]/", "leads to 169.254.169.254, which is a cloud's metadata service"),
        ("http://2852039166/", "169.254.169.254 is a cloud's metadata service"),
        ("http://10.0.0.1:6379/", "10.0.0.1 is private"),
        ("http://127.0.0.1:6379/", "127.0.0.1 port 6379 is Redis's"),
        ("//127.0.0.1:25/", "127.0.0.1 port 25 is one that browsers refuse too"),
    ],
)
def test_redirects_into_the_inside(location: str, words: str) -> None:
    """Every hop is judged, the last one like the first."""
    with LocalServer({"/": redirect("/again"), "/again": redirect(location)}) as local:
        got = get(local.url("/"), ON_LOOPBACK)
    detail = blocked(got)
    assert words in detail
    assert "WMS_ALLOW_" in detail
    assert "secret" not in detail
    assert (got.redirects, got.status_code) == (2, None)
