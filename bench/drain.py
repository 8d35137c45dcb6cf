"""
Takes what beat sends out of its queues, so that Valkey stays small, and remembers when it came and how large beat was.
"""

from __future__ import annotations

import base64
import math
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, cast

import msgspec
import psutil
import redis

from wms_tasks import clock
from wms_tasks.names import ANNOUNCE_SITES_TASK
from wms_tasks.order import ProbeOrder

EVERY_SECONDS = 0.02
_AT_ONCE = 10_000


class Came(NamedTuple):
    """When messages were taken out, in seconds of the wall clock, and they."""

    at: float
    raw: bytes


class _Envelope(msgspec.Struct):
    body: str


_envelope = msgspec.json.Decoder(_Envelope)


class Drain:
    """One environment's queues. ``came`` counts; what came between `keep` and `kept` is handed out by the latter."""

    def __init__(self, url: str, queue: str, housekeeping: str, pid: int) -> None:
        self._client = redis.Redis.from_url(url)
        self._queue, self._housekeeping = queue, housekeeping
        self._process = psutil.Process(pid)
        self._ended = threading.Event()
        self._kept: list[Came] | None = None
        self.came = 0
        self.announced = 0
        self.last: Came | None = None
        self.most_bytes = 0

    def keep(self) -> None:
        """Remember what comes from now on."""
        self._kept = []

    def kept(self) -> list[Came]:
        """What has come since `keep`; nothing is remembered any more."""
        found, self._kept = self._kept or [], None
        return found

    def run(self) -> None:
        """Until `end`."""
        while not self._ended.wait(EVERY_SECONDS):
            self._look()

    def end(self) -> None:
        """Leave."""
        self._ended.set()

    def _look(self) -> None:
        at = time.time()
        found = cast("list[bytes] | None", self._client.rpop(self._queue, _AT_ONCE)) or []
        said = cast("list[bytes] | None", self._client.rpop(self._housekeeping, _AT_ONCE)) or []
        came = [Came(at, raw) for raw in found]
        if self._kept is not None:
            self._kept += came
        self.last = came[-1] if came else self.last
        self.announced += sum(1 for raw in said if ANNOUNCE_SITES_TASK.encode() in raw)
        self.came += len(found)
        if self._process.is_running():
            self.most_bytes = max(self.most_bytes, self._process.memory_info().rss)


@contextmanager
def draining(drain: Drain) -> Iterator[Drain]:
    """In a thread, until the end of the block."""
    thread = threading.Thread(target=drain.run, daemon=True)
    thread.start()
    try:
        yield drain
    finally:
        drain.end()
        thread.join(5)


def lateness_seconds(came: Came) -> float:
    """From when the message was due until it was taken out: at most so late was it sent."""
    body: Any = msgspec.json.decode(base64.b64decode(_envelope.decode(came.raw).body))
    due_at = ProbeOrder.from_message(body[1]["order"]).due_at
    return came.at - clock.to_microseconds(due_at) / 1e6


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that so large a share is not above; NaN of none."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else math.nan
