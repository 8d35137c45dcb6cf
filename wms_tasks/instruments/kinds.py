"""
The kinds of metric. Counters and histograms are prometheus_client's, with their labelled children at hand: what a probe
pays for them is microseconds. Made by metrics.py, gathered by board.py.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Any

import prometheus_client
from prometheus_client.metrics_core import GaugeMetricFamily, HistogramMetricFamily, Metric

from wms_tasks.instruments.children import Children

# A second series for each, which says when it was made; a process's age says the same.
prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]

OTHER = "other"

LabelSets = Mapping[str, Collection[str]]


class Instrument(ABC):
    """
    One metric of a role. ``labels``: each label's name and its closed set of values, beyond which a value is shown as
    ``other``; an empty set: few by nature (partitions of a topic).
    """

    kind = ""
    # Whether the processes of a pool use it, and not only the one that forks them.
    in_children = False

    def __init__(self, name: str, text: str, *, role: str, labels: LabelSets | None = None) -> None:
        self.name = name
        self.text = text
        self.role = role
        self.labels = {label: tuple(str(value) for value in allowed) for label, allowed in (labels or {}).items()}

    def begin(self) -> None:  # noqa: B027 - a gauge knows nothing yet
        """Its role is here: show what is known from the start."""

    @abstractmethod
    def collect(self) -> Iterable[Metric]:
        """What this process knows of it."""

    def known(self, found: tuple[str, ...]) -> tuple[str, ...]:
        """The label values, each one of its closed set."""
        sets = zip(found, self.labels.values(), strict=True)
        return tuple(str(value) if not allowed or value in allowed else OTHER for value, allowed in sets)


class _Kept(Instrument):
    """A metric that prometheus_client keeps; made at its first use, when it is known whether the pool forks."""

    def __init__(
        self, name: str, text: str, *, role: str, children: Children, in_children: bool = False, **options: Any
    ) -> None:
        super().__init__(name, text, role=role, **options)
        self.in_children = in_children
        self._pool = children
        self._whole: Any = None
        self._children: dict[tuple[str, ...], Any] = {}

    def begin(self) -> None:
        """Zeros where there is one label at most: a rate needs to see the first event too."""
        self._made()
        for values in zip(*self.labels.values(), strict=True) if len(self.labels) == 1 else ():
            self._child(values)

    def collect(self) -> Iterable[Metric]:
        return () if self._whole is None else self._whole.collect()

    @abstractmethod
    def _make(self) -> Any:
        """prometheus_client's metric."""

    def _made(self) -> Any:
        with self._pool.making(shared=self.in_children):
            if self._whole is None:
                self._whole = self._make()
            return self._whole

    def _child(self, found: tuple[str, ...]) -> Any:
        whole, known = self._made(), self.known(found)
        with self._pool.making(shared=self.in_children):
            child = whole.labels(*known) if known else whole
        if known == found:
            self._children[found] = child
        return child


class Counter(_Kept):
    """Only ever grows; its name ends in ``_total``."""

    kind = "counter"

    def inc(self, *labels: str, by: float = 1.0) -> None:
        """So many more."""
        (self._children.get(labels) or self._child(labels)).inc(by)

    def _make(self) -> Any:
        return prometheus_client.Counter(self.name, self.text, tuple(self.labels), registry=None)


class Histogram(_Kept):
    """How many values were at most each edge."""

    kind = "histogram"

    def __init__(self, name: str, text: str, *, edges: Sequence[float], **options: Any) -> None:
        super().__init__(name, text, **options)
        self.edges = tuple(edges)

    def observe(self, value: float, *labels: str) -> None:
        """One more, of this value; less than 0, of a clock that is behind another one, counts as 0."""
        # A sum that falls reads as a restart.
        (self._children.get(labels) or self._child(labels)).observe(max(0.0, value))

    def _make(self) -> Any:
        return prometheus_client.Histogram(self.name, self.text, tuple(self.labels), registry=None, buckets=self.edges)


class BulkHistogram(Instrument):
    """A histogram of thousands of values at a time, each a tenth of what `Histogram` takes; one process's own."""

    kind = "histogram"

    def __init__(self, name: str, text: str, *, role: str, edges: Sequence[float]) -> None:
        super().__init__(name, text, role=role)
        self.edges = tuple(edges)
        self._lock = threading.Lock()
        self._counts = [0] * (len(self.edges) + 1)
        self._sum = 0.0

    def observe_all(self, found: Iterable[float]) -> None:
        """Each of these; less than 0 counts as 0, as for `Histogram`."""
        ordered = sorted(found)
        if ordered and ordered[0] < 0.0:
            ordered = [max(0.0, value) for value in ordered]
        ends = [0, *(bisect_right(ordered, edge) for edge in self.edges), len(ordered)]
        with self._lock:
            for place, (start, end) in enumerate(pairwise(ends)):
                self._counts[place] += end - start
            self._sum += sum(ordered)

    def collect(self) -> Iterable[Metric]:
        with self._lock:
            counts, total = list(self._counts), self._sum
        names = [*(repr(float(edge)) for edge in self.edges), "+Inf"]
        family = HistogramMetricFamily(self.name, self.text)
        family.add_metric([], list(zip(names, accumulate(counts), strict=True)), total)
        yield family


class Gauge(Instrument):
    """
    What holds now; absent until it is known, and when it no longer is. Kept by the process that is asked, never by a
    pool's children. One thread sets it, any may read.
    """

    kind = "gauge"

    def __init__(self, name: str, text: str, *, role: str, labels: LabelSets | None = None) -> None:
        super().__init__(name, text, role=role, labels=labels)
        self._values: dict[tuple[str, ...], float] = {}

    def set(self, value: float, *labels: str) -> None:
        """It is this now."""
        self._values = self._values | {self.known(labels): float(value)}

    def replace(self, found: Mapping[tuple[str, ...], float]) -> None:
        """These are all there is; ``{}``: not known any more."""
        self._values = {self.known(labels): float(value) for labels, value in found.items()}

    def collect(self) -> Iterable[Metric]:
        if found := self._values:
            family = GaugeMetricFamily(self.name, self.text, labels=tuple(self.labels))
            for labels, value in sorted(found.items()):
                family.add_metric(labels, value)
            yield family
