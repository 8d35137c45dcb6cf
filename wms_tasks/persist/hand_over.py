"""
Hands over to Postgres what the persist loop has in hand, and what is lost, and then tells Kafka and the meter.

A batch is written in a thread of its own, so that the next one is read and decoded meanwhile; one at a time, and in
order. Where the offsets go, the records go, in one transaction: sink.py's and store/writer.py's. Used by the loop's
thread, which alone learns how a write ended.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from typing import NamedTuple

from wms_tasks import clock, tracing
from wms_tasks.persist.hand import Hand, Parcel
from wms_tasks.persist.meter import Meter
from wms_tasks.persist.reader import Reader
from wms_tasks.persist.sink import Sink
from wms_tasks.persist.spans import stored
from wms_tasks.store.message import LostRange, OffsetMove, Written

# What comes before the rows, four short exchanges, takes 1 ms alone, and 10 to 80 beside a thread that decodes.
_HEAD_START_SECONDS = 0.002
# How long a thread may keep the interpreter from another while a batch is written: a block of rows goes out in less,
# and with Python's own 5 ms it waited for most of the time.
_TURN_SECONDS = 0.001
_USUAL_TURN_SECONDS = sys.getswitchinterval()


class Lost(NamedTuple):
    """What a partition cannot read any more, and where it goes on."""

    range: LostRange
    go_on_at: int


class _Write:
    """A parcel on its way to Postgres, in a thread that ends with it; ``Sink.abort`` cuts it short."""

    def __init__(self, parcel: Parcel, sink: Sink) -> None:
        self.parcel = parcel
        self.elapsed_ms = 0.0
        self.ended_at = clock.utcnow()
        self._sink = sink
        self._ended: Future[Written] = Future()
        threading.Thread(target=self._run, name="persist-write", daemon=True).start()

    def ended(self, timeout_seconds: float | None) -> bool:
        """Whether it has; waits so long for it."""
        try:
            self._ended.exception(timeout_seconds)
        except TimeoutError:
            return False
        return True

    def written(self) -> Written:
        """What it did, or what it raised; once it has ended."""
        return self._ended.result()

    def _run(self) -> None:
        began = clock.monotonic()
        try:
            written = self._sink.write(self.parcel.records, self.parcel.moves)
        except BaseException as error:  # noqa: BLE001 - raised again in the loop's thread
            self._ended.set_exception(error)
        else:
            self.elapsed_ms = (clock.monotonic() - began) * 1000
            self.ended_at = clock.utcnow()
            self._ended.set_result(written)


class HandOver:
    """
    All but `begin` raise what `Sink.write` raises; nothing has moved then, here or in Postgres, and the parcel is kept.

    While a write is under way, nobody else may use the sink.
    """

    def __init__(self, hand: Hand, reader: Reader, sink: Sink, meter: Meter) -> None:
        self._hand = hand
        self._reader = reader
        self._sink = sink
        self._meter = meter
        self._write: _Write | None = None
        self._written: _Write | None = None

    def begin(self) -> None:
        """Begin to write what is to be written next, if there is anything; nothing must be under way."""
        assert self._write is None
        if (parcel := self._hand.give()) is not None:
            sys.setswitchinterval(_TURN_SECONDS)
            self._write = _Write(parcel, self._sink)
            self._write.ended(_HEAD_START_SECONDS)

    def settle(self, timeout_seconds: float | None = 0.0) -> bool:
        """
        Whether no write is under way; waits so long for it to end, and takes note of where that leaves us. What it
        wrote is counted by `count`.

        Args:
            timeout_seconds: None: until it ends, which `Sink` sees to.
        """
        write = self._write
        if write is None:
            return True
        if not write.ended(timeout_seconds):
            return False
        self._write = None
        sys.setswitchinterval(_USUAL_TURN_SECONDS)
        write.written()
        if self._hand.parcel is write.parcel:
            self._hand.written()
            self._reader.commit({move.key.partition: move.end for move in write.parcel.moves})
        self._written = write
        return True

    def count(self) -> None:
        """
        Tell the meter, and the traces, what was written since the last call, and forget it. After `begin` of the next
        write: to count thousands of records and to free them takes a tenth of the time of a batch.
        """
        if (write := self._written) is None:
            return
        self._written = None
        written, records = write.written(), write.parcel.records
        if (traces := tracing.TRACES) is not None:
            stored(traces, records, written, write.elapsed_ms / 1000, write.ended_at)
        self._meter.count(written, records, write.elapsed_ms, write.ended_at)

    def write(self) -> None:
        """All that is in hand, and wait for it."""
        self.settle(None)
        self.count()
        while self._hand.held:
            self.begin()
            self.settle(None)
            self.count()

    def skip(self, lost: Mapping[int, Lost]) -> None:
        """What is in hand, then go past what is lost, which is written down with the move; by partition."""
        self.write()
        moves = [OffsetMove(one.range.key, one.range.start, one.go_on_at) for one in lost.values()]
        self._sink.write([], moves, [one.range for one in lost.values()])
        for partition, one in lost.items():
            self._meter.lost(one.range)
            self._hand.places.jump(partition, one.go_on_at)
        self._reader.position(self._hand.places.next())
