"""
The persist loop: Kafka → batch → Postgres, in one thread and one more for each write, until it is told to stop.

Where to read on stands in Postgres, beside the rows, and is moved in the same transaction; so whatever is lost on
the way (a connection, a partition, this process) is read again, and whatever is read twice is a no-op. Its rounds are
session.py's. Started by the worker's bootstep and by `wms run`; must not depend on Redis.
"""

from __future__ import annotations

import threading

import structlog

from wms_tasks.codec.wire import WireReader
from wms_tasks.health import HEALTH
from wms_tasks.heartbeat import Heartbeat
from wms_tasks.persist.hand import Hand
from wms_tasks.persist.meter import Meter
from wms_tasks.persist.reader import FatalConsumer, Reader
from wms_tasks.persist.session import PAUSE_SECONDS, Session
from wms_tasks.persist.sink import ANSWER_SECONDS, Sink
from wms_tasks.persist.stall_watch import StallWatch
from wms_tasks.persist.stats import PartitionStats, PersistStats, State
from wms_tasks.persist.topic_watch import TopicWatch
from wms_tasks.settings import Settings

__all__ = ["PartitionStats", "PersistLoop", "PersistStats", "State"]

# `stop` gives the batch in hand this long, then ends the write, then waits this long again.
STOP_SECONDS = 1.5

_log = structlog.get_logger()


def pulse_of(settings: Settings) -> str:
    """The name under which the loop of this topic says that it works."""
    return "persist" if settings.topic_version == 1 else f"persist.v{settings.topic_version}"


class PersistLoop:
    """
    One topic, one consumer, one connection; at most one batch that is being written and one that is gathered. `run`
    once; `stop` and `stats` from any thread.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        topic_check_seconds: float = 10.0,
        stall_check_seconds: float = 2.0,
        answer_seconds: float = ANSWER_SECONDS,
    ) -> None:
        """
        Nothing is opened before `run`.

        Args:
            topic_check_seconds: how often the topic's id is asked for, to notice that it was made again.
            stall_check_seconds: how often the ends of our partitions are, to notice one that stands still.
            answer_seconds: how long Postgres may take for a batch.
        """
        self._settings = settings
        self._topic_check_seconds = topic_check_seconds
        self._stall_check_seconds = stall_check_seconds
        self._stopping = threading.Event()
        self._ended = threading.Event()
        self._ended.set()
        self._thread: int | None = None
        self._sink = Sink(settings, answer_seconds=answer_seconds)
        self._wire = WireReader(settings)
        self._meter = Meter(settings, Heartbeat(settings.heartbeat_url))

    def stats(self) -> PersistStats:
        """How it goes, as of the last round."""
        return self._meter.stats

    def stop(self) -> None:
        """
        End `run`: the batch in hand is written if Postgres takes it at once, else left in Kafka.

        Returns when it has ended, after `2 * STOP_SECONDS` at the latest; called by the loop's own thread (a signal
        handler) it only asks.
        """
        self._stopping.set()
        if threading.get_ident() == self._thread or self._ended.wait(STOP_SECONDS):
            return
        self._sink.abort()
        if not self._ended.wait(STOP_SECONDS):
            _log.warning("persist.stop_abandoned", waited_seconds=2 * STOP_SECONDS)

    def run(self) -> None:
        """
        Consume until `stop`. Kafka, the topic and Postgres may be away, at the start too: it waits for them.

        Raises:
            TooManyRejects: what cannot be stored is no exception any more; its batch stays in Kafka.
            psycopg.Error: Postgres refuses what we do (no schema, no right), not what is in a message.
        """
        self._thread = threading.get_ident()
        self._ended.clear()
        watch = TopicWatch(self._settings, self._topic_check_seconds)
        stalls = StallWatch(
            watch.admin,
            self._settings.topic,
            queue_bytes=self._settings.persist_queue_max_bytes,
            ask_every_seconds=self._stall_check_seconds,
        )
        try:
            while not self._stopping.is_set():
                hand = Hand(self._settings, self._wire)
                if self._find_topic(watch, hand):
                    self._consume(watch, stalls, hand)
        finally:
            self._sink.close()
            self._meter.show(State.STOPPED, {}, 0)
            self._ended.set()

    def _find_topic(self, watch: TopicWatch, hand: Hand) -> bool:
        HEALTH.did(pulse_of(self._settings))
        hand.identity, state = watch.look(make=True)
        self._meter.show(state, {}, 0)
        if hand.identity is None:
            self._stopping.wait(PAUSE_SECONDS)
        return hand.identity is not None

    def _consume(self, watch: TopicWatch, stalls: StallWatch, hand: Hand) -> None:
        """With one consumer, until it should stop or the consumer is done for."""
        reader = Reader(self._settings)
        session = Session(
            reader,
            hand,
            watch=watch,
            stalls=stalls,
            sink=self._sink,
            meter=self._meter,
            stopping=self._stopping,
        )
        try:
            while not self._stopping.is_set():
                HEALTH.did(pulse_of(self._settings))
                session.round()
            session.finish()
        except FatalConsumer as error:
            _log.error("persist.kafka_consumer_failed", error=str(error), hint="making a new one")
            session.leave()
            self._stopping.wait(PAUSE_SECONDS)
        finally:
            reader.close()
