"""
What Kafka no longer has, or never had: decided here, written down and left behind by hand_over.py.

Used by the persist loop's thread.
"""

from __future__ import annotations

import structlog

from wms_tasks.persist.hand import Hand
from wms_tasks.persist.hand_over import HandOver, Lost
from wms_tasks.persist.reader import Reader
from wms_tasks.persist.topic_watch import TopicWatch
from wms_tasks.store.message import LostRange

_log = structlog.get_logger()


class Losses:
    """Both methods raise what `HandOver.skip` and `Reader.low_mark` raise."""

    def __init__(self, hand: Hand, reader: Reader, hand_over: HandOver) -> None:
        self._hand = hand
        self._reader = reader
        self._hand_over = hand_over

    def leave(self, watch: TopicWatch) -> None:
        """Go on from the low mark of each partition that lost its offset; the others where they are."""
        identity, _ = watch.look(make=False)
        here = self._hand.places.next()
        if identity != self._hand.identity or any(here.get(p) != asked for p, asked in self._reader.lost.items()):
            # Another topic of this name, or word of a position that is no longer ours: ask Postgres again.
            self._reader.hold()
            return
        lost = {partition: self._from_low_mark(partition, here[partition]) for partition in self._reader.lost}
        self._hand_over.skip(lost)

    def close_gaps(self) -> None:
        """
        An offset came that does not follow: ask for the one that does, and believe Kafka only when it says so again.

        A fetch that was under way when the position changed may come late; to believe it would lose what lies between.
        """
        gaps = self._hand.places.gaps()
        for gap, believed in gaps.items():
            _log.warning("persist.gap", partition=gap.partition, expected=gap.start, got=gap.end, believed=believed)
        if gaps and not all(gaps.values()):
            self._reader.hold()
        elif gaps:
            holes = {g.partition: Lost(LostRange(self._hand.key(g.partition), *g[1:], "hole"), g.end) for g in gaps}
            self._hand_over.skip(holes)

    def _from_low_mark(self, partition: int, start: int) -> Lost:
        low, key = self._reader.low_mark(partition), self._hand.key(partition)
        if low > start:
            return Lost(LostRange(key, start, low, "retention"), low)
        return Lost(LostRange(key, start, start, "truncated"), low)
