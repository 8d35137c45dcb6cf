"""
Is it us? Where canaries on several hosts are all silent, a site that seems down says nothing about the site.

Asked only after an attempt that failed by the network, so it costs nothing while all is well. `is_offline` is the rule
(docs/decisions/0028); the connects are net/reach.py's. Each process looks for itself; nothing is kept over a restart.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Protocol
from urllib.parse import urlsplit

import structlog

from wms_tasks import clock, metrics
from wms_tasks.canaries import MIN_HOSTS, Canary
from wms_tasks.net.reach import is_name
from wms_tasks.net.redirect import DEFAULT_PORTS
from wms_tasks.result import Reason
from wms_tasks.sites.record import Site
from wms_tasks.sites.url import host_of

log = structlog.get_logger()

# How a request fails where nothing gets out. TLS and HTTP failures are somebody's answer.
NETWORK_REASONS = frozenset(
    {
        Reason.DNS,
        Reason.CONNECT_REFUSED,
        Reason.CONNECT_TIMEOUT,
        Reason.CONNECT_FAILED,
        Reason.TIMEOUT,
        Reason.RESET,
    }
)
ASKED_HOSTS = 3
# Of more, those that were up longest ago are forgotten.
KNOWN_HOSTS = 32
# A name has 253 characters at most, and the one that is asked for is longer than the host.
MAX_BELOW = 200
# That we are online is believed so long, of a look or of a site that was up: then the network may have gone since.
ONLINE_SECONDS = 1.0
# That we are offline is believed longer, unless a site is up: each look takes its full time then.
OFFLINE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Looked:
    """What came of asking one canary; ``host`` is None for the resolver."""

    host: str | None
    answered: bool


def is_offline(looked: Sequence[Looked]) -> bool | None:
    """Whether all canaries are silent, the resolver too; None: fewer than two hosts, which nobody can tell from."""
    if any(one.answered for one in looked):
        return False
    hosts = {one.host for one in looked if one.host is not None}
    return True if len(hosts) >= MIN_HOSTS else None


def neighbourhood(host: str) -> str:
    """
    What tends to fail together: a name's last two labels, an address by itself.

    Two hosts of one provider would be one canary; that all of ``co.uk`` is one too only makes candidates fewer.
    """
    return ".".join(host.rsplit(".", 2)[-2:]) if is_name(host) else host


class Answers(Protocol):
    """See `wms_tasks.net.reach.Reach`."""

    def answers(self, canaries: Sequence[Canary], *, below: str | None = None) -> list[bool]:
        """Which canaries answer; last the resolver, about a name below that host."""


class Network:
    """
    Thread-safe. One look at a time; who comes meanwhile waits for it.

    Args:
        configured: asked instead of hosts that were up lately and the resolver.
        internal: networks (CIDR) whose sites are neither judged nor canaries: being reachable from inside, they say
            nothing about the way out.
    """

    def __init__(
        self,
        reach: Answers,
        *,
        configured: Sequence[Canary] = (),
        internal: Sequence[str] = (),
        monotonic: Callable[[], float] = clock.monotonic,
    ) -> None:
        self._reach = reach
        self._configured = tuple(configured)
        self._internal = tuple(ip_network(one) for one in internal)
        self._monotonic = monotonic
        self._asking = threading.Lock()
        self._lock = threading.Lock()
        self._up: dict[str, Canary] = {}
        self._up_at = float("-inf")
        self._looked: tuple[Looked, ...] = ()
        self._looked_at = float("-inf")
        self._offline_since: float | None = None

    def saw_up(self, site: Site, address: str | None = None) -> None:
        """The site was up just now, at that address if it is known: it may be a canary, and we are online."""
        host = host_of(site.url)
        if site.allow_networks or self._is_internal(address or host):
            return
        parts = urlsplit(site.url)
        canary, place = Canary(host, parts.port or DEFAULT_PORTS[parts.scheme]), neighbourhood(host)
        with self._lock:
            self._up.pop(place, None)
            if not site.allow_ports:  # else canaries' guard, which is not the site's, may refuse it: no witness
                self._up[place] = canary
            if len(self._up) > KNOWN_HOSTS:
                del self._up[next(iter(self._up))]
            self._up_at = self._monotonic()
        if self._offline_since is not None:
            self._say(offline=False)

    def excuse(self, site: Site, reason: str, address: str | None = None) -> str | None:
        """
        Why a site that failed for `reason` may not be called down, in one line; None: it may.

        Takes up to net/reach.py's REACH_SECONDS where canaries have to be asked.
        """
        host = host_of(site.url)
        if reason not in NETWORK_REASONS or site.allow_networks or self._is_internal(address or host):
            return None
        with self._asking:
            if self._monotonic() - self._up_at < ONLINE_SECONDS:
                return None
            place = neighbourhood(host)
            looked = self._others(place)
            if not self._is_fresh() or is_offline(looked) is None:
                self._look(place)
                looked = self._others(place)
        if not is_offline(looked):
            return None
        return f"our own network: none of {len(looked)} canaries answers"

    def _others(self, place: str) -> list[Looked]:
        """What was seen of canaries beside the site's own neighbourhood."""
        return [one for one in self._looked if one.host is None or neighbourhood(one.host) != place]

    def _is_fresh(self) -> bool:
        """Whether the last look still counts: no site was up since, and it is not too long ago for what it said."""
        believed_seconds = OFFLINE_SECONDS if is_offline(self._looked) else ONLINE_SECONDS
        return self._looked_at > self._up_at and self._monotonic() - self._looked_at < believed_seconds

    def _look(self, place: str) -> None:
        """Ask canaries beside the site's own neighbourhood."""
        began = self._monotonic()
        canaries, below = self._canaries(place)
        answers = self._reach.answers(canaries, below=below)
        hosts = [*(canary.host for canary in canaries), None]
        looked = tuple(Looked(host, answered) for host, answered in zip(hosts, answers, strict=False))
        # A site that was up meanwhile is the better witness.
        was_up = self._up_at >= began
        self._looked, self._looked_at = () if was_up else looked, self._monotonic()
        offline = False if was_up else is_offline(looked)
        metrics.NETWORK_CHECKS.inc("unknown" if offline is None else "offline" if offline else "online")
        if offline is not None:
            self._say(offline=offline)

    def _canaries(self, place: str) -> tuple[list[Canary], str | None]:
        """Whom to ask, and below whose name to ask the resolver, where there is a name among them."""
        if self._configured:
            found, below = [one for one in self._configured if neighbourhood(one.host) != place], None
        else:
            with self._lock:
                found = [canary for where, canary in self._up.items() if where != place][-ASKED_HOSTS:]
            below = next((one.host for one in found if is_name(one.host) and len(one.host) <= MAX_BELOW), None)
        return (found, below) if len({one.host for one in found}) >= MIN_HOSTS else ([], None)

    def _is_internal(self, address: str) -> bool:
        if not self._internal or is_name(address):
            return False
        found = ip_address(address.partition("%")[0])
        return any(found in network for network in self._internal)

    def _say(self, *, offline: bool) -> None:
        """In the log when it begins and when it is over, once each; in the metric always."""
        with self._lock:
            metrics.NETWORK_STATE.replace({("online",): not offline, ("offline",): offline})
            since, now = self._offline_since, self._monotonic()
            self._offline_since = (now if since is None else since) if offline else None
        if offline and since is None:
            silent = [one.host or "the resolver" for one in self._looked]
            log.error("network.offline", silent=silent, then="slots that fail by the network end skipped: offline")
        elif not offline and since is not None:
            log.warning("network.online", offline_seconds=round(now - since, 1))
