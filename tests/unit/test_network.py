"""Is it us? The rule as a pure function, and when it is asked; the network itself is tests/integration's."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from tests.samples import own
from wms_tasks import metrics
from wms_tasks.canaries import Canary
from wms_tasks.polite.network import (
    KNOWN_HOSTS,
    NETWORK_REASONS,
    OFFLINE_SECONDS,
    ONLINE_SECONDS,
    Looked,
    Network,
    is_offline,
    neighbourhood,
)
from wms_tasks.result import Reason
from wms_tasks.sites.record import Site, site_id_for

RESOLVER = None

Checks = Callable[[], dict[tuple[str, ...], float]]


def site(host: str, *, allow_networks: tuple[str, ...] = ()) -> Site:
    """A site on that host."""
    return Site(site_id=site_id_for(host), name=host, url=f"https://{host}/", allow_networks=allow_networks)


class World:
    """What answers, by host; ``resolver`` for the resolver. Counts the looks, keeps the clock."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.online = True
        self.resolver = True
        self.looks: list[tuple[str, ...]] = []
        self.below: list[str | None] = []

    def answers(self, canaries: Sequence[Canary], *, below: str | None = None) -> list[bool]:
        """All or none."""
        self.looks.append(tuple(canary.host for canary in canaries))
        self.below.append(below)
        return [self.online] * len(canaries) + ([self.resolver] if below else [])

    def network(self, **options: object) -> Network:
        """A process's."""
        return Network(self, monotonic=lambda: self.now, **options)  # type: ignore[arg-type]


@pytest.fixture
def checks() -> Checks:
    """Looks since the test began, by what came of them."""
    name = "wms_probe_network_checks_total"
    before = Counter(own(metrics.NETWORK_CHECKS).by(name, "verdict"))
    return lambda: dict(Counter(own(metrics.NETWORK_CHECKS).by(name, "verdict")) - before)


@pytest.mark.parametrize(
    ("looked", "offline"),
    [
        ([], None),
        ([Looked(RESOLVER, answered=False)], None),
        ([Looked("a", answered=False)], None),
        ([Looked("a", answered=False), Looked(RESOLVER, answered=False)], None),
        ([Looked("a", answered=False), Looked("a", answered=False)], None),
        ([Looked("a", answered=False), Looked("b", answered=False)], True),
        ([Looked("a", answered=False), Looked("b", answered=False), Looked(RESOLVER, answered=False)], True),
        ([Looked("a", answered=False), Looked("b", answered=False), Looked(RESOLVER, answered=True)], False),
        ([Looked("a", answered=True), Looked("b", answered=False), Looked(RESOLVER, answered=False)], False),
    ],
)
def test_the_rule(looked: list[Looked], offline: bool | None) -> None:
    """All silent, on two hosts at least; the resolver alone never makes us offline, and its answer says we are not."""
    assert is_offline(looked) is offline


@given(st.lists(st.builds(Looked, st.none() | st.sampled_from("abcd"), st.booleans())))
def test_one_answer_is_enough(looked: list[Looked]) -> None:
    """Whoever answers: online. And one host alone never decides."""
    if any(one.answered for one in looked):
        assert is_offline(looked) is False
    elif len({one.host for one in looked} - {None}) < 2:
        assert is_offline(looked) is None


@pytest.mark.parametrize(
    ("host", "place"),
    [
        ("example.com", "example.com"),
        ("www.example.com", "example.com"),
        ("a.b.example.com", "example.com"),
        ("localhost", "localhost"),
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8::1", "2001:db8::1"),
    ],
)
def test_neighbourhood(host: str, place: str) -> None:
    """A name's last two labels; an address is its own."""
    assert neighbourhood(host) == place


def test_offline_is_found_said_once_and_over_once(checks: Checks) -> None:
    """Three hosts that were up are asked, and the resolver; a site that is up again ends it."""
    world = World()
    network = world.network()
    for host in ("a.example", "b.test", "c.test2", "d.invalid"):
        network.saw_up(site(host))
    world.now += 60
    world.online = world.resolver = False
    with capture_logs() as logs:
        for _ in range(5):
            why = network.excuse(site("x.org"), Reason.CONNECT_TIMEOUT)
            assert why == "our own network: none of 4 canaries answers"
        assert world.looks == [("b.test", "c.test2", "d.invalid")]
        assert world.below == ["b.test"]
        world.now += OFFLINE_SECONDS
        assert network.excuse(site("x.org"), Reason.DNS) is not None
        assert len(world.looks) == 2
        assert own(metrics.NETWORK_STATE).by("wms_probe_network_state", "state") == {("offline",): 1.0}
        world.now += 10
        network.saw_up(site("a.example"))
        network.saw_up(site("b.test"))
    assert [(entry["event"], entry["log_level"]) for entry in logs] == [
        ("network.offline", "error"),
        ("network.online", "warning"),
    ]
    assert logs[0]["silent"] == ["b.test", "c.test2", "d.invalid", "the resolver"]
    assert logs[1]["offline_seconds"] == 10 + OFFLINE_SECONDS
    assert checks() == {("offline",): 2}
    assert own(metrics.NETWORK_STATE).by("wms_probe_network_state", "state") == {("online",): 1.0}
    assert network.excuse(site("x.org"), Reason.DNS) is None


def test_a_single_dead_site_is_down(checks: Checks) -> None:
    """While others answer: first they are looked at, then that they were up just now is enough."""
    world = World()
    network = world.network()
    network.saw_up(site("a.example"))
    network.saw_up(site("b.test"))
    assert network.excuse(site("x.org"), Reason.CONNECT_TIMEOUT) is None
    assert world.looks == []
    world.now += ONLINE_SECONDS + 0.1
    assert network.excuse(site("x.org"), Reason.CONNECT_TIMEOUT) is None
    assert network.excuse(site("x.org"), Reason.CONNECT_TIMEOUT) is None
    assert len(world.looks) == 1
    world.now += ONLINE_SECONDS + 0.1
    world.online = False
    assert network.excuse(site("x.org"), Reason.CONNECT_TIMEOUT) is None  # the resolver answers
    world.now += ONLINE_SECONDS + 0.1
    world.resolver = False
    assert network.excuse(site("x.org"), Reason.CONNECT_TIMEOUT) is not None
    assert checks() == {("online",): 2, ("offline",): 1}


def test_a_providers_death_is_not_ours(checks: Checks) -> None:
    """Sites of one name, and the site's own neighbours, are one canary at most."""
    world = World()
    world.online = world.resolver = False
    network = world.network()
    for host in ("a.shop.example", "b.shop.example", "www.x.org"):
        network.saw_up(site(host))
    world.now += 60
    assert network.excuse(site("x.org"), Reason.CONNECT_TIMEOUT) is None
    assert world.looks == [()]
    assert checks() == {("unknown",): 1}
    network.saw_up(site("c.test"))
    world.now += 60
    assert network.excuse(site("x.org"), Reason.CONNECT_TIMEOUT) is not None
    # A canary of the look before that is now itself in question does not count against it.
    assert network.excuse(site("shop.example"), Reason.CONNECT_TIMEOUT) is not None
    assert world.looks[1:] == [("b.shop.example", "c.test"), ("www.x.org", "c.test")]


@pytest.mark.parametrize("reason", sorted(set(Reason) - NETWORK_REASONS))
def test_who_was_answered_is_not_offline(reason: Reason) -> None:
    """A certificate, a status, a body: somebody sent it."""
    world = World()
    world.online = False
    network = world.network(configured=[Canary("a", 1), Canary("b", 1)])
    assert network.excuse(site("x.org"), reason) is None
    assert world.looks == []


def test_a_site_with_ports_of_its_own_is_no_canary() -> None:
    """It is judged like others and shows that we are online; asked as a canary, the guard might refuse its port."""
    world = World()
    world.online = world.resolver = False
    network = world.network()
    for host in ("a.example", "b.test"):
        network.saw_up(msgspec.structs.replace(site(host), allow_ports=("9200",)))
    assert network.excuse(site("x.org"), Reason.TIMEOUT) is None
    world.now += 60
    assert network.excuse(site("x.org"), Reason.TIMEOUT) is None
    for host in ("c.example", "d.test"):
        network.saw_up(site(host))
    world.now += 60
    assert network.excuse(msgspec.structs.replace(site("x.org"), allow_ports=("9200",)), Reason.TIMEOUT) is not None
    assert world.looks[-1:] == [("c.example", "d.test")]


def test_internal_sites_opt_out() -> None:
    """They are judged as ever, and are no canaries: by their own allow_networks, or in a network open to all."""
    world = World()
    world.online = world.resolver = False
    network = world.network(internal=["10.0.0.0/8", "fd00::/8"], configured=[])
    for inside in (site("a.corp", allow_networks=("10.0.0.0/8",)), site("10.1.2.3")):
        network.saw_up(inside)
        assert network.excuse(inside, Reason.CONNECT_REFUSED) is None
    network.saw_up(site("b.corp"), "10.9.9.9")
    network.saw_up(site("c.corp"), "fd00::7")
    assert network.excuse(site("d.corp"), Reason.TIMEOUT, "10.9.9.9") is None
    assert world.looks == []
    network.saw_up(site("e.example"), "198.51.100.7")
    network.saw_up(site("f.test"))
    world.now += 60
    assert network.excuse(site("x.org"), Reason.TIMEOUT) is not None
    assert world.looks == [("e.example", "f.test")]


def test_configured_canaries_are_asked_instead() -> None:
    """Without the resolver, which a name among them needs anyway."""
    world = World()
    world.online = False
    network = world.network(configured=[Canary("192.0.2.1", 443), Canary("one.example", 443), Canary("x.org", 443)])
    for host in ("a.example", "b.test"):
        network.saw_up(site(host))
    world.now += 60
    assert network.excuse(site("www.x.org"), Reason.TIMEOUT) is not None
    assert world.looks == [("192.0.2.1", "one.example")]
    assert world.below == [None]


def test_what_is_known_is_bounded() -> None:
    """Of many hosts the newest are kept."""
    world = World()
    network = world.network()
    for number in range(3 * KNOWN_HOSTS):
        network.saw_up(site(f"n{number}.example{number}.org"))
        network.saw_up(site(f"{number}.{number}test"))
    assert len(network._up) == KNOWN_HOSTS
    world.now += 60
    network.excuse(site("x.net"), Reason.TIMEOUT)
    assert world.looks == [("94.94test", "n95.example95.org", "95.95test")]


class Slow(World):
    """Looks that last until they are let go."""

    def __init__(self) -> None:
        super().__init__()
        self.looking = threading.Event()
        self.go = threading.Event()

    def answers(self, canaries: Sequence[Canary], *, below: str | None = None) -> list[bool]:
        self.looking.set()
        assert self.go.wait(30)
        return super().answers(canaries, below=below)

    def cut_off(self) -> Network:
        """One that knew two hosts, a minute ago."""
        network = self.network()
        for host in ("a.example", "b.test"):
            network.saw_up(site(host))
        self.online = self.resolver = False
        self.now += 60
        return network


def test_one_look_at_a_time() -> None:
    """Who fails meanwhile waits for what it finds."""
    world = Slow()
    network = world.cut_off()
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(network.excuse, site("x.org"), Reason.TIMEOUT) for _ in range(8)]
        assert world.looking.wait(30)
        world.go.set()
        assert all(one.result(30) for one in asked)
    assert len(world.looks) == 1


def test_a_site_that_is_up_during_a_look_is_the_better_witness() -> None:
    """Nothing is said, and nobody is excused."""
    world = Slow()
    network = world.cut_off()
    with ThreadPoolExecutor(1) as pool, capture_logs() as logs:
        asked = pool.submit(network.excuse, site("x.org"), Reason.TIMEOUT)
        assert world.looking.wait(30)
        network.saw_up(site("c.test2"))
        world.go.set()
        assert asked.result(30) is None
    assert logs == []
