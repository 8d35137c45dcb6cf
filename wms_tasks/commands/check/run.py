"""One probe with robots.txt asked before it: all that was found, as one record without any secret."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from wms_tasks import clock
from wms_tasks.errors import SecretError
from wms_tasks.net.guard import Guard
from wms_tasks.net.hop import Hop
from wms_tasks.net.redact import one_line
from wms_tasks.polite.robots import Robots, RobotsVerdict
from wms_tasks.polite.store import MemoryRobotsStore
from wms_tasks.probe.http import probe, tls_for
from wms_tasks.probe.judge import Verdict, judge
from wms_tasks.probe.observed import NOTHING_OBSERVED, Observed, observed
from wms_tasks.probe.scrub import scrubbed_parts
from wms_tasks.probe.secrets import Secrets
from wms_tasks.probe.seen import Seen
from wms_tasks.result import Certificate, Outcome, Reason
from wms_tasks.sites.record import Site


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """
    All that one check found, scrubbed of secrets. ``checked_at`` is aware UTC; certificates' days left count from it.

    ``enabled`` is None where the site is from no file. ``robots`` is None where robots.txt was not asked, else
    ``robots_ms`` is what that took. ``hops`` is empty and ``final_url`` None where the site was not asked.
    ``truncated``: the body goes on after what was read.
    """

    site: Site
    verdict: Verdict
    checked_at: datetime
    enabled: bool | None = None
    robots: RobotsVerdict | None = None
    robots_ms: float | None = None
    hops: tuple[Hop, ...] = ()
    observed: Observed = NOTHING_OBSERVED
    final_url: str | None = None
    truncated: bool = False

    @property
    def robots_hops(self) -> tuple[Hop, ...]:
        """The requests for robots.txt."""
        return self.robots.hops if self.robots else ()

    @property
    def certificate(self) -> Certificate | None:
        """The one that the site showed; where it was not asked, the one that robots.txt was met with."""
        if self.hops or not self.robots_hops:
            return self.observed.certificate
        return self.robots_hops[-1].certificate


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What a check is made with: who we are, what may be connected to, where secrets are."""

    user_agent: str
    guard: Guard
    secrets: Secrets


def run_check(site: Site, means: Means, *, enabled: bool | None = None) -> Checked:
    """Ask robots.txt if the site respects it, then the site; each within the site's timeout."""
    robots, robots_ms = None, None
    if site.robots == "respect":
        began = clock.monotonic()
        try:
            robots = _ask_robots(site, means)
        except SecretError as error:
            verdict = Verdict(outcome=Outcome.SKIPPED, reason=Reason.SECRET, detail=one_line(error.message))
            return Checked(site=site, verdict=verdict, checked_at=clock.utcnow(), enabled=enabled)
        robots_ms = 1000 * (clock.monotonic() - began)
    if robots is not None and robots.outcome is not None:
        verdict = Verdict(outcome=robots.outcome, reason=robots.reason, detail=robots.detail)
        checked = Checked(site=site, verdict=verdict, checked_at=clock.utcnow())
    else:
        checked = _probed(site, means)
    return replace(checked, robots=robots, robots_ms=robots_ms, enabled=enabled)


def _ask_robots(site: Site, means: Means) -> RobotsVerdict:
    return Robots(MemoryRobotsStore(), user_agent=means.user_agent).fetch(
        site.url,
        deadline_seconds=site.timeout_seconds,
        guard=means.guard,
        tls=tls_for(site, means.secrets),
        ip=site.ip,
    )


def _probed(site: Site, means: Means) -> Checked:
    seen = probe(
        site,
        deadline_seconds=site.timeout_seconds,
        user_agent=means.user_agent,
        guard=means.guard,
        secrets=means.secrets,
    )
    return checked_of(site, seen)


def checked_of(site: Site, seen: Seen) -> Checked:
    """What a probe that saw `seen` found. Pure."""
    verdict, scrub = judge(site, seen), seen.revealed.scrub
    was_asked = bool(seen.hops) or seen.status_code is not None
    return Checked(
        site=site,
        verdict=verdict,
        checked_at=seen.seen_at or clock.utcnow(),
        hops=tuple(_scrubbed(hop, scrub) for hop in seen.hops),
        observed=scrubbed_parts(observed(seen, keep="none" if verdict.outcome == Outcome.UP else site.evidence), scrub),
        final_url=seen.url if was_asked else None,
        truncated=seen.truncated,
    )


def _scrubbed(hop: Hop, scrub: Callable[[str], str]) -> Hop:
    return replace(hop, certificate=scrubbed_parts(hop.certificate, scrub))
