"""When a batch ends, and that it loses and reorders nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wms_tasks.persist.batch import Batch

# Arrivals: (seconds since the one before, how many records come at once).
ARRIVALS = st.lists(st.tuples(st.floats(0, 3), st.integers(0, 9)), max_size=60)


def test_an_empty_batch_is_never_due() -> None:
    """Nothing to write is no batch, however long it lasts."""
    batch: Batch[int] = Batch(max_records=2, max_bytes=1 << 30, timeout_seconds=1)
    batch.add([], [], now=0)
    assert not batch.due(now=1_000)
    assert batch.seconds_left(now=1_000) is None


def test_the_time_counts_from_the_first_record() -> None:
    """A later record does not prolong a batch, and an empty poll does not begin one."""
    batch: Batch[int] = Batch(max_records=10, max_bytes=1 << 30, timeout_seconds=1)
    batch.add([], [], now=0)
    batch.add([1], [1], now=5)
    batch.add([2], [1], now=5.9)
    assert batch.seconds_left(now=5.9) == pytest.approx(0.1)
    assert not batch.due(now=5.99)
    assert batch.due(now=6)


def test_a_full_batch_is_due_at_once_and_takes_no_more() -> None:
    """max_records is a limit, not a hint."""
    batch: Batch[int] = Batch(max_records=2, max_bytes=1 << 30, timeout_seconds=1)
    batch.add([1, 2], [1, 1], now=0)
    assert batch.due(now=0)
    with pytest.raises(ValueError, match="room for 0"):
        batch.add([3], [1], now=0)


def test_after_clear_a_new_time_begins() -> None:
    """The next batch counts from its own first record."""
    batch: Batch[int] = Batch(max_records=2, max_bytes=1 << 30, timeout_seconds=1)
    batch.add([1], [1], now=0)
    batch.clear()
    assert batch.seconds_left(now=0.5) is None
    batch.add([2], [1], now=0.9)
    assert not batch.due(now=1.5)


@given(arrivals=ARRIVALS, max_records=st.integers(1, 7), timeout_seconds=st.floats(0.001, 2))
def test_nothing_is_lost_or_reordered_and_both_limits_hold(
    arrivals: list[tuple[float, int]], max_records: int, timeout_seconds: float
) -> None:
    """Whatever arrives when: all of it comes out once, in order, in batches within both limits."""
    batch: Batch[int] = Batch(max_records=max_records, max_bytes=1 << 30, timeout_seconds=timeout_seconds)
    written: list[list[int]] = []
    now, given_out = 0.0, 0
    began: float | None = None
    for pause, count in arrivals:
        now += pause
        left = count
        while left:
            if batch.due(now):
                assert len(batch) == max_records or now - (began or 0.0) >= timeout_seconds - 1e-9
                written.append(batch.give())
            part = min(left, batch.room)
            if not len(batch):
                began = now
            batch.add(list(range(given_out, given_out + part)), [1] * part, now)
            given_out += part
            left -= part
            if began is not None and now < began + timeout_seconds and batch.room:
                assert not batch.due(now)
    written.append(batch.give())
    assert [record for one in written for record in one] == list(range(given_out))
    assert all(len(one) <= max_records for one in written)


def test_a_batch_ends_at_so_many_bytes_too() -> None:
    """And asks for no more records than fit by the largest that it has seen."""
    batch: Batch[bytes] = Batch(max_records=1000, max_bytes=100_000, timeout_seconds=1)
    assert batch.room == 97
    batch.add([b"x"], [30_000], now=0)
    assert batch.room == 2
    assert not batch.due(now=0)
    batch.add([b"x", b"x"], [60_000, 10_000], now=0)
    assert batch.size_bytes == 100_000
    assert batch.room == 0
    assert batch.due(now=0)
    batch.clear()
    assert (batch.room, batch.size_bytes) == (97, 0)


def test_what_is_beside_it_takes_of_its_bytes() -> None:
    """Both fit into what one may have; then none is asked for, and the batch is not due for that."""
    batch: Batch[bytes] = Batch(max_records=1000, max_bytes=100_000, timeout_seconds=1)
    batch.add([b"x"], [30_000], now=0)
    assert [batch.room_beside(other) for other in (0, 10_000, 69_999, 70_000, 200_000)] == [2, 2, 1, 0, 0]
    assert not batch.due(now=0)


def test_one_record_larger_than_a_batch_is_a_batch() -> None:
    """Nothing is too large to be taken alone."""
    batch: Batch[bytes] = Batch(max_records=1000, max_bytes=10, timeout_seconds=1)
    assert batch.room == 1
    batch.add([b"x"], [11], now=0)
    assert batch.due(now=0)
