"""
The timetable: all entries, and a heap of when each is next due. Pure; nothing here knows Redis or the clock.

A send costs O(log n), a change of the sites O(changed * log n): unchanged entries keep their place.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from wms_tasks.schedule.entries import Entry
from wms_tasks.schedule.sent import Sent


class Timetable:
    """
    Entries by key. The heap may hold turns of entries that were replaced or removed since; they are dropped on sight.

    ``lost_slots`` counts slots whose deadline passed before they could be sent; ``newly_sent`` gathers the keys of
    entries sent for the first time. Both are for the caller to reset.
    """

    def __init__(self, *, max_lateness_us: int) -> None:
        self.max_lateness_us = max_lateness_us
        self.newly_sent: set[str] = set()
        self.entries: dict[str, Entry] = {}
        self.lost_slots = 0
        self._sent = Sent()
        self._since_us = 0
        self._heap: list[tuple[int, int, Entry]] = []
        # What is being sent, with the place in the order that it had in the heap.
        self._in_hand: list[tuple[int, Entry]] = []
        self._order = itertools.count()

    def by_name(self) -> Mapping[str, Entry]:
        """The entries under the names a person knows."""
        return {entry.name: entry for entry in self.entries.values()}

    def change_to(self, wanted: Iterable[Entry], *, now_us: int) -> tuple[int, frozenset[str]]:
        """
        Take over another set of entries; returns how many are new or changed, and the keys that are gone.

        A changed entry goes on after the slot it had come to, on its new slots.
        """
        changed = 0
        new_keys = set()
        for entry in wanted:
            new_keys.add(entry.key)
            old = self.entries.get(entry.key)
            if old is entry or (old is not None and old.same_as(entry)):
                continue
            changed += 1
            entry.seen = old is not None and old.seen
            entry.resume(now_us=now_us, sent=Sent.until(now_us))
            self.entries[entry.key] = entry
            self._push(entry)
        gone = frozenset(self.entries.keys() - new_keys)
        for key in gone:
            del self.entries[key]
        return changed, gone

    def resume(self, *, now_us: int, sent_until_us: int, known: frozenset[str]) -> None:
        """Place every entry anew, as the leader before us left off."""
        self._sent = Sent.until(sent_until_us)
        self._since_us = now_us
        for entry in self.entries.values():
            entry.seen = entry.key in known
            entry.resume(now_us=now_us, sent=self._sent)
        self._heap_anew()

    def clock_stepped(self, *, before_us: int, now_us: int) -> int:
        """
        Place every entry anew, since the wall clock was set from ``before_us`` to ``now_us``.

        The slot now running is sent if it was not when it was that time before; of those that the clock jumped over,
        and of those it will come to a second time, nothing is known: no slot of them is lost, and each is sent.

        Returns:
            Until when, before ``now_us``, all that came due was dealt with: of a clock that was ahead and is set back,
            when it went ahead.
        """
        self._sent = self._sent.and_from(self._since_us, self.sent_until_us(before_us))
        self._since_us = now_us
        for entry in self.entries.values():
            first_slot_us = entry.first_slot_us
            entry.resume(now_us=now_us, sent=self._sent)
            entry.first_slot_us = min(entry.first_slot_us, first_slot_us)
        self._heap_anew()
        return self._sent.until_before(now_us)

    def sent_until_us(self, now_us: int) -> int:
        """Until when all that came due is dealt with: up to now, or to the first entry that still waits."""
        next_due_us = self.next_due_us()
        return now_us if next_due_us is None else min(now_us, next_due_us - 1)

    def next_due_us(self) -> int | None:
        """When the next entry is due, of those in hand too; None where there is none."""
        self._drop_stale()
        due = [entry.due_us for _, entry in self._in_hand] + [turn[0] for turn in self._heap[:1]]
        return min(due, default=None)

    def take_due(
        self, now_us: int, send: Callable[[Sequence[Entry]], None], *, at_most: int = 1
    ) -> Iterator[Sequence[Entry]]:
        """
        Send what is due, oldest first, ``at_most`` so many together, and yield those that went out and moved on.

        An error of ``send`` leaves all that it was given where they are, to be tried again. The caller may stop at any
        time. While ``send`` runs, what it was given counts as not sent.
        """
        while self._take_in_hand(now_us, at_most):
            due = [entry for _, entry in self._in_hand]
            try:
                send(due)
            except BaseException:
                for order, entry in self._in_hand:
                    heapq.heappush(self._heap, (entry.due_us, order, entry))
                raise
            else:
                for entry in due:
                    self._was_sent(entry, now_us)
            finally:
                self._in_hand = []
            yield due

    def _take_in_hand(self, now_us: int, at_most: int) -> bool:
        """Whether anything is due: then it is in hand, off the heap. One that goes alone is so."""
        while len(self._in_hand) < at_most:
            self._drop_stale()
            if not self._heap or self._heap[0][0] > now_us:
                break
            _, order, entry = self._heap[0]
            if entry.goes_alone and self._in_hand:
                break
            heapq.heappop(self._heap)
            self.lost_slots += entry.skip_ended(now_us, self.max_lateness_us)
            if entry.due_us > now_us:
                self._push(entry)
                continue
            self._in_hand.append((order, entry))
            if entry.goes_alone:
                break
        return bool(self._in_hand)

    def _was_sent(self, entry: Entry, now_us: int) -> None:
        if not entry.seen:
            self.newly_sent.add(entry.key)
        entry.advance(now_us)
        self._push(entry)

    def _heap_anew(self) -> None:
        self._heap = [(entry.due_us, next(self._order), entry) for entry in self.entries.values()]
        heapq.heapify(self._heap)

    def _push(self, entry: Entry) -> None:
        heapq.heappush(self._heap, (entry.due_us, next(self._order), entry))

    def _drop_stale(self) -> None:
        while self._heap:
            _, _, entry = self._heap[0]
            if self.entries.get(entry.key) is entry:
                return
            heapq.heappop(self._heap)
