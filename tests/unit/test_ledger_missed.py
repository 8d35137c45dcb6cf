"""What a worker says of a slot it did not fill: pure decisions."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from tests.ledgers import a_site
from tests.results import a_result
from wms_tasks.fill import decide
from wms_tasks.fill.decide import Here, TooLate
from wms_tasks.order import ProbeOrder
from wms_tasks.result import Outcome, Reason

HERE = Here(location="local", worker="w")
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
ORDER = ProbeOrder(site=a_site(), scheduled_at=NOON, due_at=NOON, expires_at=NOON + timedelta(seconds=10))
IN_HAND = a_result(outcome="down", reason="timeout", attempt=2)


@pytest.mark.parametrize(("redelivered", "reason"), [(False, Reason.EXPIRED), (True, Reason.WORKER_LOST)])
def test_a_message_nobody_began(redelivered: bool, reason: Reason) -> None:
    """Nobody had it, or somebody who did not end it; either way nothing was sent to the site that is told of."""
    result = decide.left_in_queue(ORDER, redelivered=redelivered, here=HERE)
    assert (result.outcome, result.reason) == (Outcome.MISSED, reason)
    assert (result.site_id, result.scheduled_at, result.due_at) == (ORDER.site.site_id, NOON, NOON)
    assert (result.attempt, result.started_at, result.status_code) == (0, None, None)
    assert result.spec_digest == ORDER.site.digest()


@pytest.mark.parametrize("field", ["last", "result"])
@pytest.mark.parametrize("redelivered", [False, True])
def test_a_message_with_a_result_in_hand_ends_its_slot_with_it(field: str, redelivered: bool) -> None:
    """It waited for another attempt, or for Kafka."""
    order = msgspec.structs.replace(ORDER, **{field: IN_HAND})
    assert decide.left_in_queue(order, redelivered=redelivered, here=HERE) == IN_HAND


def test_a_slot_that_ended_while_redis_was_away_is_the_brokers() -> None:
    """One that was begun too late is not."""
    assert decide.politeness_away(ORDER, ORDER.expires_at) == TooLate(reason=Reason.BROKER_DOWN)
    assert decide.begin(ORDER, ORDER.expires_at) == TooLate(reason=Reason.EXPIRED)


def test_the_attempts_of_a_missed_slot_are_not_told_of() -> None:
    """The row is not that attempt's."""
    order = msgspec.structs.replace(ORDER, last=IN_HAND)
    assert decide.missed(order, Reason.EXPIRED, HERE).attempt == 0
