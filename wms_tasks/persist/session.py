"""
One consumer's time in the group, round by round: the state machine of the persist loop.

Between two looks at whether to stop: connect, take positions, begin to write a batch that is due, read. Made by
loop.py, and run in its thread.
"""

from __future__ import annotations

import threading

import structlog
from confluent_kafka import KafkaException

from wms_tasks import clock
from wms_tasks.errors import LostPartition, RegistryAway
from wms_tasks.persist.hand import Hand
from wms_tasks.persist.hand_over import HandOver
from wms_tasks.persist.losses import Losses
from wms_tasks.persist.meter import Meter
from wms_tasks.persist.reader import FatalConsumer, Reader
from wms_tasks.persist.sink import PostgresAway, Sink
from wms_tasks.persist.stall_watch import Cure, StallWatch
from wms_tasks.persist.stats import State
from wms_tasks.persist.topic_watch import TopicWatch

# The longest time without looking whether to stop and what is assigned; a round costs some 0.1 ms.
POLL_SECONDS = 0.1
PAUSE_SECONDS = 0.25
# The same for a batch that is due, and waits for the one before it to be written.
DUE_POLL_SECONDS = 0.02

_log = structlog.get_logger()


class Session:
    """What the loop has is handed in; the reader is new, and the hand empty. ``stopping`` cuts a pause short."""

    def __init__(  # noqa: PLR0913 - the parts of a loop
        self,
        reader: Reader,
        hand: Hand,
        *,
        watch: TopicWatch,
        stalls: StallWatch,
        sink: Sink,
        meter: Meter,
        stopping: threading.Event,
    ) -> None:
        self._reader = reader
        self._hand = hand
        self._watch = watch
        self._stalls = stalls
        self._sink = sink
        self._meter = meter
        self._stopping = stopping
        self._hand_over = HandOver(hand, reader, sink, meter)
        self._losses = Losses(hand, reader, self._hand_over)
        self._generation = reader.generation

    def round(self) -> None:
        """
        As far as it goes now; a service that is away is waited for, here or in the next round.

        Raises:
            FatalConsumer: this consumer will never work again.
            TooManyRejects, psycopg.Error: see `PersistLoop.run`.
        """
        try:
            self._step()
        except PostgresAway:
            self._reader.hold()
        except LostPartition as error:
            _log.warning("persist.partition_lost", reason=error.message, abandoned=self._hand.held)
            self._hand.abandon()
            self._reader.hold()
        except RegistryAway:
            # It has said so once. What was read is read again, from after what is in hand.
            self._reader.hold()
            self._show(State.WAITING_FOR_REGISTRY)
            self._stopping.wait(PAUSE_SECONDS)
        except KafkaException as error:
            _log.warning("persist.kafka_refused", error=str(error))
            self._reader.hold()
            self._stopping.wait(PAUSE_SECONDS)

    def finish(self) -> None:
        """At the end: what is in hand goes to Postgres if it takes it; if not, it is still in Kafka."""
        try:
            self._hand_over.settle(None)
            if self._sink.connected and self._reader.positioned:
                self._hand_over.write()
        except (PostgresAway, LostPartition) as error:
            _log.warning("persist.batch_left_in_kafka", records=self._hand.held, reason=str(error))
        finally:
            self._hand_over.count()

    def leave(self) -> None:
        """Instead of `finish`, where the reader is no good any more: only what is being written is waited for."""
        try:
            self._hand_over.settle(None)
        except (PostgresAway, LostPartition) as error:
            _log.warning("persist.batch_left_in_kafka", records=self._hand.held, reason=str(error))
        finally:
            self._hand_over.count()

    def _step(self) -> None:
        free = self._hand_over.settle()
        try:
            if free and not self._prepared():
                return
            if free and self._hand.due(clock.monotonic()):
                self._hand_over.begin()
                free = False
        finally:
            self._hand_over.count()
        self._gather(free=free)
        self._show(State.RUNNING if self._reader.positioned else State.WAITING_FOR_PARTITIONS)

    def _prepared(self) -> bool:
        """Whether Postgres is there, and each of our partitions has its position; nothing is being written."""
        if not self._sink.connected and not self._sink.try_connect():
            self._reader.hold()
            self._wait_in_group(State.WAITING_FOR_POSTGRES)
            return False
        if self._hand.identity is not None and self._watch.changed(self._hand.identity):
            self._reader.hold()
        return self._reader.positioned or not self._reader.assigned or self._take_positions()

    def _wait_in_group(self, state: State) -> None:
        """Poll, so that we stay in it, though nothing is read."""
        self._reader.poll(1, POLL_SECONDS)
        self._follow()
        self._show(state)

    def _gather(self, *, free: bool) -> None:
        """
        The first record alone, so that the batch's time counts from it; then as many as come in its time.

        Args:
            free: nothing is being written. Else a batch that is due goes on to grow, and one that is full waits.
        """
        left = self._hand.batch.seconds_left(clock.monotonic())
        limit = min(1, self._hand.room) if left is None else self._hand.room
        if not limit:
            self._hand_over.settle(POLL_SECONDS)
            return
        timeout_seconds = POLL_SECONDS if left is None else min(left, POLL_SECONDS)
        messages = self._reader.poll(limit, timeout_seconds if free else max(timeout_seconds, DUE_POLL_SECONDS))
        self._follow()
        size_bytes = self._hand.take(messages) if messages else 0
        self._stalls.polled(all_taken=len(messages) < limit, size_bytes=size_bytes)
        if self._reader.lost:
            self._losses.leave(self._watch)
        elif messages:
            self._losses.close_gaps()
        if self._reader.positioned:
            self._cure_stall()

    def _follow(self) -> None:
        """Drop the batch when the assignment has changed: its records may be another's now."""
        if self._reader.generation != self._generation:
            self._generation = self._reader.generation
            self._hand.abandon()

    def _take_positions(self) -> bool:
        """Ask Postgres where to read on; the topic's id is read anew, because the offsets are kept under it."""
        identity, state = self._watch.look(make=False)
        if identity is None:
            self._wait_in_group(state)
            return False
        if identity != self._hand.identity:
            _log.warning("persist.topic_made_again", topic=self._reader.topic, abandoned=self._hand.held)
            self._hand.abandon()
        self._hand.identity = identity
        for one in self._sink.note_earlier_lives(self._hand.key(0)):
            self._meter.lost(one)
        keys = [self._hand.key(partition) for partition in sorted(self._reader.assigned)]
        self._hand.begin(self._sink.claim(keys, self._reader.low_mark))
        self._reader.position(self._hand.places.next())
        self._stalls.forget()
        return True

    def _cure_stall(self) -> None:
        """A partition stands still though Kafka has more."""
        cure = self._stalls.look(self._hand.places.next())
        if cure is Cure.POSITION_AGAIN:
            self._reader.hold()
        elif cure is Cure.NEW_CONSUMER:
            raise FatalConsumer("it fetches nothing though Kafka has more")

    def _show(self, state: State) -> None:
        self._meter.show(state, self._hand.places.stored(), self._hand.held, self._reader.end)
