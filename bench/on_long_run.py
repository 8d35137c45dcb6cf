"""
Ten minutes of 10,000 sites every 30 s: how late beat sends, whether that grows, and how soon a row can be read.

One run; its five windows of two minutes are the rounds. At 333 results a second it is a little more than the 300 that
the way to the row is asked for.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench.delay_server import delay_server
from bench.figure import Figure, Measure, Round, Subject, at_most
from bench.rows import Window, histogram_quantile, quantile, read_window
from bench.whole import Stores, System, pause, stores, system, write_sites
from tests.acceptance.orders import Left
from tests.samples import scrape
from tests.waiting import wait_until
from wms_tasks import metrics

SITES = 10_000
INTERVAL_SECONDS = 30.0
ANSWER_MS = 50
WINDOW_SECONDS = 120.0
# All sites are due at once at the start, and so are their robots.txt; after two intervals none of that is left, but
# where a machine has little to spare.
WARM_UP_SECONDS = 75.0
_CAUGHT_UP_SECONDS = 240.0
# A window's last slots are due by then, jitter and a batch included.
_AFTER_SECONDS = INTERVAL_SECONDS / 10 + 4


class LongRun:
    """The run; ``measure`` waits for the end of a window."""

    def __init__(self, kept: Stores, whole: System) -> None:
        self._settings = kept.settings
        self._port = whole.health_ports["beat"]
        self._since = time.time()
        self._sent = self._buckets()
        self._first_median: float | None = None

    def measure(self, number: int) -> Round:
        """The window of this number, from 0; called in their order."""
        since = self._since + number * WINDOW_SECONDS
        until = since + WINDOW_SECONDS
        pause(max(0.0, until - time.time()))
        before, self._sent = self._sent, self._buckets()
        sent = [(edge, count - old) for (edge, count), (_, old) in zip(self._sent, before, strict=True)]
        pause(_AFTER_SECONDS)
        return self._figures(read_window(self._settings, since, until), sent)

    def _figures(self, window: Window, sent: Sequence[tuple[float, float]]) -> Round:
        median = quantile(window.lateness, 0.5)
        values = {
            "beat.lateness": histogram_quantile(sent, 0.99),
            "whole.lateness": quantile(window.lateness, 0.99),
            "whole.visible": quantile(window.visible, 0.99),
            "whole.visible_median": quantile(window.visible, 0.5),
            "whole.not_up": SITES * WINDOW_SECONDS / INTERVAL_SECONDS - window.up,
        }
        if self._first_median is None:
            self._first_median = median
        else:
            values["whole.drift"] = median - self._first_median
        return values

    def _buckets(self) -> list[tuple[float, float]]:
        samples = scrape(self._port).by(f"{metrics.SEND_LATENESS.name}_bucket", "le")
        edges = (*metrics.SEND_LATENESS.edges, float("inf"))
        found = {float(edge): count for (edge,), count in samples.items()}
        return [(edge, found.get(edge, 0.0)) for edge in edges]


@contextmanager
def _open(folder: Path) -> Iterator[Measure]:
    with ExitStack() as stack:
        port = stack.enter_context(delay_server())
        kept = stack.enter_context(stores(folder))
        write_sites(
            kept.settings.sites,
            count=SITES,
            url=f"http://{{host}}:{port}/?ms={ANSWER_MS}",
            interval_seconds=INTERVAL_SECONDS,
        )
        whole = stack.enter_context(system(kept.settings, folder))
        whole.start_beat()
        pause(WARM_UP_SECONDS)
        left, at_once = Left(kept.settings), SITES / INTERVAL_SECONDS
        wait_until(lambda: left.queued() < at_once, _CAUGHT_UP_SECONDS, "no backlog", every_seconds=1.0)
        yield LongRun(kept, whole).measure


SUBJECT = Subject(
    name="whole: ten minutes of 10,000 sites",
    figures=(
        Figure(
            key="beat.lateness",
            name="beat: lateness of sends, 10,000 sites every 30 s, p99 (upper edge of its bucket)",
            unit="s",
            must=at_most(0.5),
            aim=at_most(0.1),
            over="worst",
        ),
        Figure(
            key="whole.drift",
            name="whole: drift of the median lateness, from the first two minutes to later ones",
            unit="s",
            must=at_most(0.05),
            aim=at_most(0.01),
            over="worst",
        ),
        Figure(
            key="whole.visible",
            name="whole: slot → row that can be read, beyond jitter and response, p99",
            unit="s",
            must=at_most(1.5),
            aim=at_most(0.7),
        ),
        Figure(key="whole.visible_median", name="whole: the same, median", unit="s"),
        Figure(key="whole.lateness", name="whole: lateness of probes, p99", unit="s"),
        Figure(
            key="whole.not_up",
            name="whole: slots that are not up, of 40,000 in two minutes",
            unit="slots",
            must=at_most(0),
            over="worst",
        ),
    ),
    open=_open,
    conditions="10,000 sites every 30 s (333 results/s), each on a host of its own that answers in 50 ms, HTTP; one "
    "beat, one worker, one persist, all as by default; from when what was due at the start is done; one run, its five "
    "windows of two minutes as rounds; beat's lateness is its own histogram's, a probe's and a row's are of the rows, "
    "whose commit Postgres notes",
)
