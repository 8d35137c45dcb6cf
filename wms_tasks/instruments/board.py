"""
All metrics of a program. A process shows those of its roles only: a probe worker has no lag, and says nothing about it.

Which metrics there are is metrics.py's; who serves them, health_server.py's.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar

from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric

from wms_tasks.instruments.children import Children
from wms_tasks.instruments.kinds import Instrument

Kind = TypeVar("Kind", bound=Instrument)


class Collector(Protocol):
    """What else a board may show: prometheus_client's own collectors."""

    def collect(self) -> Iterable[Metric]:
        """Families with their samples, now."""


class Board:
    """Metrics by name. Thread-safe once all are added."""

    def __init__(self) -> None:
        self.instruments: dict[str, Instrument] = {}
        self.children = Children()
        self._others: list[Collector] = []
        self._lock = threading.Lock()
        self._roles: frozenset[str] = frozenset()

    def add(self, instrument: Kind) -> Kind:
        """
        Take it in.

        Raises:
            ValueError: there is one of that name.
        """
        if instrument.name in self.instruments:
            raise ValueError(f"two metrics named {instrument.name}")
        self.instruments[instrument.name] = instrument
        return instrument

    def also(self, collector: Collector) -> None:
        """Show that too."""
        self._others.append(collector)

    def show(self, *roles: str) -> None:
        """This process has these roles; may be called again, for more."""
        with self._lock:
            new = frozenset(roles) - self._roles
            for instrument in self.instruments.values():
                if instrument.role in new:
                    instrument.begin()
            self._roles |= new

    def collect(self) -> Iterator[Metric]:
        """Every family that the roles of this process have, by name."""
        gathered = {family.name: family for family in self.children.gathered()}
        for _, instrument in sorted(self.instruments.items()):
            if instrument.role not in self._roles:
                continue
            if self.children.folder is not None and instrument.in_children:
                family = gathered.get(instrument.name.removesuffix("_total"))
                yield from () if family is None else (family,)
            else:
                yield from instrument.collect()
        for other in self._others:
            yield from other.collect()

    def page(self, accept: str = "") -> tuple[str, bytes]:
        """Content type and body of /metrics: Prometheus' text form, or OpenMetrics where `accept` asks for it."""
        encode, content_type = choose_encoder(accept)
        return content_type, encode(self)
