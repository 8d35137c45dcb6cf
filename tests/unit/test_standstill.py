"""A partition stands still when Kafka had more a look ago, and it had its chances, and nothing came."""

from __future__ import annotations

from confluent_kafka.admin import AdminClient

from wms_tasks.persist.stall_watch import LEAST_CHANCES, QUEUES_FULL, Cure, StallWatch, Standstill


def look(standstill: Standstill, n: int, next_offset: int, end: int) -> Cure:
    """The n-th look, each after enough chances."""
    return standstill.cure({0: next_offset}, {0: end}, n * LEAST_CHANCES)


def test_a_partition_that_moves_or_has_no_more_is_fine() -> None:
    """However far behind it is."""
    standstill = Standstill()
    for n, (next_offset, end) in enumerate([(0, 100), (1, 200), (2, 300), (300, 300), (300, 300)]):
        assert look(standstill, n, next_offset, end) is Cure.NONE


def test_new_messages_have_time_to_come() -> None:
    """What Kafka has only since this look is no sign yet."""
    standstill = Standstill()
    look(standstill, 1, 5, 5)
    assert look(standstill, 2, 5, 9) is Cure.NONE
    assert look(standstill, 3, 5, 9) is Cure.POSITION_AGAIN


def test_without_chances_nothing_could_come() -> None:
    """The loop was busy with Postgres."""
    standstill = Standstill()
    standstill.cure({0: 5}, {0: 9}, 100)
    assert standstill.cure({0: 5}, {0: 9}, 100 + LEAST_CHANCES - 1) is Cure.NONE


def test_cures_that_do_not_help_become_rare() -> None:
    """The first is the cheap one; a partition that moved begins anew."""
    standstill = Standstill()
    cures = [look(standstill, n, 5, 9) for n in range(10)]
    assert cures[1] is Cure.POSITION_AGAIN
    assert [n for n, cure in enumerate(cures) if cure is Cure.NEW_CONSUMER] == [2, 4, 8]
    look(standstill, 10, 6, 9)
    assert look(standstill, 11, 6, 9) is Cure.POSITION_AGAIN


def test_new_positions_begin_anew() -> None:
    """What was seen before says nothing of them, but how often it was tried is known."""
    standstill = Standstill()
    look(standstill, 1, 5, 9)
    standstill.forget()
    assert look(standstill, 2, 5, 9) is Cure.NONE
    assert look(standstill, 3, 5, 9) is Cure.POSITION_AGAIN
    standstill.forget()
    look(standstill, 4, 5, 9)
    assert look(standstill, 5, 5, 9) is Cure.NEW_CONSUMER


def test_chances_are_polls_that_left_nothing_or_memory_that_was_filled() -> None:
    """A loop that lags always finds more; then what it has taken says that the partition's turn had come."""
    busy = StallWatch(AdminClient({}), "t", queue_bytes=1000, ask_every_seconds=1.0)
    for _ in range(2 * QUEUES_FULL - 1):
        busy.polled(all_taken=False, size_bytes=500)
    assert busy.chances < LEAST_CHANCES
    busy.polled(all_taken=False, size_bytes=500)
    assert busy.chances >= LEAST_CHANCES
    idle = StallWatch(AdminClient({}), "t", queue_bytes=1000, ask_every_seconds=1.0)
    for _ in range(LEAST_CHANCES):
        idle.polled(all_taken=True, size_bytes=0)
    assert idle.chances == LEAST_CHANCES
