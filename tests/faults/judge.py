"""
The invariant, as a pure function of what was seen: is every slot, message, delivery and row accounted for, once?

Knows nothing of how the evidence was got (evidence.py), and takes no word of the system's about its own counts. The
evidence may be taken while the system runs: `Evidence.ends` were read before the rows, the messages after them, so

    messages before the ends  ⊆  rows and rejects  ⊆  all messages

holds for a right system at any moment, and is the equation itself once nothing moves.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from tests.faults.records import Evidence, Expected, Outage, Partition, Place, Row, Schedule, Slot

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EXPIRED = "expired"
UNKNOWN = "unknown"
# How far apart a row's start of an attempt and the page's own note of the request may lie: a probe's time-out, and a
# thread that waits for its turn on a busy machine.
VISIT_BEFORE = timedelta(seconds=0.1)
VISIT_AFTER = timedelta(seconds=3.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """
    What is promised under a fault.

    ``may_miss``: slots that an outage touched may end without a result. ``may_reject``: good messages may be rejected.
    ``closed_until``: every slot that began by then is closed, so that each must be a row; None: none need be.
    """

    may_miss: bool = True
    may_reject: bool = False
    closed_until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """One way in which the invariant is broken, how often, and the first case."""

    kind: str
    count: int
    example: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The violations, none in a right system, and what was counted; ``unknown``: the first slots of that reason."""

    violations: tuple[Violation, ...]
    messages: int
    message_slots: int
    deliveries: int
    rows: int
    missed: Mapping[str, int]
    rejects: int
    redeliveries: int
    lost: int
    expected: int
    open_slots: int
    unknown: tuple[str, ...]


def judge(seen: Evidence, rules: Rules) -> Verdict:
    """Compare everything with everything."""
    found: list[tuple[str, object]] = []
    found += [("partition_not_read_to_its_end", p) for p, end in seen.ends.items() if seen.stored.get(p, 0) < end]
    found += _offsets_from_nowhere(seen)
    found += _twice(seen)
    found += _messages(seen)
    found += _rows(seen)
    places = {message.place for message in seen.messages}
    found += [("reject_without_message", reject.place) for reject in seen.rejects if reject.place not in places]
    found += _deliveries(seen)
    found += _bad_messages(seen, rules)
    found += _unfilled(seen, rules)
    return _verdict(seen, found)


def _verdict(seen: Evidence, found: Sequence[tuple[str, object]]) -> Verdict:
    kinds = Counter(kind for kind, _ in found)
    first = {kind: _shown(case) for kind, case in reversed(found)}
    slots = {m.slot for m in seen.messages if m.slot is not None}
    rejected = {reject.place for reject in seen.rejects}
    lost = sum(_is_lost(m.place, seen) for m in seen.messages)
    kept = [m.slot for m in seen.messages if m.place not in rejected and not _is_lost(m.place, seen)]
    return Verdict(
        violations=tuple(Violation(kind=kind, count=n, example=first[kind]) for kind, n in sorted(kinds.items())),
        messages=len(seen.messages),
        message_slots=len(slots),
        deliveries=len(seen.deliveries),
        rows=len(seen.rows),
        missed=dict(sorted(Counter(row.reason for row in seen.rows if row.outcome == "missed").items())),
        rejects=len(seen.rejects),
        redeliveries=len(kept) - len(set(kept)),
        lost=lost,
        expected=len(seen.expected),
        open_slots=len(_open(seen)),
        unknown=tuple(_shown(row.slot) for row in seen.rows if row.outcome == "missed" and row.reason == UNKNOWN)[:9],
    )


def _shown(case: object) -> str:
    if isinstance(case, Slot):
        return f"{case.site_id} at {case.scheduled_at.isoformat()}"
    if isinstance(case, Place):
        return f"partition {case.partition} offset {case.offset} of topic {case.topic_id}"
    return str(case)


def _twice(seen: Evidence) -> Iterable[tuple[str, object]]:
    for kind, counts in (
        ("row_twice", Counter[object](row.slot for row in seen.rows)),
        ("reject_twice", Counter[object](reject.place for reject in seen.rejects)),
    ):
        yield from ((kind, one) for one, count in counts.items() if count > 1)


def _offsets_from_nowhere(seen: Evidence) -> Iterable[tuple[str, object]]:
    """Postgres must not claim to have read what was never written."""
    ends: dict[Partition, int] = dict(seen.ends)
    for message in seen.messages:
        partition = Partition(message.place.topic_id, message.place.partition)
        ends[partition] = max(ends.get(partition, 0), message.place.offset + 1)
    for partition, stored in seen.stored.items():
        if partition.topic_id not in seen.gone and stored > ends.get(partition, 0):
            yield "offset_beyond_the_end", (partition, stored)


def _is_lost(place: Place, seen: Evidence) -> bool:
    partition = Partition(place.topic_id, place.partition)
    return any(one.partition == partition and one.first <= place.offset < one.end for one in seen.lost or ())


def _messages(seen: Evidence) -> Iterable[tuple[str, object]]:
    """Each message before the ends is a row, a reject, a redelivery of a row, or lost and written down; only one."""
    rows = {row.slot for row in seen.rows}
    filled = {row.slot for row in seen.rows if row.outcome != "missed"}
    rejected = {reject.place for reject in seen.rejects}
    for message in seen.messages:
        # A missed slot's message may have been overtaken by a real result; a real result's never by anything.
        stored = rows if message.missed else filled
        place, lost = message.place, _is_lost(message.place, seen)
        if lost and place.topic_id not in seen.gone:
            yield "lost_though_in_kafka", place
        if lost and place in rejected:
            yield "message_counted_twice", place
        if lost or place in rejected or message.slot in stored:
            continue
        if place.topic_id in seen.gone:
            # Nobody can read it any more; that must be written down, where there is a place to write it.
            if seen.lost is not None:
                yield "lost_without_a_record", place
        elif place.offset < seen.ends.get(Partition(place.topic_id, place.partition), 0):
            yield "message_without_row", place


def _rows(seen: Evidence) -> Iterable[tuple[str, object]]:
    """Each row comes from a message that was not rejected, is a slot of the schedule, and was seen by its page."""
    rejected = {reject.place for reject in seen.rejects}
    published = {message.slot for message in seen.messages if message.place not in rejected and not message.missed}
    for row in seen.rows:
        if row.outcome != "missed" and row.slot not in published:
            yield "row_without_message", row.slot
        schedule = seen.schedules.get(row.slot.site_id)
        if seen.schedules and (
            schedule is None or (row.slot.scheduled_at - EPOCH - schedule.splay) % schedule.interval
        ):
            yield "row_off_schedule", row.slot
        if row.outcome == "up" and seen.visits and not _visited(row, seen.visits.get(row.slot.site_id, ())):
            yield "row_without_visit", row.slot


def _on_schedule(slot: Slot, schedule: Schedule | None) -> bool:
    return schedule is not None and not (slot.scheduled_at - EPOCH - schedule.splay) % schedule.interval


def _visited(row: Row, visits: Sequence[datetime]) -> bool:
    if row.started_at is None:
        return False
    return any(row.started_at - VISIT_BEFORE <= at <= row.started_at + VISIT_AFTER for at in visits)


def _deliveries(seen: Evidence) -> Iterable[tuple[str, object]]:
    """
    What Kafka confirmed, Kafka has: the same slot at the same place.

    In a topic that is gone it may have been where nobody read it before the topic was deleted.
    """
    held = {(message.place.partition, message.place.offset, message.slot) for message in seen.messages}
    if seen.gone:
        return
    for one in seen.deliveries:
        if (one.partition, one.offset, one.slot) not in held:
            yield "delivery_not_in_kafka", one.slot


def _bad_messages(seen: Evidence, rules: Rules) -> Iterable[tuple[str, object]]:
    """What was published to be rejected is, for the reason that it was made for; nothing else is."""
    reasons = {reject.place: reject.reason for reject in seen.rejects}
    for place, reason in seen.bad.items():
        if place not in reasons and place.offset < seen.ends.get(Partition(place.topic_id, place.partition), 0):
            yield "bad_message_not_rejected", place
        elif reasons.get(place, reason) != reason:
            yield "rejected_for_another_reason", place
    if not rules.may_reject:
        yield from (("good_message_rejected", place) for place in reasons if place not in seen.bad)


def _open(seen: Evidence) -> list[Expected]:
    """Expected slots that are no row."""
    ended = {row.slot for row in seen.rows}
    return [one for one in seen.expected if one.slot not in ended]


def _unfilled(seen: Evidence, rules: Rules) -> Iterable[tuple[str, object]]:
    """
    Slots without a result: closed by now, each of them touched by a fault, and none where nothing may be missed.

    `expired` is no fault but a machine that has too much to do: the message was there, and no worker began it in time.
    """
    still_open = _open(seen)
    rejected = {reject.slot for reject in seen.rejects}  # closed as missed, when their time has come
    missed = {row.slot for row in seen.rows if row.outcome == "missed" and row.reason != EXPIRED}
    until = rules.closed_until
    if until is not None:
        yield from (("slot_open", one.slot) for one in still_open if one.slot.scheduled_at <= until)
    waiting = [one for one in still_open if one.slot not in rejected]
    for kind, slots in (("open", waiting), ("missed", [one for one in seen.expected if one.slot in missed])):
        for one in slots:
            if not any(_touches(one, outage) for outage in seen.outages):
                yield f"slot_{kind}_outside_a_fault", one.slot
            elif not rules.may_miss:
                yield f"slot_{kind}_though_nothing_may_be", one.slot


def _touches(one: Expected, outage: Outage) -> bool:
    return one.slot.scheduled_at <= outage.recovered_at and one.ends_at >= outage.began_at
