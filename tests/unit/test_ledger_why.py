"""Why a slot was missed: each reason from the evidence it rests on, and from no less."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wms_tasks.ledger.why import Evidence, why_missed
from wms_tasks.result import Reason
from wms_tasks.store.ledger import Span

SLOT = (UUID(int=1), 100)
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


def at(seconds: float) -> datetime:
    """So long after noon."""
    return NOON + timedelta(seconds=seconds)


def led(from_seconds: float, until_seconds: float) -> Span:
    """A beat led for this long."""
    return Span(at(from_seconds), at(until_seconds))


def away(from_seconds: float, until_seconds: float, reason: Reason = Reason.BROKER_DOWN) -> Span:
    """It could not send for this long."""
    return Span(at(from_seconds), at(until_seconds), str(reason))


# The slot: due at 100 s, to be begun before 160 s.
@pytest.mark.parametrize(
    ("leaderships", "outages", "reason"),
    [
        ([], [], Reason.SCHEDULER_DOWN),
        ([led(0, 99)], [], Reason.SCHEDULER_DOWN),
        ([led(160, 300)], [], Reason.SCHEDULER_DOWN),
        ([led(0, 99), led(160, 300)], [], Reason.SCHEDULER_DOWN),
        ([led(0, 100)], [], Reason.UNKNOWN),
        ([led(0, 99), led(159, 300)], [], Reason.UNKNOWN),
        ([led(0, 300)], [away(90, 170)], Reason.BROKER_DOWN),
        ([led(0, 300)], [away(110, 120)], Reason.BROKER_DOWN),
        ([], [away(90, 170)], Reason.BROKER_DOWN),
        ([led(0, 300)], [away(10, 99), away(160, 170)], Reason.UNKNOWN),
        ([led(0, 300)], [away(90, 170, Reason.SCHEDULER_DOWN)], Reason.SCHEDULER_DOWN),
    ],
)
def test_what_beat_wrote_down(leaderships: list[Span], outages: list[Span], reason: Reason) -> None:
    """Outside of any leadership nobody sent it; in an outage nobody could; else beat sent it, and no more is known."""
    evidence = Evidence(leaderships=leaderships, outages=outages)
    assert why_missed(SLOT, at(100), at(160), rejected=False, evidence=evidence) == reason


@pytest.mark.parametrize(
    ("lost", "reason"),
    [
        (Span(at(0), at(99)), Reason.UNKNOWN),
        (Span(at(0), at(100)), Reason.LOST_IN_KAFKA),
        (Span(at(159), at(300)), Reason.LOST_IN_KAFKA),
        (Span(at(160), at(300)), Reason.UNKNOWN),
    ],
)
def test_what_kafka_lost(lost: Span, reason: Reason) -> None:
    """Its result may have been there in that time; where nobody sent it, it was not."""
    assert (
        why_missed(SLOT, at(100), at(160), rejected=False, evidence=Evidence(leaderships=[led(0, 300)], lost=[lost]))
        == reason
    )
    assert why_missed(SLOT, at(100), at(160), rejected=False, evidence=Evidence(lost=[lost])) == Reason.SCHEDULER_DOWN
    down = Evidence(leaderships=[led(0, 300)], outages=[away(90, 170)], lost=[lost])
    assert why_missed(SLOT, at(100), at(160), rejected=False, evidence=down) == Reason.BROKER_DOWN


@given(st.lists(st.builds(led, st.integers(0, 300), st.integers(0, 300)), max_size=3))
def test_a_reject_says_more_than_beat(leaderships: list[Span]) -> None:
    """The message was there, whatever beat says."""
    evidence = Evidence(leaderships=leaderships, outages=[away(90, 170)])
    assert why_missed(SLOT, at(100), at(160), rejected=True, evidence=evidence) == Reason.REJECTED


def test_a_message_that_is_still_there_says_more_than_beat() -> None:
    """In the queue nobody took it; with a worker, that one never came back. Of another slot it says nothing."""
    for reason in (Reason.EXPIRED, Reason.WORKER_LOST):
        evidence = Evidence(outages=[away(90, 170)], waiting={SLOT: reason})
        assert why_missed(SLOT, at(100), at(160), rejected=False, evidence=evidence) == reason
        other = (SLOT[0], SLOT[1] + 1)
        assert why_missed(other, at(100), at(160), rejected=False, evidence=evidence) == Reason.BROKER_DOWN
