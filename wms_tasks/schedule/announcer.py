"""
When beat tells the ledger what: what it still has to announce, and what it says of its own time as the leader. Pure.

The scheduler tells it how each round went, and sends what it gives; see announce.py for what that means.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from uuid import uuid4

from wms_tasks import clock
from wms_tasks.names import ANNOUNCE_SITES_TASK, CLOSE_SLOTS_TASK, HOUSEKEEPING_QUEUE
from wms_tasks.result import Reason
from wms_tasks.schedule import announce
from wms_tasks.schedule.announce import Chunk, Outage, Word
from wms_tasks.schedule.entries import Entry, Message, SiteEntry
from wms_tasks.shard import ALL_SITES, Shard

# Each word repeats what the ledger may have missed; no beat of a healthy system has so many.
KEPT_OUTAGES = 50
# An announcement that was asked for again may still be in the queue.
ASKED_AGAIN_AFTER_US = 60_000_000
# With nobody there to take them, announcements do not gather in Redis: the ledger asks for them when it is back.
_CHUNK_EXPIRES_US = 3600_000_000
_WORD_EXPIRES_US = 10_000_000


class Announcer:
    """One beat's memory of its leadership. All instants are microseconds since the epoch."""

    def __init__(self, *, location: str, max_lateness_us: int, now_us: int, shard: Shard = ALL_SITES) -> None:
        self._shard = shard
        self._location = location
        self._max_lateness_us = max_lateness_us
        self._leadership = uuid4()
        self._from_us = self._before_us = 0
        self._generation = 0
        self._announced_us = 0
        self._outages: list[Outage] = []
        self._open: str | None = None
        self._fine_until_us = now_us
        self._word_owed = False
        self._chunks: Iterator[Chunk] | None = None
        self._next: Chunk | None = None

    def lead(self, now_us: int, *, before_us: int) -> None:
        """We lead from now on; ``before_us``: how far the leader before us had come."""
        self._leadership = uuid4()
        self._from_us, self._before_us = now_us, before_us
        self._word_owed = True
        self._fine_until_us = now_us if self._open is None else min(self._fine_until_us, now_us)
        # The clock may have been set back.
        self._announced_us = min(self._announced_us, now_us)

    def announce(self, entries: Iterable[Entry], now_us: int) -> None:
        """These are the sites from now on."""
        self._generation = max(now_us, self._generation + 1)
        self._begin(entries, now_us)

    def announce_again(self, entries: Iterable[Entry], now_us: int) -> None:
        """The ledger lacks the present generation."""
        if self._chunks is None and now_us >= self._announced_us + ASKED_AGAIN_AFTER_US:
            self._begin(entries, now_us)

    def _begin(self, entries: Iterable[Entry], now_us: int) -> None:
        self._announced_us = now_us
        self._next = None
        self._chunks = announce.chunks(
            [entry for entry in entries if isinstance(entry, SiteEntry)],
            generation=self._generation,
            location=self._location,
            max_lateness_us=self._max_lateness_us,
            shard=self._shard,
        )

    def next_message(self, sent_until_us: int) -> Message | None:
        """What to send next, until `sent`. None: all is said that cannot wait for its turn."""
        if self._word_owed:
            expires_at = clock.from_microseconds(sent_until_us + _WORD_EXPIRES_US)
            return Message(
                task=CLOSE_SLOTS_TASK,
                queue=HOUSEKEEPING_QUEUE,
                task_id=f"{CLOSE_SLOTS_TASK}.{self._leadership}",
                kwargs=self.word_kwargs(sent_until_us),
                expires_at=expires_at,
                shown="()",
            )
        if self._next is None and self._chunks is not None:
            self._next = next(self._chunks, None)
            if self._next is None:
                self._chunks = None
        return _chunk_message(self._next, self._announced_us) if self._next is not None else None

    def sent(self) -> None:
        """What `next_message` gave is in the queue."""
        if self._word_owed:
            self._word_owed = False
        else:
            self._next = None

    def round_done(self, now_us: int, *, caught_up: bool, lost: bool) -> None:
        """
        A round in which Redis answered.

        Args:
            caught_up: nothing due is left unsent; so it is for a beat that stands by.
            lost: a slot's deadline passed before it could be sent.
        """
        if lost and self._open is None:
            self._open = Reason.SCHEDULER_DOWN
        if not caught_up:
            return
        if self._open is not None:
            self._outages.append(self._outage(now_us, self._open))
            del self._outages[:-KEPT_OUTAGES]
            self._open = None
        self._fine_until_us = now_us

    def redis_away(self) -> None:
        """A round in which Redis did not answer."""
        self._open = Reason.BROKER_DOWN

    def redis_emptied(self, since_us: int) -> None:
        """Redis has lost its data, at some time since then: what waited there will never be taken."""
        self._open = Reason.BROKER_DOWN
        self._fine_until_us = min(self._fine_until_us, since_us)

    def word(self, sent_until_us: int) -> Word:
        """What the ledger should know now."""
        now = [self._outage(sent_until_us, self._open)] if self._open is not None else []
        return Word(
            shard=str(self._shard),
            leadership=self._leadership,
            from_us=self._from_us,
            until_us=sent_until_us,
            before_us=self._before_us,
            generation=self._generation,
            outages=(*self._outages, *now),
        )

    def word_kwargs(self, sent_until_us: int) -> dict[str, object]:
        """The word as the closing task's arguments."""
        return {"word": self.word(sent_until_us).to_message()}

    def _outage(self, until_us: int, reason: str) -> Outage:
        return Outage(from_us=self._fine_until_us, until_us=until_us, reason=reason)


def _chunk_message(chunk: Chunk, announced_us: int) -> Message:
    return Message(
        task=ANNOUNCE_SITES_TASK,
        queue=HOUSEKEEPING_QUEUE,
        task_id=f"{ANNOUNCE_SITES_TASK}.{chunk.generation}.{chunk.chunk}.{announced_us}",
        kwargs={"chunk": chunk.to_message()},
        expires_at=clock.from_microseconds(announced_us + _CHUNK_EXPIRES_US),
        shown=f"({chunk.generation}, {chunk.chunk + 1} of {chunk.chunks})",
    )
