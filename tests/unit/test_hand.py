"""What the persist loop has in hand: one batch that is gathered, and the one before it, until Postgres has it."""

from __future__ import annotations

from typing import Any

from tests.results import a_result
from wms_tasks.codec import json_codec
from wms_tasks.persist.hand import Hand
from wms_tasks.settings import Settings
from wms_tasks.store.message import Reject, Row
from wms_tasks.topic import TopicIdentity


class FakeMessage:
    """As confluent-kafka gives one."""

    def __init__(self, partition: int, offset: int, value: bytes) -> None:
        self._all = (partition, offset, value)

    def partition(self) -> int:
        return self._all[0]

    def offset(self) -> int:
        return self._all[1]

    def key(self) -> bytes:
        return b"k"

    def value(self) -> bytes:
        return self._all[2]

    def headers(self) -> None:
        return None


VALUE = json_codec.encode(a_result())


def messages(first: int, count: int, partition: int = 0, value: bytes = VALUE) -> Any:
    return [FakeMessage(partition, offset, value) for offset in range(first, first + count)]


def a_hand(**changes: Any) -> Hand:
    """Of two partitions, which begin at 0 and 100."""
    hand = Hand(Settings(env="test", **changes))
    hand.identity = TopicIdentity(cluster_id="c", topic_id="t", partitions=2)
    hand.begin({0: 0, 1: 100})
    return hand


def moved(hand: Hand) -> list[tuple[int, int, int]]:
    """What the next parcel moves: partition, from, to."""
    parcel = hand.give()
    return [] if parcel is None else [(move.key.partition, move.start, move.end) for move in parcel.moves]


def test_a_parcel_is_given_again_until_it_is_written() -> None:
    """What was gathered meanwhile comes after it, and begins where it ends."""
    hand = a_hand()
    assert moved(hand) == []
    hand.take(messages(0, 3) + messages(100, 1, partition=1))
    assert moved(hand) == [(0, 0, 3), (1, 100, 101)]
    hand.take(messages(3, 2))
    assert moved(hand) == [(0, 0, 3), (1, 100, 101)]
    assert (hand.held, hand.due(now=0)) == (6, True)
    hand.written()
    assert (hand.held, hand.due(now=0)) == (2, False)
    assert moved(hand) == [(0, 3, 5)]


def test_both_parts_are_kept_only_where_postgres_still_is_where_the_first_begins() -> None:
    """Else a commit whose answer was lost would be written twice, or another owner has written."""
    for stored, held in (({0: 0, 1: 100}, 5), ({0: 3, 1: 100}, 0), ({0: 0}, 0)):
        hand = a_hand()
        hand.take(messages(0, 3))
        hand.give()
        hand.take(messages(3, 2))
        hand.begin(stored)
        assert hand.held == held
        assert hand.places.next() == ({0: 5, 1: 100} if held else stored)


def test_both_parts_together_have_no_more_bytes_than_one_may() -> None:
    """While the first is being written, no more is asked for than fits in beside it."""
    hand = a_hand(persist_max_bytes=5 * 1024)
    value = b"x" * 1024
    hand.take(messages(0, 3, value=value))
    assert hand.room == 2
    hand.give()
    assert hand.room == 2
    hand.take(messages(3, 2, value=value))
    assert hand.room == 0
    assert not hand.batch.due(now=0)
    hand.written()
    assert hand.room == 3


def test_what_is_abandoned_is_gone() -> None:
    """Both parts: they are in Kafka, and may be another's."""
    hand = a_hand()
    hand.take(messages(0, 3))
    hand.give()
    hand.take(messages(3, 2))
    hand.abandon()
    assert (hand.held, hand.give(), hand.places.stored()) == (0, None, {})


def test_records_are_rows_or_rejects_in_the_order_of_kafka() -> None:
    """What comes again is left out."""
    hand = a_hand()
    hand.take(messages(0, 1) + messages(1, 1, value=b"{") + messages(0, 2) + messages(2, 1))
    parcel = hand.give()
    assert parcel is not None
    assert [type(one) for one in parcel.records] == [Row, Reject, Row]
    assert [one.message.offset for one in parcel.records] == [0, 1, 2]
    assert parcel.size_bytes == 2 * len(VALUE) + 1
