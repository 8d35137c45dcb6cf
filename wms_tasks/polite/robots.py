"""
May we ask for this url? robots.txt by RFC 9309, fetched once a day per origin and shared by all workers.

`cached` never touches the network; where it has no answer the caller takes a turn of the host's and calls `fetch`.
A 5xx on robots.txt must not silence the monitor just when the site is down: the last good copy serves as long as
errors last; without one a network error means the origin is down, and 5xx that the slot is skipped.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import NamedTuple
from urllib.parse import urlsplit

import msgspec

from wms_tasks import clock
from wms_tasks.net.agent import PRODUCT_TOKEN
from wms_tasks.net.fetch import Answer, Fetcher, process_fetcher
from wms_tasks.net.guard import CLOSED, Guard
from wms_tasks.net.hop import Hop
from wms_tasks.net.reasons import Failure
from wms_tasks.net.redact import one_line
from wms_tasks.net.redirect import IpChoice, Request, origin
from wms_tasks.polite import patience
from wms_tasks.polite.patience import Patience
from wms_tasks.polite.rules import relevant, said
from wms_tasks.polite.store import RobotsStore
from wms_tasks.prepared import prepared
from wms_tasks.result import Outcome, Reason
from wms_tasks.sites.record import TlsOptions

# RFC 9309, 2.5: parse at least this much; 2.3.1.2: follow at least so many; and 2.4: do not use a copy older than a day
# while the file can be had.
MAX_ROBOTS_BYTES = 500 * 1024
MAX_ROBOTS_REDIRECTS = 5
FRESH_FOR = timedelta(hours=24)
# A good copy outlives its day, for when the origin then fails; every failure renews it.
KEEP_SECONDS = 7 * 86_400
# A failing origin is asked again after this, or after what the caller says.
NEGATIVE_SECONDS = 60.0
# With a good copy in hand there is no hurry: a host in trouble shall not get twice the requests for it.
STALE_SECONDS = 600.0
MAX_REMEMBERED_URLS = 10_000
_USUAL_TLS = TlsOptions()
# No answer at all came from the origin.
_UNREACHED = frozenset(
    {
        Reason.DNS,
        Reason.CONNECT_REFUSED,
        Reason.CONNECT_TIMEOUT,
        Reason.CONNECT_FAILED,
        Reason.TLS_EXPIRED,
        Reason.TLS_HOSTNAME,
        Reason.TLS_UNTRUSTED,
        Reason.TLS_OTHER,
        Reason.TIMEOUT,
        Reason.RESET,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RobotsVerdict:
    """
    ``outcome`` None: go ahead. ``skipped``: reason `robots` (forbidden), `robots_unreachable`, or `blocked_address`
    (the guard forbids to connect to the origin). ``down``: the origin could not be reached, with the network's reason.
    ``detail`` is one redacted line.

    ``crawl_delay_seconds``: the least time between two requests; 0.0: none is asked for. Only where robots.txt was
    asked for just now: ``patience``, what was answered beside that, and ``hops``, the requests.
    """

    outcome: Outcome | None
    reason: Reason
    detail: str
    crawl_delay_seconds: float = 0.0
    patience: Patience | None = None
    hops: tuple[Hop, ...] = ()

    @property
    def allowed(self) -> bool:
        """Whether to go ahead."""
        return self.outcome is None


@prepared
class _Copy(msgspec.Struct, frozen=True, kw_only=True):
    """The part of a robots.txt that concerns us; no rules at all where there is no such file (4xx)."""

    fetched_at: datetime
    rules: str
    source: str


@prepared
class _Trouble(msgspec.Struct, frozen=True, kw_only=True):
    """Why there was no answer lately. ``is_ours``: the guard did not let the request, or a redirect of it, through."""

    outcome: Outcome
    reason: Reason
    detail: str
    is_ours: bool = False


class _Target(NamedTuple):
    """A url, and the way in which its origin is reached (way.py)."""

    url: str
    way: str


def robots_url(url: str) -> str:
    """Where the rules for `url` are."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=host, path="/robots.txt", query="", fragment="").geturl()


def read_answer(answer: Answer, now: datetime, product_token: str) -> _Copy | _Trouble:
    """
    What an answer for robots.txt means (RFC 9309, 2.3.1). Pure.

    4xx and more than five redirects: there is none, all is allowed; but 429 asks for patience, as 5xx does.
    """
    failure, status_code = answer.failure, answer.status_code
    if failure is not None and failure.reason == Reason.TOO_MANY_REDIRECTS:
        return _Copy(fetched_at=now, rules="", source="too many redirects, as good as none")
    if failure is not None:
        return _no_answer(failure, at_origin=answer.redirects == 0 and status_code is None)
    if status_code is not None and 200 <= status_code < 300:
        text = (answer.body or b"").decode("utf-8-sig", "replace")
        # The last line may be cut in the middle, and half a rule forbids more than the whole.
        text = text.rpartition("\n")[0] if answer.truncated else text
        return _Copy(fetched_at=now, rules=relevant(text, product_token), source=f"status {status_code}")
    if status_code is not None and 300 <= status_code < 500 and status_code != 429:
        return _Copy(fetched_at=now, rules="", source=f"status {status_code}, there is none")
    return _Trouble(
        outcome=Outcome.SKIPPED, reason=Reason.ROBOTS_UNREACHABLE, detail=f"robots.txt: status {status_code}"
    )


def _no_answer(failure: Failure, *, at_origin: bool) -> _Trouble:
    blocked = failure.reason == Reason.BLOCKED_ADDRESS
    if blocked and at_origin:
        return _Trouble(outcome=Outcome.SKIPPED, reason=failure.reason, detail=failure.detail, is_ours=True)
    detail = one_line(f"robots.txt: {failure.detail}")
    if at_origin and failure.reason in _UNREACHED:
        return _Trouble(outcome=Outcome.DOWN, reason=failure.reason, detail=detail)
    return _Trouble(outcome=Outcome.SKIPPED, reason=Reason.ROBOTS_UNREACHABLE, detail=detail, is_ours=blocked)


class Robots:
    """
    Verdicts by url. Thread-safe. The store's errors (redis.RedisError) are raised as they are: without the shared copy
    every worker would ask the origin by itself, so the caller retries its slot.
    """

    def __init__(
        self,
        store: RobotsStore,
        *,
        user_agent: str,
        product_token: str = PRODUCT_TOKEN,
        fetcher: Fetcher | None = None,
        stale_seconds: float = STALE_SECONDS,
    ) -> None:
        self._store = store
        self._user_agent = user_agent
        self._token = product_token
        self._fetcher = fetcher
        self._stale = timedelta(seconds=stale_seconds)
        self._lock = threading.Lock()
        self._remembered: dict[_Target, tuple[datetime, RobotsVerdict]] = {}

    def cached(self, url: str, *, way: str = "") -> RobotsVerdict | None:
        """
        The verdict, if it is known without asking the origin; None: it must be fetched.

        A url asked for before costs no call to the store until its copy's day is over.

        Args:
            way: the site's, by way.py.
        """
        now, target = clock.utcnow(), _Target(url, way)
        with self._lock:
            fresh_until, verdict = self._remembered.get(target, (now, None))
        if verdict is not None and now < fresh_until:
            return verdict
        copy = self._copy(target)
        if copy is not None and now < copy.fetched_at + FRESH_FOR:
            return self._remember(target, copy, copy.fetched_at + FRESH_FOR)
        found = self._store.get(f"trouble:{_key(target)}")
        if found is None:
            return None
        if copy is None:
            return _of_trouble(msgspec.json.decode(found, type=_Trouble))
        # Not to the end of the trouble, which the store knows; but no probe shall cost two calls while it lasts.
        return self._remember(target, copy, now + self._stale / 10)

    def fetch(  # noqa: PLR0913 - what bounds a request, and how it is made
        self,
        url: str,
        *,
        deadline_seconds: float,
        negative_seconds: float = NEGATIVE_SECONDS,
        guard: Guard = CLOSED,
        way: str = "",
        tls: TlsOptions = _USUAL_TLS,
        ip: IpChoice = "any",
    ) -> RobotsVerdict:
        """
        Ask the origin for its robots.txt, keep what it says, and give the verdict on `url`.

        Args:
            deadline_seconds: for the whole request with its redirects, 5 at most.
            negative_seconds: an origin that fails, and of which there is no copy, is not asked again for so long; at
                most the site's interval, or its recovery would be seen late.
            guard: what may be connected to, redirects included. What it forbids is not kept for others: it is this
                site's, and the next one on the origin may have another.
            way: the site's, by way.py.
            tls: the site's, with its secrets. A client certificate goes to the origin only.
            ip: the site's.

        Raises:
            Cancelled: the process is stopping.
        """
        headers = {"User-Agent": self._user_agent, "Accept-Encoding": "gzip", "Connection": "close"}
        answer = (self._fetcher or process_fetcher()).fetch(
            Request(method="GET", url=robots_url(url), headers=headers, tls=tls, ip=ip),
            deadline_seconds=deadline_seconds,
            max_body_bytes=MAX_ROBOTS_BYTES,
            max_redirects=MAX_ROBOTS_REDIRECTS,
            guard=guard,
        )
        now = clock.utcnow()
        asked = patience.asked(
            url=url, answered_url=answer.url, status_code=answer.status_code, headers=answer.headers, now=now
        )
        verdict = self._learn(_Target(url, way), read_answer(answer, now, self._token), now, negative_seconds)
        return replace(verdict, patience=asked, hops=answer.hops)

    def _learn(
        self, target: _Target, learned: _Copy | _Trouble, now: datetime, negative_seconds: float
    ) -> RobotsVerdict:
        """Keep it, unless it is only about what this site may connect to, and give the verdict."""
        if isinstance(learned, _Copy):
            self._store.put(f"good:{_key(target)}", msgspec.json.encode(learned), ttl_seconds=KEEP_SECONDS)
            return self._remember(target, learned, now + FRESH_FOR)
        trouble, copy = msgspec.json.encode(learned), self._copy(target)
        if learned.is_ours:
            return _of_trouble(learned) if copy is None else self._verdict(target.url, copy)
        if copy is None:
            self._store.put(f"trouble:{_key(target)}", trouble, ttl_seconds=negative_seconds)
            return _of_trouble(learned)
        self._store.put(f"good:{_key(target)}", msgspec.json.encode(copy), ttl_seconds=KEEP_SECONDS)
        self._store.put(f"trouble:{_key(target)}", trouble, ttl_seconds=self._stale.total_seconds())
        return self._remember(target, copy, now + self._stale)

    def _copy(self, target: _Target) -> _Copy | None:
        found = self._store.get(f"good:{_key(target)}")
        return None if found is None else msgspec.json.decode(found, type=_Copy)

    def _verdict(self, url: str, copy: _Copy) -> RobotsVerdict:
        about = said(copy.rules, url, self._token)
        outcome, reason, detail = None, Reason.OK, f"robots.txt allows it ({copy.source})"
        if not about.allowed:
            outcome, reason = Outcome.SKIPPED, Reason.ROBOTS
            detail = "robots.txt forbids it; `robots: ignore` if the site is yours"
        elif about.crawl_delay_seconds:
            detail += f", and asks for {about.crawl_delay_seconds:g} s between requests (crawl-delay)"
        return RobotsVerdict(
            outcome=outcome, reason=reason, detail=detail, crawl_delay_seconds=about.crawl_delay_seconds
        )

    def _remember(self, target: _Target, copy: _Copy, until: datetime) -> RobotsVerdict:
        verdict = self._verdict(target.url, copy)
        with self._lock:
            self._remembered.pop(target, None)
            if len(self._remembered) >= MAX_REMEMBERED_URLS:
                del self._remembered[next(iter(self._remembered))]
            self._remembered[target] = (until, verdict)
        return verdict


def _of_trouble(trouble: _Trouble) -> RobotsVerdict:
    return RobotsVerdict(outcome=trouble.outcome, reason=trouble.reason, detail=trouble.detail)


def _key(target: _Target) -> str:
    scheme, host, port = origin(target.url)
    return f"{scheme}://{host}:{port}{'#' + target.way if target.way else ''}"
