"""The judge on made-up evidence: a right system holds, and each way to break the invariant is seen for what it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.faults.judge import Rules, judge
from tests.faults.records import (
    Delivery,
    Evidence,
    Expected,
    LostRange,
    Message,
    Outage,
    Partition,
    Place,
    Reject,
    Row,
    Schedule,
    Slot,
)

SITE = UUID("9f0e2f60-3f5e-5c0b-9f0e-77656273697a")
BEGAN = datetime(2026, 11, 23, 7, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
NOW, OLD = Partition("now", 0), Partition("old", 0)
COUNT = 6


def slot(n: int) -> Slot:
    """The n-th slot of the one site."""
    return Slot(SITE, "local", BEGAN + n * SECOND)


def row(n: int, outcome: str = "up") -> Row:
    """Its row."""
    return Row(slot(n), outcome, "ok", slot(n).scheduled_at)


def message(n: int, offset: int | None = None, *, topic_id: str = "now", of: Slot | None = None) -> Message:
    """Its message, at offset n unless said otherwise."""
    return Message(Place(topic_id, 0, n if offset is None else offset), of or slot(n))


def right() -> Evidence:
    """Six slots: five rows, the last a reject; each published once and confirmed."""
    return Evidence(
        messages=[message(n) for n in range(COUNT)],
        ends={NOW: COUNT},
        stored={NOW: COUNT},
        deliveries=[Delivery(slot(n), 0, n) for n in range(COUNT)],
        rows=[row(n) for n in range(COUNT - 1)],
        rejects=[Reject(Place("now", 0, COUNT - 1), slot(COUNT - 1))],
        lost=[],
        expected=[Expected(slot(n), slot(n).scheduled_at + SECOND) for n in range(COUNT)],
        schedules={SITE: Schedule(timedelta(0), SECOND)},
        visits={SITE: [slot(n).scheduled_at + 0.2 * SECOND for n in range(COUNT)]},
    )


def kinds(seen: Evidence, **rules: bool | datetime) -> dict[str, int]:
    """What the judge finds, where a good message may be rejected, as the last of `right` is."""
    return {one.kind: one.count for one in judge(seen, Rules(**{"may_reject": True, **rules})).violations}  # type: ignore[arg-type]


def test_a_right_system_holds() -> None:
    """No violation, and the figures are those of the evidence."""
    seen = right()
    seen = replace(seen, rejects=[], rows=[row(n) for n in range(COUNT)])
    verdict = judge(seen, Rules(closed_until=slot(COUNT).scheduled_at))
    assert verdict.violations == ()
    assert (verdict.messages, verdict.message_slots, verdict.rows, verdict.rejects) == (6, 6, 6, 0)
    assert (verdict.redeliveries, verdict.open_slots, verdict.lost, verdict.expected) == (0, 0, 0, 6)


def test_what_comes_after_the_ends_may_wait() -> None:
    """The system goes on while evidence is gathered: a message past the ends needs no row yet."""
    seen = right()
    later = replace(seen, messages=[*seen.messages, message(COUNT)])
    assert kinds(later) == {}


def test_redeliveries_and_unconfirmed_messages_are_right() -> None:
    """A slot published twice is one row; Kafka may hold what no worker knows it holds."""
    seen = right()
    twice = replace(
        seen,
        messages=[*seen.messages, message(0, offset=COUNT)],
        ends={NOW: COUNT + 1},
        stored={NOW: COUNT + 1},
        deliveries=seen.deliveries[1:],
    )
    assert kinds(twice) == {}
    assert judge(twice, Rules()).redeliveries == 1


def test_what_was_lost_and_written_down_is_right() -> None:
    """Messages of a topic that is gone are accounted for by their range, or by the rows that were written before."""
    seen = right()
    lost = replace(
        seen,
        messages=[message(7, 0, topic_id="old"), message(8, 1, topic_id="old"), *seen.messages],
        rows=[*seen.rows, row(7, "down")],
        lost=[LostRange(OLD, 1, 2)],
        gone=frozenset({"old"}),
    )
    assert kinds(lost) == {}
    assert judge(lost, Rules()).lost == 1


def test_lost_offsets_need_a_record_only_where_there_is_a_table_for_it() -> None:
    """A schema without lost_offsets cannot say it; with the table, saying nothing is a violation."""
    seen = replace(right(), messages=[message(8, 1, topic_id="old"), *right().messages], gone=frozenset({"old"}))
    assert kinds(replace(seen, lost=None)) == {}
    assert kinds(seen) == {"lost_without_a_record": 1}


def test_a_missed_row_needs_no_message_and_no_visit() -> None:
    """It says that there was none."""
    seen = right()
    missed = replace(
        seen,
        messages=seen.messages[1:],
        deliveries=seen.deliveries[1:],
        rows=[row(0, "missed"), *seen.rows[1:]],
        visits={SITE: list(seen.visits[SITE])[1:]},
    )
    touched = [Outage(slot(0).scheduled_at, slot(0).scheduled_at)]
    assert kinds(replace(missed, outages=touched), closed_until=slot(COUNT - 2).scheduled_at) == {}
    assert judge(missed, Rules()).missed == {"ok": 1}
    assert kinds(missed) == {"slot_missed_outside_a_fault": 1}
    busy = replace(missed, rows=[row(0, "missed")._replace(reason="expired"), *seen.rows[1:]])
    assert kinds(busy, may_miss=False) == {}
    assert kinds(replace(missed, outages=touched), may_miss=False) == {"slot_missed_though_nothing_may_be": 1}


@pytest.mark.parametrize(
    ("kind", "broken"),
    [
        ("message_without_row", lambda seen: replace(seen, rows=seen.rows[1:], expected=[])),
        ("row_without_message", lambda seen: replace(seen, messages=seen.messages[1:], deliveries=[])),
        ("row_twice", lambda seen: replace(seen, rows=[*seen.rows, seen.rows[0]])),
        ("reject_twice", lambda seen: replace(seen, rejects=[*seen.rejects, seen.rejects[0]])),
        ("reject_without_message", lambda seen: replace(seen, messages=seen.messages[:-1], deliveries=[], ends={})),
        ("delivery_not_in_kafka", lambda seen: replace(seen, deliveries=[Delivery(slot(0), 0, 99)])),
        ("delivery_not_in_kafka", lambda seen: replace(seen, deliveries=[Delivery(slot(9), 0, 0)])),
        ("partition_not_read_to_its_end", lambda seen: replace(seen, stored={NOW: COUNT - 1})),
        ("partition_not_read_to_its_end", lambda seen: replace(seen, stored={})),
        ("offset_beyond_the_end", lambda seen: replace(seen, stored={NOW: COUNT + 1})),
        ("lost_though_in_kafka", lambda seen: replace(seen, lost=[LostRange(NOW, 0, 1)])),
        ("row_without_visit", lambda seen: replace(seen, visits={SITE: list(seen.visits[SITE])[:-4]})),
        ("row_off_schedule", lambda seen: replace(seen, schedules={SITE: Schedule(0.5 * SECOND, SECOND)})),
        ("row_off_schedule", lambda seen: replace(seen, schedules={UUID(int=1): Schedule(timedelta(0), SECOND)})),
    ],
)
def test_each_way_to_break_it_is_seen(kind: str, broken: Callable[[Evidence], Evidence]) -> None:
    """The violation is named."""
    assert kind in kinds(broken(right()))


def test_a_row_that_comes_from_a_rejected_message_only_is_seen() -> None:
    """A message is a row or a reject, never both."""
    seen = right()
    assert kinds(replace(seen, rejects=[*seen.rejects, Reject(Place("now", 0, 0), slot(0))])) == {
        "row_without_message": 1
    }


def test_a_message_that_is_rejected_and_lost_is_counted_twice() -> None:
    """Also where its topic is gone."""
    seen = right()
    both = replace(
        seen,
        messages=[message(8, 1, topic_id="old"), *seen.messages],
        rejects=[*seen.rejects, Reject(Place("old", 0, 1), slot(8))],
        lost=[LostRange(OLD, 0, 5)],
        gone=frozenset({"old"}),
    )
    assert kinds(both) == {"message_counted_twice": 1}


def test_open_slots() -> None:
    """A slot without an end may stay open where a fault touched it, as long as nothing closes slots."""
    seen = right()
    touched = Outage(slot(2).scheduled_at, slot(3).scheduled_at)
    unsent = replace(
        seen,
        messages=[one for one in seen.messages if one.slot != slot(3)],
        deliveries=[one for one in seen.deliveries if one.slot != slot(3)],
        rows=[one for one in seen.rows if one.slot != slot(3)],
        outages=[touched],
    )
    assert kinds(unsent) == {}
    assert judge(unsent, Rules()).open_slots == 2  # the rejected one too
    assert kinds(unsent, may_miss=False) == {"slot_open_though_nothing_may_be": 1}
    assert kinds(unsent, closed_until=slot(3).scheduled_at) == {"slot_open": 1}
    assert kinds(unsent, closed_until=slot(2).scheduled_at) == {}
    assert kinds(replace(unsent, outages=[])) == {"slot_open_outside_a_fault": 1}
    assert kinds(replace(unsent, outages=[touched._replace(recovered_at=slot(2).scheduled_at)])) == {
        "slot_open_outside_a_fault": 1
    }


@given(st.data())
def test_no_single_row_message_or_reject_can_go_unnoticed(data: st.DataObject) -> None:
    """Take any one thing away from a right system, or put any one there twice, and the judge sees it."""
    seen = right()
    part = data.draw(st.sampled_from(["messages", "rows", "rejects"]))
    things = list(getattr(seen, part))
    index = data.draw(st.integers(0, len(things) - 1))
    if part != "messages" and data.draw(st.booleans()):
        things.append(things[index])
    else:
        del things[index]
    assert kinds(replace(seen, **{part: things})) != {}


def test_a_missed_message_is_a_row_of_any_outcome() -> None:
    """A worker's word that its slot was missed becomes a missed row, or is overtaken by a real result."""
    seen = replace(right(), outages=[Outage(BEGAN, BEGAN)])
    said = seen.messages[0]._replace(missed=True)
    word_only = replace(seen, messages=[said, *seen.messages[1:]])
    assert kinds(replace(word_only, rows=[row(0, "missed"), *seen.rows[1:]])) == {}
    assert kinds(word_only) == {"row_without_message": 1}
    both = replace(seen, messages=[*seen.messages, said._replace(place=Place("now", 0, COUNT))], ends={NOW: COUNT + 1})
    both = replace(both, stored={NOW: COUNT + 1})
    assert kinds(both) == {}
    assert kinds(replace(both, rows=[row(0, "missed"), *seen.rows[1:]])) == {"message_without_row": 1}
