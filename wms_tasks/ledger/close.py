"""
Closes slots: past a grace period, a slot without a result becomes a `missed` row with its reason.

Only as far as each shard's beat has said what it sent, as the sites are known, and as everything that was in Kafka is
stored. Called by the closing task every ten seconds; may be called by several at once, and again after any failure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, cast

import redis
import structlog
from psycopg import Connection

from wms_tasks import clock, metrics
from wms_tasks.broker import connect_redis
from wms_tasks.codec import json_codec
from wms_tasks.errors import CodecError
from wms_tasks.ledger.passed import all_ends
from wms_tasks.ledger.waiting import SlotKey, waiting_slots
from wms_tasks.ledger.why import Evidence, why_missed
from wms_tasks.names import ANNOUNCE_KEY, UNPUBLISHED_KEY
from wms_tasks.result import Outcome, Reason, Result
from wms_tasks.schedule.announce import Word
from wms_tasks.schedule.slots import Slots
from wms_tasks.settings import Settings
from wms_tasks.shard import Shard, shard_named
from wms_tasks.store import ledger
from wms_tasks.store.connect import TASK_LIMIT_SECONDS, session
from wms_tasks.store.ledger import Ends, LastWord, MissingSlot, Span
from wms_tasks.store.partitions import ensure_days

log = structlog.get_logger()

# One turn's work; what is left is the next one's.
TURN_SECONDS = 8.0
# One transaction's: so many slots are looked up in some two seconds.
STEP_SLOTS = 100_000
LONGEST_STEP = timedelta(days=1)
INSERT_ROWS = 5_000
# Six words, and longer than a second beat needs to take over. As much later close the slots of the others, once.
SILENT_SECONDS = 60.0


def close_slots(settings: Settings, word: Word) -> int:
    """
    Take in beat's word and what workers could not publish, then close what can be closed.

    Returns:
        How many slots were missed.
    Raises:
        ServiceUnavailable: Postgres, Kafka or Redis does not answer.
        TopicMissingError: there is no topic.
        MigrationError: the schema is older than this release.
    """
    note(settings, word)
    missed = drain_unpublished(settings)
    until = _closable(settings, word, all_ends(settings))
    if until is None:
        return missed
    waiting = waiting_slots(settings)
    ends_at = clock.monotonic() + TURN_SECONDS
    while clock.monotonic() < ends_at:
        step = close_step(settings, until, waiting)
        if step is None:
            break
        missed += step
    return missed


def note(settings: Settings, word: Word) -> None:
    """Write down what beat said, and ask it for its sites if they are not known."""
    shard = shard_named(word.shard)
    with session(settings, "ledger", limit_seconds=TASK_LIMIT_SECONDS) as connection:
        ledger.lock(connection)
        until_at = clock.from_microseconds(word.until_us)
        led = Span(clock.from_microseconds(word.from_us), until_at, shard=shard)
        ledger.note_leadership(connection, word.leadership, led, clock.from_microseconds(word.before_us))
        outages = [
            Span(clock.from_microseconds(o.from_us), clock.from_microseconds(o.until_us), o.reason, shard)
            for o in word.outages
        ]
        ledger.note_outages(connection, word.leadership, outages)
        ledger.note_word(connection, shard, until_at=until_at, generation=word.generation)
        known = ledger.newest_generation(connection, shard)
    if known < word.generation:
        _ask_for_sites(settings, shard, word.generation)


def _ask_for_sites(settings: Settings, shard: Shard, generation: int) -> None:
    """Beat waits a minute before it answers twice: its announcement may be on its way."""
    try:
        with connect_redis(settings) as client:
            client.set(f"{settings.key_prefix}{shard.key(ANNOUNCE_KEY)}", generation)
    except redis.RedisError as error:
        log.warning("ledger.sites_not_asked_for", error=str(error))


def drain_unpublished(settings: Settings) -> int:
    """What workers could not tell Kafka becomes rows; how many are new. Removed from Redis once it is stored."""
    missed = 0
    try:
        with connect_redis(settings) as client:
            while (part := _drain_part(settings, client)) is not None:
                missed += part
    except redis.RedisError as error:
        log.warning("ledger.unpublished_not_read", error=str(error))
    return missed


def _drain_part(settings: Settings, client: redis.Redis) -> int | None:
    key = f"{settings.key_prefix}{UNPUBLISHED_KEY}"
    entries = cast(list[Any], client.lrange(key, 0, INSERT_ROWS - 1))
    if not entries:
        return None
    results = [one for raw in entries if (one := _missed_result(raw)) is not None]
    with session(settings, "ledger", limit_seconds=TASK_LIMIT_SECONDS) as connection:
        missed = _insert(connection, results, settings)
    # The worker that gave a slot up for another reason has counted that.
    _count(Counter({Reason.NOT_PUBLISHED: missed[Reason.NOT_PUBLISHED]}))
    with client.pipeline(transaction=False) as pipe:
        for raw in entries:
            # By value and from the head, so that whoever drains at the same time removes nothing unread.
            pipe.lrem(key, 1, raw)
        pipe.execute()
    return missed.total()


def _missed_result(raw: bytes) -> Result | None:
    try:
        result = json_codec.decode(raw)
    except CodecError as error:
        log.error("ledger.unpublished_unreadable", error=error.message)
        return None
    return result if result.outcome == Outcome.MISSED else None


def _closable(settings: Settings, word: Word, topics: list[Ends]) -> datetime | None:
    """
    Slots may be closed whose deadline was before this; None: none.

    As far as every shard has said what it sent. One that is silent while others speak is waited for a while, and then
    not: of its slots there is its silence to tell.
    """
    with session(settings, "ledger", limit_seconds=TASK_LIMIT_SECONDS) as connection:
        ledger.lock(connection)
        passed = [ledger.note_ends(connection, ends) for ends in topics]
        words = ledger.words(connection)
    everywhere = [one for one in passed if one is not None]
    if len(everywhere) < len(passed):
        return None
    said = [_said_until(one) for one in words if one.shard == word.shard or one.silent_seconds < SILENT_SECONDS]
    return min(*everywhere, *said) - timedelta(seconds=settings.grace_seconds)


def _said_until(word: LastWord) -> datetime:
    """Of the time since a beat changed its sites, nothing is known before they are."""
    if word.known >= word.generation:
        return word.until_at
    return min(word.until_at, clock.from_microseconds(word.generation))


def close_step(settings: Settings, until: datetime, waiting: Mapping[SlotKey, Reason]) -> int | None:
    """
    Close a step further towards ``until``, in one transaction.

    Args:
        waiting: see `wms_tasks.ledger.waiting`.
    Returns:
        How many slots were missed; None where there is nothing left to close, or somebody else is at it.
    """
    with session(settings, "ledger", limit_seconds=TASK_LIMIT_SECONDS) as connection:
        if not ledger.try_lock(connection):
            return None
        since = ledger.closed_until(connection)
        if since is None or since >= until:
            return None
        since = max(since, _oldest(settings))
        rate = ledger.slots_a_second(connection)
        step = min(LONGEST_STEP, timedelta(seconds=STEP_SLOTS / rate)) if rate else LONGEST_STEP
        until = min(until, since + step)
        found = _missed_slots(connection, settings, since, until, waiting)
        missed: Counter[str] = Counter()
        for part in _parts(found):
            missed += _insert(connection, part, settings)
        ledger.close_until(connection, until)
    _count(missed)
    if missed:
        log.warning("ledger.slots_missed", slots=missed.total(), until=until.isoformat())
    return missed.total()


def _missed_slots(
    connection: Connection[Any],
    settings: Settings,
    since: datetime,
    until: datetime,
    waiting: Mapping[SlotKey, Reason],
) -> Iterator[Result]:
    earliest = since - LONGEST_STEP
    evidence = Evidence(
        leaderships=ledger.leaderships(connection, earliest),
        outages=ledger.outages(connection, earliest),
        lost=ledger.lost_lives(connection, earliest),
        waiting=waiting,
    )
    for slot in ledger.missing_slots(connection, since, until):
        yield missed_result(slot, evidence, worker=settings.worker_name)


def missed_result(slot: MissingSlot, evidence: Evidence, *, worker: str) -> Result:
    """The row of a slot that nobody filled."""
    slots = Slots(slot.site_id.bytes, slot.interval_us, slot.jitter_us, slot.splay_us)
    slot_us = clock.to_microseconds(slot.scheduled_at)
    due_us = slots.due(slot_us)
    due_at = clock.from_microseconds(due_us)
    expires_at = clock.from_microseconds(slots.expires(slot_us, due_us, slot.max_lateness_us))
    return Result(
        site_id=slot.site_id,
        site_name=slot.site_name,
        location=slot.location,
        scheduled_at=slot.scheduled_at,
        due_at=due_at,
        started_at=None,
        attempt=0,
        outcome=str(Outcome.MISSED),
        reason=str(why_missed((slot.site_id, slot_us), due_at, expires_at, rejected=slot.rejected, evidence=evidence)),
        detail=None,
        status_code=None,
        response_time_ms=None,
        matched=None,
        worker=worker,
        spec_digest=slot.spec_digest,
    )


def _parts(results: Iterator[Result]) -> Iterator[list[Result]]:
    while part := list(islice(results, INSERT_ROWS)):
        yield part


def _count(missed: Counter[str]) -> None:
    """They are committed."""
    for reason, slots in missed.items():
        metrics.MISSED.inc(reason, by=slots)


def _insert(connection: Connection[Any], results: list[Result], settings: Settings) -> Counter[str]:
    """Rows for those whose day is kept; how many are new, by reason."""
    oldest = _oldest(settings)
    wanted = [one for one in results if one.scheduled_at >= oldest]
    ensure_days(connection, {one.scheduled_at.date() for one in wanted})
    return ledger.insert_missed(connection, wanted) if wanted else Counter()


def _oldest(settings: Settings) -> datetime:
    """Of what was before, the partitions may be dropped, and are not made again."""
    return clock.utcnow() - timedelta(days=settings.retention_days)
