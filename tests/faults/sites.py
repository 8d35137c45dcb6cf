"""
The sites of a run: one local server with a page a site, which writes down who asked when, and can be slow or silent.

What it saw is the harness's own evidence: a row that says "up" without a request for its page is made up.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

from tests.faults.records import Schedule
from tests.servers import LocalServer, Peer, answer
from wms_tasks.schedule.slots import Slots, microseconds
from wms_tasks.sites.record import site_id_for

TIMEOUT_SECONDS = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A site of the run."""

    name: str
    interval_seconds: float

    @property
    def site_id(self) -> UUID:
        """As every process of the run derives it."""
        return site_id_for(self.name)

    @property
    def slots(self) -> Slots:
        """Its schedule, worked out here and not asked of beat."""
        return Slots(self.site_id.bytes, microseconds(self.interval_seconds))

    @property
    def schedule(self) -> Schedule:
        """The same for the judge."""
        return Schedule(timedelta(microseconds=self.slots.splay_us), timedelta(seconds=self.interval_seconds))


def pages(prefix: str, count: int, interval_seconds: float) -> list[Page]:
    """So many sites of one interval."""
    return [Page(name=f"{prefix}-{n}", interval_seconds=interval_seconds) for n in range(count)]


class Sites:
    """The server and the pages. ``delay_seconds`` may be changed at any time; above the time-out, pages hang."""

    def __init__(self, wanted: list[Page]) -> None:
        self.pages = wanted
        self.delay_seconds = 0.0
        self._answer = answer()
        self._lock = threading.Lock()
        self._waiting = 0
        self.server = LocalServer({f"/{page.name}": self._behave for page in wanted})

    @property
    def being_fetched(self) -> int:
        """Requests that have come and have no answer yet."""
        with self._lock:
            return self._waiting

    def visits(self) -> dict[UUID, list[datetime]]:
        """When each site's page was asked for, oldest first, on the wall clock."""
        offset = datetime.now(UTC) - timedelta(seconds=time.monotonic())
        ids = {f"/{page.name}": page.site_id for page in self.pages}
        found: dict[UUID, list[datetime]] = {page.site_id: [] for page in self.pages}
        for request in self.server.seen:
            if request.path in ids:
                found[ids[request.path]].append(offset + timedelta(seconds=request.at))
        return found

    def write_file(self, path: Path) -> None:
        """The sites file of the run."""
        lines = ["hosts:", "  127.0.0.1: {spacing: 1ms}", "sites:"]
        lines += [
            f'  - {{name: {page.name}, url: "{self.server.url(f"/{page.name}")}", robots: ignore, retries: 0, '
            f"interval: {page.interval_seconds:g}s, timeout: {TIMEOUT_SECONDS * 1000:g}ms, jitter: 0s}}"
            for page in self.pages
        ]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")

    def _behave(self, peer: Peer) -> None:
        with self._lock:
            self._waiting += 1
        try:
            if self.delay_seconds:
                peer.pause(self.delay_seconds)
            self._answer(peer)
        finally:
            with self._lock:
                self._waiting -= 1


@contextmanager
def serving(wanted: list[Page]) -> Iterator[Sites]:
    """`Sites` that answer until the end of the block."""
    found = Sites(wanted)
    with found.server:
        yield found
