"""
Up or down, and why: a pure function of the site's spec and what was seen. "Why red?" is answered here.

Called by the probe task and by ``wms check``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from wms_tasks.net.reasons import Failure
from wms_tasks.net.redact import one_line
from wms_tasks.probe.expectations import Checked, look_at, not_looked_at
from wms_tasks.probe.seen import Seen
from wms_tasks.result import Outcome, Reason
from wms_tasks.sites.record import Site

# What another attempt a moment later may well not meet. Not protocol and tls_*: a server that is set up wrong stays so.
TRANSIENT_REASONS = frozenset(
    {
        Reason.DNS,
        Reason.CONNECT_REFUSED,
        Reason.CONNECT_TIMEOUT,
        Reason.CONNECT_FAILED,
        Reason.RESET,
        Reason.TIMEOUT,
    }
)
# Nothing was asked of anybody, and it is not the site that has to change.
SKIPPED_REASONS = frozenset({Reason.SECRET})
# Request Timeout, Bad Gateway, Service Unavailable, Gateway Timeout (RFC 9110), and Cloudflare's words for the same.
# With Retry-After the server has said when to come back, and that is not now.
TRANSIENT_STATUSES = frozenset({408, 502, 503, 504, 520, 521, 522, 523, 524})


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """
    How an attempt ended, in `Result`'s words. ``transient``: down, and worth another attempt inside the slot.

    ``matched`` is None where no body regexp was asked for or no body was read, else whether all of them were found.
    ``expectations``: all that was asked for, in the order in which it is judged; the first that has not passed gave the
    reason, unless there was no whole answer.
    """

    outcome: Outcome
    reason: Reason
    detail: str | None = None
    status_code: int | None = None
    response_time_ms: float | None = None
    matched: bool | None = None
    transient: bool = False
    expectations: tuple[Checked, ...] = ()


def is_transient(reason: Reason | str, *, status_code: int | None = None, retry_after: bool = False) -> bool:
    """Whether an attempt that ended down for `reason` is worth another one a moment later."""
    if reason == Reason.STATUS:
        return status_code in TRANSIENT_STATUSES and not retry_after
    return reason in TRANSIENT_REASONS


def _outcome(reason: Reason, seen: Seen) -> Outcome:
    """Of an answer that is not there. Where the site led us to a blocked address it is down: a visitor meets it too."""
    nobody_asked = reason == Reason.BLOCKED_ADDRESS and seen.redirects == 0
    return Outcome.SKIPPED if nobody_asked or reason in SKIPPED_REASONS else Outcome.DOWN


def _failure(seen: Seen) -> Failure | None:
    """Why there is no whole answer."""
    if seen.failure is None and seen.status_code is None:
        return Failure(reason=Reason.PROTOCOL, detail="no status code")
    return seen.failure


def _ended(seen: Seen, failure: Failure | None, checked: Iterable[Checked]) -> tuple[Outcome, Reason, str | None]:
    if failure is not None:
        return _outcome(failure.reason, seen), failure.reason, failure.detail
    first = next((expectation for expectation in checked if not expectation.passed), None)
    if first is None:
        return Outcome.UP, Reason.OK, None
    return Outcome.DOWN if first.is_down else Outcome.UP, first.reason, first.detail


def _matched(checked: Iterable[Checked]) -> bool | None:
    found = [expectation.passed for expectation in checked if expectation.name == "body_regexp"]
    return None if not found or None in found else all(found)


def _scrubbed(checked: Checked, scrub: Callable[[str], str]) -> Checked:
    return replace(checked, found=scrub(checked.found), detail=scrub(checked.detail))


def judge(site: Site, seen: Seen) -> Verdict:
    """
    The verdict on one attempt: why there is no whole answer, else the first expectation that has not passed.

    They are looked at in this order: status, HTTP version, https, headers, body regexps, JSON; then response time and
    certificate, with which a site stays up. What cannot be looked at has not passed, so nothing is up unchecked. A body
    larger than was read is no fault as long as each body_regexp is found in it and nothing else is asked of it.

    Raises:
        UsageError: a pattern or expression of the site is none; a spec from the sites file has been checked.
    """
    failure = _failure(seen)
    checked = tuple(look_at(site.expect, seen)) if failure is None else not_looked_at(site.expect)
    if seen.revealed:
        checked = tuple(_scrubbed(expectation, seen.revealed.scrub) for expectation in checked)
    outcome, reason, detail = _ended(seen, failure, checked)
    return Verdict(
        outcome=outcome,
        reason=reason,
        detail=None if detail is None else one_line(seen.revealed.scrub(detail)),
        status_code=seen.status_code,
        response_time_ms=seen.response_time_ms,
        matched=None if seen.body is None else _matched(checked),
        transient=is_transient(reason, status_code=seen.status_code, retry_after=seen.retry_after),
        expectations=checked,
    )
