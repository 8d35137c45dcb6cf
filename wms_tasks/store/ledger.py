"""
The ledger's tables: the sites' schedules in ranges, what beat said, how far Kafka is stored, and closing slots.

Called by `wms_tasks.ledger`, which decides; each call is part of the caller's transaction, under `lock`. Statements
are in ledger.sql. The balance is balance.py's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from psycopg import Connection
from psycopg.rows import class_row

from wms_tasks.result import Result
from wms_tasks.shard import ALL_SITES, Shard, shard_named
from wms_tasks.store.queries import query

# Rows fetched at a time from a cursor that stays on the server.
_FETCH_ROWS = 5_000
# Three words of any beat.
QUIET_SECONDS = 30


class Grid(NamedTuple):
    """A current range: whose, and its slots, in microseconds."""

    site_id: UUID
    location: str
    valid_from: datetime
    interval_us: int
    splay_us: int
    jitter_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MissingSlot:
    """An expected slot without a row, and its site's schedule. ``rejected``: a message of it is among the rejects."""

    site_id: UUID
    location: str
    site_name: str
    spec_digest: str
    interval_us: int
    splay_us: int
    jitter_us: int
    max_lateness_us: int
    scheduled_at: datetime
    rejected: bool


class Span(NamedTuple):
    """From an instant until another; ``reason`` of an outage. ``shard``: of whose sites; of all that have none."""

    from_at: datetime
    until_at: datetime
    reason: str = ""
    shard: Shard = ALL_SITES


@dataclass(frozen=True, slots=True, kw_only=True)
class LastWord:
    """
    Until when the shard's beat had sent all that fell due, for which generation of its sites, and which the ledger
    knows (``known``).
    """

    shard: str
    until_at: datetime
    generation: int
    known: int
    silent_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Ends:
    """The offsets after the last message of every partition of one life of the topic, asked for at ``asked_at``."""

    cluster_id: str
    topic: str
    topic_id: str
    asked_at: datetime
    ends: Mapping[int, int]


def lock(connection: Connection[Any]) -> None:
    """Until the end of the transaction, nobody else changes the ledger; waits at most ``lock_timeout``."""
    connection.execute(query("lock_ledger"))


def try_lock(connection: Connection[Any]) -> bool:
    """`lock`, or False at once."""
    return bool(_value(connection, "try_lock_ledger"))


def newest_generation(connection: Connection[Any], shard: Shard) -> int:
    """The newest generation of a shard's sites that was taken in; 0: none."""
    return int(_value(connection, "newest_generation", {"shard": str(shard)}))


def note_chunk(connection: Connection[Any], shard: Shard, *, generation: int, chunk: int, sites_json: bytes) -> int:
    """
    Keep a part of an announcement until the rest is there; one that came before changes nothing.

    Args:
        sites_json: an array of objects with the columns of wms.announced.
    Returns:
        How many different chunks of its generation are here.
    """
    which = {"shard": str(shard), "generation": generation, "chunk": chunk}
    if connection.execute(query("note_chunk"), which).rowcount:
        connection.execute(query("note_announced"), {**which, "sites": sites_json.decode()})
    return int(_value(connection, "chunks_here", which))


def ended_ranges(connection: Connection[Any], shard: Shard, generation: int) -> Iterator[Grid]:
    """
    The current ranges of the shard's sites that this generation does not go on with, some thousands at a time in
    memory.
    """
    connection.execute(query("hash_joins"))
    with connection.cursor("ended_ranges") as cursor:
        cursor.itersize = _FETCH_ROWS
        which = {"shard": str(shard), "generation": generation, "number": shard.number, "count": shard.count}
        cursor.execute(query("ended_ranges"), which)
        for row in cursor:
            yield Grid(*row)


def end_ranges(connection: Connection[Any], ends: Sequence[tuple[Grid, datetime]]) -> None:
    """End each current range before the slot given with it; one that never had a slot is gone."""
    parameters = [{"site_id": g.site_id, "location": g.location, "valid_to": at} for g, at in ends]
    with connection.cursor() as cursor:
        cursor.executemany(query("end_range"), parameters)
    connection.execute(query("drop_empty_ranges"))


def begin_ranges(connection: Connection[Any], shard: Shard, generation: int) -> int:
    """
    Begin what this generation of a shard has and the ledger has not; the generation counts as taken in.

    Returns:
        How many ranges began.
    """
    which = {"shard": str(shard), "generation": generation}
    connection.execute(query("hash_joins"))
    begun = int(_value(connection, "begin_ranges", which))
    for name in ("generation_applied", "forget_chunks", "forget_announced"):
        connection.execute(query(name), which)
    return begun


def note_leadership(connection: Connection[Any], leadership: UUID, led: Span, before_at: datetime) -> None:
    """A beat led for this long and has sent all that fell due; the one before it had done so until ``before_at``."""
    which = {
        "leadership": leadership,
        "shard": str(led.shard),
        "from_at": led.from_at,
        "until_at": led.until_at,
        "before_at": before_at,
    }
    connection.execute(query("note_leadership"), which)
    connection.execute(query("extend_leader_before"), which)


def note_word(connection: Connection[Any], shard: Shard, *, until_at: datetime, generation: int) -> None:
    """
    Remember how far a shard's beat has come, and that it was heard of now.

    Where nobody was for `QUIET_SECONDS`, nothing could be heard: nobody's silence has lasted for longer than from now.
    """
    which = {"shard": str(shard), "until_at": until_at, "generation": generation, "quiet": QUIET_SECONDS}
    connection.execute(query("forget_words"))
    connection.execute(query("break_silence"), which)
    connection.execute(query("note_word"), which)


def words(connection: Connection[Any]) -> list[LastWord]:
    """The last word of each shard, and for how long it has been silent since."""
    with connection.cursor(row_factory=class_row(LastWord)) as cursor:
        return cursor.execute(query("words")).fetchall()


def note_outages(connection: Connection[Any], leadership: UUID, outages: Sequence[Span]) -> None:
    """In these times it could not send, for these reasons."""
    with connection.cursor() as cursor:
        cursor.executemany(
            query("note_outage"),
            [
                {
                    "leadership": leadership,
                    "shard": str(o.shard),
                    "from_at": o.from_at,
                    "until_at": o.until_at,
                    "reason": o.reason,
                }
                for o in outages
            ],
        )


def leaderships(connection: Connection[Any], since: datetime) -> list[Span]:
    """When a beat led, oldest first, as far as it touches the time from ``since`` on."""
    found = connection.execute(query("leaderships_in"), {"since": since})
    return [Span(from_at, until_at, shard=shard_named(shard)) for from_at, until_at, shard in found]


def outages(connection: Connection[Any], since: datetime) -> list[Span]:
    """When a beat could not send, oldest first, as far as it touches the time from ``since`` on."""
    found = connection.execute(query("outages_in"), {"since": since})
    return [Span(from_at, until_at, reason, shard_named(shard)) for from_at, until_at, reason, shard in found]


def lost_lives(connection: Connection[Any], since: datetime) -> list[Span]:
    """
    When came what was lost with earlier topics of our names, as far as it touches the time from ``since`` on.

    From when all that had come was stored, if that was ever asked for, until it was noticed that there is another
    topic.
    """
    return [Span(*row) for row in connection.execute(query("lost_lives_in"), {"since": since})]


def note_ends(connection: Connection[Any], ends: Ends) -> datetime | None:
    """
    Compare Kafka's ends with what is stored.

    Returns:
        Everything that was in Kafka then, in any partition, is stored; None where a partition was never passed.
    """
    partitions = sorted(ends.ends)
    parameters = {
        "cluster_id": ends.cluster_id,
        "topic": ends.topic,
        "topic_id": ends.topic_id,
        "asked_at": ends.asked_at,
        "partitions": partitions,
        "ends": [ends.ends[partition] for partition in partitions],
    }
    connection.execute(query("note_ends"), parameters)
    passed: datetime | None = _value(connection, "passed_until", parameters)
    return passed


def closed_until(connection: Connection[Any]) -> datetime | None:
    """Every expected slot whose deadline was before this has a row; None before the first schedule is known."""
    row = connection.execute(query("closed_until")).fetchone()
    return row[0] if row else None


def close_until(connection: Connection[Any], until: datetime) -> None:
    """Remember how far slots are closed."""
    connection.execute(query("close_until"), {"until": until})


def slots_a_second(connection: Connection[Any]) -> float:
    """How many slots begin each second."""
    return float(_value(connection, "slots_a_second"))


def missing_slots(connection: Connection[Any], since: datetime, until: datetime) -> Iterator[MissingSlot]:
    """Slots without a row whose deadline is in [since, until), some thousands at a time in memory, in no order."""
    connection.execute(query("nested_loops"))
    with connection.cursor("missing_slots", row_factory=class_row(MissingSlot)) as cursor:
        cursor.itersize = _FETCH_ROWS
        cursor.execute(query("missing_slots"), {"since": since, "until": until})
        yield from cursor


def insert_missed(connection: Connection[Any], results: Sequence[Result]) -> Counter[str]:
    """Rows of missed slots, where there is none; how many are new, by reason. Their days must have partitions."""
    columns = {
        "site_ids": [one.site_id for one in results],
        "locations": [one.location for one in results],
        "scheduled": [one.scheduled_at for one in results],
        "names": [one.site_name for one in results],
        "due": [one.due_at for one in results],
        "reasons": [one.reason for one in results],
        "workers": [one.worker for one in results],
        "digests": [one.spec_digest for one in results],
        "versions": [one.schema_version for one in results],
    }
    return Counter(reason for (reason,) in connection.execute(query("insert_missed"), columns))


def _value(connection: Connection[Any], name: str, parameters: Mapping[str, Any] | None = None) -> Any:
    row = connection.execute(query(name), parameters).fetchone()
    assert row is not None
    return row[0]
