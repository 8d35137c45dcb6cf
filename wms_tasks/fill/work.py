"""
Fill a slot as far as it goes now: ask politeness and robots.txt, probe, judge. What follows is decide.py's to say.

Called by carry.py. Knows neither Celery nor Kafka; its parts are handed in, and one set of them serves a process.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import redis
import structlog

from wms_tasks import clock, metrics
from wms_tasks.errors import SecretError
from wms_tasks.fill import decide
from wms_tasks.fill.bulkhead import Bulkhead, Place
from wms_tasks.fill.decide import Again, End, Go, Here, Step
from wms_tasks.net.guard import Guard
from wms_tasks.net.redact import one_line
from wms_tasks.net.redirect import IpChoice
from wms_tasks.order import ProbeOrder
from wms_tasks.polite import patience
from wms_tasks.polite.patience import Patience
from wms_tasks.polite.rate import Turn
from wms_tasks.polite.robots import RobotsVerdict
from wms_tasks.polite.way import way_of
from wms_tasks.probe.judge import Verdict, is_transient
from wms_tasks.probe.observed import observed
from wms_tasks.probe.scrub import scrubbed
from wms_tasks.probe.seen import Seen
from wms_tasks.result import Outcome, Reason, Result
from wms_tasks.sites.record import Site, TlsOptions
from wms_tasks.sites.url import host_of

log = structlog.get_logger()

# Shorter than the first retry's delay: a retry must ask again, not hear that the attempt before failed.
ROBOTS_TROUBLE_SECONDS = 0.5
ROBOTS_SECONDS = 5.0


class Turns(Protocol):
    """See `wms_tasks.polite.rate.HostTurns`."""

    def reserve(
        self, host: str, *, spacing_seconds: float, latest_in_seconds: float, lapsed_seconds: float = 0.0
    ) -> Turn:
        """The host's next free instant, where it is not too late; instead of one that lapsed, where it had that."""

    def patience_seconds(self, host: str) -> float:
        """How long the host is to be left alone."""

    def back_off(self, hosts: Sequence[str], *, seconds: float, why: str) -> None:
        """Leave these hosts alone for so long."""


class RobotsRules(Protocol):
    """See `wms_tasks.polite.robots.Robots`."""

    def cached(self, url: str, *, way: str) -> RobotsVerdict | None:
        """The verdict, if no request is needed for it."""

    def fetch(  # noqa: PLR0913 - what bounds a request, and how it is made
        self,
        url: str,
        *,
        deadline_seconds: float,
        negative_seconds: float,
        guard: Guard,
        way: str,
        tls: TlsOptions,
        ip: IpChoice,
    ) -> RobotsVerdict:
        """The verdict, after one request to the host."""


class OwnNetwork(Protocol):
    """See `wms_tasks.polite.network.Network`."""

    def saw_up(self, site: Site, address: str | None = None) -> None:
        """The site was up just now."""

    def excuse(self, site: Site, reason: str, address: str | None = None) -> str | None:
        """Why a site that failed for `reason` may not be called down; None: it may."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """
    What filling a slot needs. ``tls`` gives a site's options with their secrets, or raises SecretError.
    ``longest_run_seconds`` keeps a run below the visibility timeout. ``network`` None: a failure is always the site's.
    """

    here: Here
    turns: Turns
    robots: RobotsRules
    bulkhead: Bulkhead
    guard: Callable[[Site], Guard]
    tls: Callable[[Site], TlsOptions]
    probe: Callable[[Site, float, Guard], Seen]
    judge: Callable[[Site, Seen], Verdict]
    longest_run_seconds: float
    network: OwnNetwork | None = None


def fill(order: ProbeOrder, parts: Parts) -> Step:
    """
    The next step of the slot; what it took is done.

    Raises:
        wms_tasks.net.fetch.Cancelled: the process is stopping; the slot is another worker's.
    """
    step = decide.begin(order, clock.utcnow())
    if step is not None:
        return step
    try:
        with parts.bulkhead.place(host_of(order.site.url)) as place:
            return _Run(order, parts, place).ask() if place is not None else decide.no_place(order, clock.utcnow())
    except redis.RedisError as error:
        log.warning("probe.politeness_unavailable", site=order.site.name, error=str(error))
        metrics.RETRIES.inc("redis")
        return decide.politeness_away(order, clock.utcnow())


class _Run:
    """One run at a slot: what it has asked so far counts against the time it may take."""

    def __init__(self, order: ProbeOrder, parts: Parts, place: Place) -> None:
        self._place = place
        self._order = order
        self._parts = parts
        self._site = order.site
        self._host = host_of(order.site.url)
        self._crawl_delay_seconds = 0.0
        self._began = clock.monotonic()

    def ask(self) -> Step:
        """Robots first, where it costs no request; then the turn, without which nothing is asked of the host."""
        respect = self._site.robots == "respect"
        verdict = self._parts.robots.cached(self._site.url, way=way_of(self._site)) if respect else None
        if verdict is not None:
            metrics.ROBOTS.inc(_said(verdict), "cached")
        if verdict is not None and not verdict.allowed:
            return self._refused(verdict, clock.utcnow())
        self._crawl_delay_seconds = verdict.crawl_delay_seconds if verdict is not None else 0.0
        turn = self._turn()
        if not isinstance(turn, Go):
            return turn
        if respect and verdict is None:
            return self._robots_then_attempt()
        return self._attempt()

    def _robots_then_attempt(self) -> Step:
        """robots.txt uses the turn up; the page needs one of its own. Without the site's secrets, neither is asked."""
        try:
            tls = self._parts.tls(self._site)
        except SecretError as error:
            return self._end_skipped(Reason.SECRET, one_line(error.message))
        started_at, began = clock.utcnow(), clock.monotonic()
        verdict = self._fetch_robots(tls)
        self._place.asked(clock.monotonic() - began)
        metrics.ROBOTS.inc(_said(verdict), "fetched")
        self._heed(verdict.patience)
        if not verdict.allowed:
            return self._refused(verdict, started_at)
        self._crawl_delay_seconds = verdict.crawl_delay_seconds
        turn = self._new_turn()
        return self._attempt() if isinstance(turn, Go) else turn

    def _fetch_robots(self, tls: TlsOptions) -> RobotsVerdict:
        return self._parts.robots.fetch(
            self._site.url,
            deadline_seconds=min(ROBOTS_SECONDS, self._site.timeout_seconds),
            negative_seconds=ROBOTS_TROUBLE_SECONDS,
            guard=self._parts.guard(self._site),
            way=way_of(self._site),
            tls=tls,
            ip=self._site.ip,
        )

    def _end_skipped(self, reason: Reason, detail: str) -> End:
        verdict = Verdict(outcome=Outcome.SKIPPED, reason=reason, detail=detail)
        return End(result=decide.result_of(self._order, self._parts.here, verdict, started_at=None))

    def _turn(self) -> Go | Again | End:
        """The one in hand, unless the host asked for patience since it was given; else a new one."""
        now = clock.utcnow()
        turn = decide.turn_in_hand(self._order, now)
        if isinstance(turn, Go) and decide.is_left_alone(self._parts.turns.patience_seconds(self._host)):
            turn = None
        return turn or self._new_turn(lapsed_seconds=decide.lapsed_seconds(self._order, now))

    def _new_turn(self, *, lapsed_seconds: float = 0.0) -> Go | Again | End:
        now = clock.utcnow()
        turn = self._parts.turns.reserve(
            self._host,
            spacing_seconds=decide.spacing_seconds(self._order, self._crawl_delay_seconds),
            latest_in_seconds=decide.latest_turn_seconds(self._order, now),
            lapsed_seconds=lapsed_seconds,
        )
        if turn.wait_seconds is None:
            metrics.NO_TURN.inc(decide.held_back_by(self._order, turn, self._crawl_delay_seconds))
        else:
            metrics.TURN_WAIT.observe(turn.wait_seconds)
        return decide.turn_given(
            self._order, now, turn, self._parts.here, crawl_delay_seconds=self._crawl_delay_seconds
        )

    def _heed(self, asked: Patience | None) -> None:
        """Leave the hosts alone; that this could not be kept must not cost the result that is in hand."""
        if asked is None:
            return
        metrics.BACK_OFFS.inc(str(asked.status_code))
        try:
            self._parts.turns.back_off(asked.hosts, seconds=asked.seconds, why=f"status {asked.status_code}")
        except redis.RedisError as error:
            log.warning("probe.back_off_not_kept", hosts=asked.hosts, seconds=asked.seconds, error=str(error))
            return
        log.info("probe.backs_off", hosts=asked.hosts, seconds=asked.seconds, status_code=asked.status_code)

    def _attempt(self) -> Again | End:
        started_at, began = clock.utcnow(), clock.monotonic()
        if self._order.last is None:
            metrics.LATENESS.observe((started_at - self._order.due_at).total_seconds())
        left_seconds = self._parts.longest_run_seconds - (began - self._began)
        deadline_seconds = min(self._site.timeout_seconds, left_seconds)
        seen = self._parts.probe(self._site, deadline_seconds, self._parts.guard(self._site))
        self._place.asked(clock.monotonic() - began)
        self._heed(_patience(self._site, seen))
        verdict = self._parts.judge(self._site, seen)
        asked = verdict.outcome != Outcome.SKIPPED
        if asked:
            metrics.ATTEMPT_SECONDS.observe(clock.monotonic() - began, verdict.outcome)
        result = decide.result_of(
            self._order,
            self._parts.here,
            verdict,
            started_at=started_at if asked else None,
            observed=observed(seen, keep="none" if verdict.outcome == Outcome.UP else self._site.evidence),
        )
        if asked and result.phases is not None:
            metrics.probed(result.phases, verdict.outcome, verdict.reason)
        if seen.revealed:
            result = scrubbed(result, seen.revealed.scrub)
        result = self._whose_fault(result, seen.hops[0].address if seen.hops else None)
        return decide.after_attempt(self._order, result, clock.utcnow(), transient=verdict.transient)

    def _whose_fault(self, result: Result, address: str | None) -> Result:
        """The result, or that we are offline. Asked of each attempt: any of them may turn out to be the slot's last."""
        network = self._parts.network
        if network is None:
            return result
        if result.outcome == Outcome.UP:
            network.saw_up(self._site, address)
        why = network.excuse(self._site, result.reason, address) if result.outcome == Outcome.DOWN else None
        return result if why is None else decide.offline(result, why)

    def _refused(self, verdict: RobotsVerdict, started_at: datetime) -> Again | End:
        """Forbidden: the slot is skipped. An origin that could not be reached for its robots.txt is down."""
        down = verdict.outcome == Outcome.DOWN
        said = Verdict(outcome=Outcome.DOWN if down else Outcome.SKIPPED, reason=verdict.reason, detail=verdict.detail)
        result = decide.result_of(self._order, self._parts.here, said, started_at=started_at if down else None)
        transient = down and is_transient(verdict.reason)
        result = self._whose_fault(result, None)
        return decide.after_attempt(self._order, result, clock.utcnow(), transient=transient)


def _patience(site: Site, seen: Seen) -> Patience | None:
    return patience.asked(
        url=site.url, answered_url=seen.url, status_code=seen.status_code, headers=seen.headers, now=clock.utcnow()
    )


def _said(verdict: RobotsVerdict) -> str:
    """The verdict in a word, for the metric."""
    if verdict.outcome == Outcome.DOWN:
        return "down"
    if verdict.allowed:
        return "allowed"
    if verdict.reason == Reason.BLOCKED_ADDRESS:
        return "blocked"
    return "forbidden" if verdict.reason == Reason.ROBOTS else "unreachable"
