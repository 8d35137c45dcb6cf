"""The three offsets of each partition: nothing is counted twice, nothing in hand is forgotten."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from wms_tasks.persist.places import BELIEVED_ANSWERS, Places, Span, Taken

MESSAGES = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 12)), max_size=40)


def test_what_was_in_hand_is_stored_after_the_write() -> None:
    """A span goes from what Postgres holds to after the last record."""
    places = Places()
    places.start({0: 5, 1: 9})
    assert places.give() == []
    assert [places.take(0, offset) for offset in (5, 6, 7)] == [Taken.NEXT] * 3
    assert places.take(0, 7) is Taken.AGAIN
    assert places.give() == [Span(0, 5, 8)]
    assert places.begin_at({0: 5, 1: 9})
    places.written()
    assert places.stored() == places.next() == {0: 8, 1: 9}
    assert places.give() == []


def test_what_is_read_while_a_span_is_written_comes_after_it() -> None:
    """It is stored with the next write, not with this one."""
    places = Places()
    places.start({0: 5, 1: 9})
    places.take(0, 5)
    assert places.give() == [Span(0, 5, 6)]
    assert [places.take(*one) for one in ((0, 6), (1, 9))] == [Taken.NEXT] * 2
    assert (places.stored(), places.next()) == ({0: 5, 1: 9}, {0: 7, 1: 10})
    assert places.begin_at({0: 5, 1: 9})
    places.written()
    assert places.stored() == {0: 6, 1: 9}
    assert places.give() == [Span(0, 6, 7), Span(1, 9, 10)]
    places.written()
    assert places.stored() == {0: 7, 1: 10}


def test_a_batch_in_hand_begins_only_where_postgres_is() -> None:
    """Another offset, a partition more or less: it is another's, or stored already."""
    places = Places()
    places.start({0: 5, 1: 9})
    assert not places.begin_at({0: 6, 1: 9})
    assert not places.begin_at({0: 5})
    assert not places.begin_at({0: 5, 1: 9, 2: 0})


def test_a_jump_forgets_what_was_before() -> None:
    """Kafka has lost what we wanted to read."""
    places = Places()
    places.start({0: 5})
    places.jump(0, 50)
    assert places.stored() == places.next() == {0: 50}
    assert places.take(0, 49) is Taken.AGAIN


def test_a_gap_is_not_taken_and_believed_only_when_it_stays() -> None:
    """What follows it is not taken either; a gap that closes is forgotten."""
    places = Places()
    places.start({0: 5, 1: 0})
    assert places.take(0, 5) is Taken.NEXT
    assert [places.take(0, offset) for offset in (8, 9)] == [Taken.GAP] * 2
    assert places.take(1, 0) is Taken.NEXT
    assert places.give() == [Span(0, 5, 6), Span(1, 0, 1)]
    assert places.gaps() == {Span(0, 6, 8): False}
    assert places.gaps() == {}
    for answer in range(2, BELIEVED_ANSWERS + 1):
        places.take(0, 8)
        assert places.gaps() == {Span(0, 6, 8): answer == BELIEVED_ANSWERS}
    places.take(0, 7)
    assert places.gaps() == {Span(0, 6, 7): False}
    assert places.take(0, 6) is Taken.NEXT


@given(messages=MESSAGES, start=st.fixed_dictionaries({p: st.integers(0, 6) for p in range(3)}))
def test_each_offset_is_taken_at_most_once_and_in_order(messages: list[tuple[int, int]], start: dict[int, int]) -> None:
    """However Kafka delivers; the spans cover all that was taken, and nothing that was not."""
    places = Places()
    places.start(start)
    taken = [(p, offset) for p, offset in messages if places.take(p, offset) is Taken.NEXT]
    given = places.give()
    for partition in range(3):
        mine = [offset for p, offset in taken if p == partition]
        assert mine == list(range(start[partition], start[partition] + len(mine)))
        ends = [span.end for span in given if span.partition == partition]
        assert ends == ([mine[-1] + 1] if mine else [])
