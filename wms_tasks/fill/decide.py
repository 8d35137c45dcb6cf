"""
What to do next with a slot: pure functions of an order, an instant and an answer. work.py asks and acts on them.

Each slot ends once: `End` with its result, or `TooLate` where there is none and nobody may begin any more. `Again` is
the same slot's message sent again; it is never for an instant at which the slot could not be begun.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec

from wms_tasks.net.redact import one_line
from wms_tasks.order import NewerOrder, Order, ProbeOrder
from wms_tasks.polite.rate import Turn
from wms_tasks.probe.judge import Verdict
from wms_tasks.probe.observed import NOTHING_OBSERVED, Observed
from wms_tasks.result import Outcome, Reason, Result

# A waiting message is held by a worker as unacknowledged; longer waits go back to the queue in steps, so that it
# stays well below the visibility timeout, after which Redis would hand the message to a second worker.
HOP_SECONDS = 10.0
# A wait shorter than this is no wait: the timer that would end it is not finer.
NEAR_SECONDS = 0.02
# A turn used later than this, or than a tenth of the host's spacing, comes too close to the next one: of a worker whose
# threads were all busy, several would come at once. It lapses, and another is taken.
LAPSED_SECONDS = 0.05
# What a message needs from its instant to being begun. Later, Celery drops it as expired, without a result.
MARGIN_SECONDS = 0.25
_RETRY_SECONDS = (1.0, 2.0, 4.0, HOP_SECONDS)
_UNPUBLISHED_RETRY_SECONDS = (1.0, 2.0, 5.0, HOP_SECONDS)
_POLITENESS_RETRY_SECONDS = 1.0
# Asked for again a few times in a slot: of many slots that wait so, each second would cost more than probes do.
_PLACE_RETRY_SECONDS = 1.0
_PLACE_RETRY_SHARE = 0.5
_NEWER_RETRY_SECONDS = 1.0
_NEWER_LAST_SECONDS = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """The slot's result: publish it."""

    result: Result


@dataclass(frozen=True, slots=True, kw_only=True)
class Again:
    """Send ``order`` for ``countdown_seconds`` from now. ``is_retry``: something failed, and Redis shall show RETRY."""

    order: Order
    countdown_seconds: float
    is_retry: bool = False
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TooLate:
    """Nothing was seen, and nobody may begin any more; why."""

    reason: Reason = Reason.EXPIRED


@dataclass(frozen=True, slots=True, kw_only=True)
class Go:
    """One request to the host may be made now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Here:
    """Where and by whom, for the result."""

    location: str
    worker: str


Step = End | Again | TooLate

_MISSED: dict[str, Any] = {
    "outcome": str(Outcome.MISSED),
    "attempt": 0,
    "started_at": None,
    "detail": None,
    "status_code": None,
    "response_time_ms": None,
    "matched": None,
}


def attempt_of(order: ProbeOrder) -> int:
    """The number of the attempt now made, from 1. Waiting is none, nor is a retry for Kafka's sake."""
    return order.last.attempt + 1 if order.last is not None else 1


def latest_turn_seconds(order: Order, now: datetime) -> float:
    """A turn later than this cannot be used any more; 0: only one that is now."""
    return max(0.0, (order.expires_at - now).total_seconds() - MARGIN_SECONDS)


def fits(order: Order, now: datetime, countdown_seconds: float) -> bool:
    """Whether a message for that instant would still be begun."""
    return countdown_seconds < latest_turn_seconds(order, now)


def begin(order: ProbeOrder, now: datetime) -> Step | None:
    """What needs no look at the site: a result to publish, a slot that is over. None: go on."""
    if order.result is not None:
        return End(result=order.result)
    if now >= order.expires_at:
        return End(result=order.last) if order.last is not None else TooLate()
    return None


def turn_in_hand(order: ProbeOrder, now: datetime) -> Go | Again | None:
    """What an order that carries a turn may do: go, or wait on. None: it carries none, or one that has lapsed."""
    if order.turn_at is None or lapsed_seconds(order, now):
        return None
    wait_seconds = (order.turn_at - now).total_seconds()
    return Go() if wait_seconds <= NEAR_SECONDS else _wait(order, wait_seconds)


def lapsed_seconds(order: ProbeOrder, now: datetime) -> float:
    """How long ago a turn was that it did not use in time; 0.0: it has none such."""
    late_seconds = (now - order.turn_at).total_seconds() if order.turn_at is not None else 0.0
    return late_seconds if late_seconds > max(LAPSED_SECONDS, order.site.spacing_seconds / 10) else 0.0


def is_left_alone(patience_seconds: float) -> bool:
    """Whether a host that asked for so much patience may not be asked now, turn or no turn."""
    return patience_seconds > NEAR_SECONDS


def spacing_seconds(order: ProbeOrder, crawl_delay_seconds: float) -> float:
    """The least time to the host's next turn: the host's spacing, or what robots.txt asks for where that is longer."""
    return max(order.site.spacing_seconds, crawl_delay_seconds)


def held_back_by(order: ProbeOrder, turn: Turn, crawl_delay_seconds: float) -> str:
    """Why a turn comes late, in one of the metric's words."""
    if is_left_alone(turn.patience_seconds):
        return "retry_after"
    return "crawl_delay" if crawl_delay_seconds > order.site.spacing_seconds else "spacing"


def turn_given(
    order: ProbeOrder, now: datetime, turn: Turn, here: Here, *, crawl_delay_seconds: float = 0.0
) -> Go | Again | End:
    """What a reserved turn allows. Where the host has none left in this slot, what was seen before ends it."""
    wait_seconds = turn.wait_seconds
    if wait_seconds is not None and wait_seconds <= NEAR_SECONDS:
        return Go()
    if wait_seconds is None or not fits(order, now, wait_seconds):
        if order.last is not None:
            return End(result=order.last)
        detail = _no_turn(order, now, turn, crawl_delay_seconds)
        return End(result=skipped(order, Reason.RATE_LIMITED, detail, here))
    return _wait(msgspec.structs.replace(order, turn_at=now + timedelta(seconds=wait_seconds)), wait_seconds)


def _no_turn(order: ProbeOrder, now: datetime, turn: Turn, crawl_delay_seconds: float) -> str:
    cause = held_back_by(order, turn, crawl_delay_seconds)
    if cause == "retry_after":
        until = now + timedelta(seconds=turn.patience_seconds)
        return f"the host asked for patience until {until:%Y-%m-%dT%H:%M:%SZ} (Retry-After)"
    whose = "robots.txt's crawl-delay" if cause == "crawl_delay" else "its spacing"
    apart = spacing_seconds(order, crawl_delay_seconds)
    return f"the host's next turn comes after the slot ends; {whose} is {apart:g} s"


def politeness_away(order: ProbeOrder, now: datetime) -> Again | End | TooLate:
    """Nobody could say whether it is our turn: without that the site is not asked."""
    if fits(order, now, _POLITENESS_RETRY_SECONDS):
        return Again(order=order, countdown_seconds=_POLITENESS_RETRY_SECONDS, why="politeness unavailable")
    return End(result=order.last) if order.last is not None else TooLate(reason=Reason.BROKER_DOWN)


def no_place(order: ProbeOrder, now: datetime) -> Again | End | TooLate:
    """The host is slow, and such hosts hold all the threads they may: the slot waits, without one."""
    share_seconds = latest_turn_seconds(order, now) * _PLACE_RETRY_SHARE
    countdown_seconds = min(max(_PLACE_RETRY_SECONDS, share_seconds), HOP_SECONDS)
    if fits(order, now, countdown_seconds):
        return Again(order=order, countdown_seconds=countdown_seconds, why="slow hosts hold their share")
    return End(result=order.last) if order.last is not None else TooLate()


def after_attempt(order: ProbeOrder, result: Result, now: datetime, *, transient: bool) -> Again | End:
    """The attempt's result ends the slot, unless another attempt may change it and can still begin."""
    countdown_seconds = _nth(_RETRY_SECONDS, result.attempt)
    if not transient or result.attempt > order.site.retries or not fits(order, now, countdown_seconds):
        return End(result=result)
    retry = msgspec.structs.replace(order, turn_at=None, last=result)
    return Again(order=retry, countdown_seconds=countdown_seconds, is_retry=True, why=result.reason)


def left_to_newer(order: NewerOrder, now: datetime) -> Again | TooLate:
    """
    A worker that is too old leaves the slot to another until it is nearly over; then it was missed for that.

    The longer nobody came who knows more, the longer are the waits, so that a system without any is not kept busy.
    """
    left_seconds = latest_turn_seconds(order, now)
    if left_seconds <= 2 * _NEWER_LAST_SECONDS:
        return TooLate(reason=Reason.WORKER_TOO_OLD)
    waited_seconds = (now - order.due_at).total_seconds()
    countdown_seconds = min(max(_NEWER_RETRY_SECONDS, waited_seconds), HOP_SECONDS, left_seconds - _NEWER_LAST_SECONDS)
    return Again(order=order, countdown_seconds=countdown_seconds, why=order.why)


def after_unpublished(order: ProbeOrder, result: Result, now: datetime, *, retries: int) -> Again | None:
    """Kafka did not confirm: try again with the finished result. None: the slot is over, and it is our fault."""
    countdown_seconds = _nth(_UNPUBLISHED_RETRY_SECONDS, retries + 1)
    if not fits(order, now, countdown_seconds):
        return None
    retry = msgspec.structs.replace(order, turn_at=None, last=None, result=result)
    return Again(order=retry, countdown_seconds=countdown_seconds, is_retry=True, why="Kafka did not confirm")


def skipped(order: ProbeOrder, reason: Reason, detail: str | None, here: Here) -> Result:
    """The result of a slot in which we decided not to probe."""
    return result_of(order, here, Verdict(outcome=Outcome.SKIPPED, reason=reason, detail=detail))


def offline(result: Result, why: str) -> Result:
    """What an attempt that failed by the network comes to where our own network is down."""
    seen = f"{result.reason}: {result.detail}" if result.detail else result.reason
    changes = {"outcome": str(Outcome.SKIPPED), "reason": str(Reason.OFFLINE), "detail": one_line(f"{why} ({seen})")}
    return msgspec.structs.replace(result, **changes)


def missed(order: Order, reason: Reason, here: Here) -> Result:
    """The result of a slot in which we failed to probe, or to say what we saw; no attempt is told of."""
    return Result(
        site_id=order.site.site_id,
        site_name=order.site.name,
        location=here.location,
        scheduled_at=order.scheduled_at,
        due_at=order.due_at,
        reason=str(reason),
        worker=here.worker,
        spec_digest=order.spec_digest,
        **_MISSED,
    )


def unpublished(result: Result) -> Result:
    """What is left of a result that Kafka did not confirm: that its slot was missed, and nothing that was seen."""
    return Result(
        site_id=result.site_id,
        site_name=result.site_name,
        location=result.location,
        scheduled_at=result.scheduled_at,
        due_at=result.due_at,
        reason=str(Reason.NOT_PUBLISHED),
        worker=result.worker,
        spec_digest=result.spec_digest,
        **_MISSED,
    )


def too_late(order: Order, reason: Reason, here: Here) -> Result:
    """The end of a slot that nobody may begin any more: what is in hand, else that it was missed."""
    return order.in_hand or missed(order, reason, here)


def left_in_queue(order: Order, *, redelivered: bool, here: Here) -> Result:
    """
    The end of a slot whose message expired before it was begun: what is in hand, else that it was missed.

    Args:
        redelivered: a worker had the message before, and neither ended the slot nor sent it again.
    """
    reason = Reason.WORKER_TOO_OLD if isinstance(order, NewerOrder) else Reason.EXPIRED
    return too_late(order, Reason.WORKER_LOST if redelivered else reason, here)


def result_of(
    order: ProbeOrder,
    here: Here,
    verdict: Verdict,
    *,
    started_at: datetime | None = None,
    observed: Observed = NOTHING_OBSERVED,
) -> Result:
    """A result of this order's slot."""
    return Result(
        site_id=order.site.site_id,
        site_name=order.site.name,
        location=here.location,
        scheduled_at=order.scheduled_at,
        due_at=order.due_at,
        started_at=started_at,
        attempt=attempt_of(order),
        outcome=str(verdict.outcome),
        reason=str(verdict.reason),
        detail=verdict.detail,
        status_code=verdict.status_code,
        response_time_ms=verdict.response_time_ms,
        matched=verdict.matched,
        worker=here.worker,
        spec_digest=order.site.digest(),
        **msgspec.structs.asdict(observed),
    )


def _wait(order: ProbeOrder, wait_seconds: float) -> Again:
    return Again(order=order, countdown_seconds=min(wait_seconds, HOP_SECONDS), why="the host's turn")


def _nth(delays: tuple[float, ...], number: int) -> float:
    """The delay before the try after the ``number``-th; the last one from there on."""
    return delays[min(number, len(delays)) - 1]
