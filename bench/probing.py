"""A probe worker under load: orders as beat puts them, a process as shipped, and what came of it in Kafka."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from uuid import uuid4

from confluent_kafka import OFFSET_END, Consumer, KafkaException, TopicPartition

from bench.cpu import cpu_seconds, paced
from bench.services import environ_of
from tests.acceptance.orders import Left
from tests.acceptance.processes import ROOT, Role, Roles
from tests.waiting import wait_until
from wms_tasks import clock
from wms_tasks.app import app_for
from wms_tasks.names import PROBE_QUEUE
from wms_tasks.schedule.entries import Message, SiteEntry
from wms_tasks.schedule.outbox import Outbox
from wms_tasks.schedule.slots import microseconds
from wms_tasks.settings import Settings
from wms_tasks.sites.record import Site, TlsOptions, site_id_for

_ENDS_SECONDS = 30.0


def sites(count: int, url: str, *, tls: TlsOptions | None = None) -> list[Site]:
    """Each on an address of its own, so that spacing holds none back. ``url``: with HOST where the address goes."""
    return [
        Site(
            site_id=site_id_for(f"bench-{number}"),
            name=f"bench-{number}",
            url=url.replace("HOST", f"127.1.{number // 250}.{1 + number % 250}"),
            tls=tls or TlsOptions(),
            interval_seconds=60.0,
        )
        for number in range(count)
    ]


class Results:
    """What comes into a topic from now on."""

    def __init__(self, settings: Settings) -> None:
        config = {
            "bootstrap.servers": settings.kafka_bootstrap_servers,
            "group.id": uuid4().hex,
            "enable.auto.commit": False,
        }
        self._consumer = Consumer(config)
        # One that reads nothing: a request for offsets would wait behind the other's long poll.
        self._counter = Consumer(config)
        found = self._consumer.list_topics(settings.topic, timeout=5.0).topics[settings.topic].partitions
        self._partitions = [TopicPartition(settings.topic, one) for one in found]
        self._consumer.assign([TopicPartition(settings.topic, one, OFFSET_END) for one in found])
        # Of a topic made just now, a partition may have no leader yet.
        wait_until(self._has_leaders, 10, "Kafka's partitions have leaders")
        self._seen = self.count()

    def _has_leaders(self) -> bool:
        try:
            return self.count() >= 0
        except KafkaException:
            return False

    def count(self) -> int:
        """How many messages Kafka has."""
        each = [self._counter.get_watermark_offsets(one, timeout=5.0) for one in self._partitions]
        return sum(high for _, high in each)

    def new(self) -> Counter[str]:
        """The outcomes and reasons of all that came since the last call."""
        until, outcomes = self.count(), Counter[str]()
        while self._seen < until:
            # As many as there are: asked for more, it waits for the time-out.
            messages = self._consumer.consume(min(500, until - self._seen), timeout=5.0)
            assert messages, "Kafka gave nothing of what it has"
            for message in messages:
                assert message.error() is None, message.error()
                result = json.loads(message.value() or b"{}")
                outcomes[f"{result['outcome']}/{result['reason']}"] += 1
            self._seen += len(messages)
        return outcomes

    def close(self) -> None:
        """Leave Kafka."""
        self._consumer.close()
        self._counter.close()


class Line:
    """A queue, whoever fills it as beat does, and the workers that take from it."""

    def __init__(self, settings: Settings, watched: Sequence[Site], results: Results) -> None:
        self.settings = settings
        self.workers: list[Role] = []
        self.results = results
        self._entries = [SiteEntry(site) for site in watched]
        self._latest_us = microseconds(settings.max_lateness_seconds)
        self.app = app_for(settings)
        self.outbox = Outbox(self.app, settings)
        self.left = Left(settings)

    def send(self, *numbers: int) -> None:
        """An order for each of these sites, for a slot that begins now; together, as beat does."""
        self.outbox.send(*(self._order(number) for number in numbers))

    def _order(self, number: int) -> Message:
        entry = self._entries[number % len(self._entries)]
        entry.next_slot_us = entry.due_us = clock.to_microseconds(clock.utcnow())
        return entry.message(self._latest_us)

    def until(self, count: int, seconds: float = _ENDS_SECONDS) -> None:
        """Wait until Kafka has so many results."""
        try:
            wait_until(lambda: self.results.count() >= count, seconds, f"{count} results", every_seconds=0.1)
        except AssertionError as error:
            queued, held = self.left.queued(), self.left.unacknowledged()
            error.add_note(f"{self.results.count()} came; {queued} are in the queue, {held} with workers")
            raise

    def warm_up(self, per_second: float) -> None:
        """Each site twice: robots.txt is known then, and a host's turns are spread."""
        for _ in range(2):
            until = self.results.count() + len(self._entries)
            paced(per_second, len(self._entries) / per_second, self.send)
            self.until(until, 2 * _ENDS_SECONDS)
        self.results.new()

    def cpu_ms_per_probe(self, *, per_second: float, seconds: float) -> float:
        """The workers' CPU time for each result, while orders come at this pace; all must be up."""
        before, had = sum(cpu_seconds(one.process.pid) for one in self.workers), self.results.count()
        paced(per_second, seconds, self.send)
        self.until(had + round(per_second * seconds))
        spent = sum(cpu_seconds(one.process.pid) for one in self.workers) - before
        outcomes = self.results.new()
        assert set(outcomes) == {"up/ok"}, outcomes
        return 1000 * spent / outcomes.total()

    def take(self, workers: int) -> None:
        """From now on, let only the first so many workers take from the queue."""
        hosts = sorted(name for answer in self.app.control.ping(timeout=2.0) for name in answer)
        for host in hosts:
            order = self.app.control.add_consumer if host in hosts[:workers] else self.app.control.cancel_consumer
            order(PROBE_QUEUE, destination=[host], reply=True, timeout=5.0, limit=1)

    def close(self) -> None:
        """Of the queue; the workers are whoever started them's."""
        self.outbox.close()


@contextmanager
def line(  # noqa: PLR0913 - what a worker is started with
    settings: Settings,
    watched: Sequence[Site],
    started: Roles,
    *arguments: str,
    workers: int = 1,
    environ: Mapping[str, str] | None = None,
    tree: Path = ROOT,
) -> Iterator[Line]:
    """A `Line` with real worker processes of a tree; ``arguments`` and ``environ`` are theirs beside the settings."""
    with closing(Results(settings)) as results, closing(Line(settings, watched, results)) as own:
        for _ in range(workers):
            own.workers.append(started.worker(*arguments, folder=tree, **environ_of(settings), **(environ or {})))
        yield own


def rate(results: Results, seconds: float) -> float:
    """Results a second over so long."""
    began, had = time.monotonic(), results.count()
    wait_until(lambda: time.monotonic() >= began + seconds, seconds + 5, every_seconds=0.05)
    count, ended = results.count(), time.monotonic()
    return (count - had) / (ended - began)
