"""Many sites, some of them black holes: these, the sites file, and which slots the living ones have."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.whole import host_of
from wms_tasks.schedule.slots import Slots, microseconds
from wms_tasks.sites.record import site_id_for


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What is probed, and for how long it is looked at after ``warm_up_seconds``."""

    sites: int = 2000
    dead_share: float = 0.1
    interval_seconds: float = 60.0
    timeout_seconds: float = 10.0
    retries: int = 1
    robots: str = "ignore"
    warm_up_seconds: float = 22.0
    seconds: float = 60.0

    @property
    def dead(self) -> int:
        """How many are black holes."""
        return round(self.sites * self.dead_share)


@contextmanager
def black_hole() -> Iterator[int]:
    """A port that takes connections and says nothing, and soon takes none."""
    with closing(socket.create_server(("0.0.0.0", 0), backlog=8)) as listener:
        yield listener.getsockname()[1]


def is_dead(number: int, load: Load) -> bool:
    """Whether the site of this number, from 0, is a black hole."""
    every = round(1 / load.dead_share) if load.dead_share else load.sites + 1
    return number % every == every - 1


def name_of(number: int, load: Load) -> str:
    """The name tells what it is."""
    return f"{'dead' if is_dead(number, load) else 'living'}-{number}"


def write_sites(path: Path, load: Load, living_port: int, dead_port: int) -> None:
    """Each site a host of its own; the dead ones among the others."""
    lines = ["sites:"]
    for number in range(load.sites):
        spec = {
            "name": name_of(number, load),
            "url": f"http://{host_of(number)}:{dead_port if is_dead(number, load) else living_port}/",
            "interval": f"{load.interval_seconds * 1000:.0f}ms",
            "timeout": f"{load.timeout_seconds * 1000:.0f}ms",
            "retries": load.retries,
            "robots": load.robots,
        }
        lines.append(f"  - {json.dumps(spec)}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def expected(load: Load, since: float, until: float) -> int:
    """How many slots of living sites begin between two instants of the Unix epoch."""
    begin, end = microseconds(since), microseconds(until)
    every = microseconds(load.interval_seconds)
    ids = (site_id_for(name_of(number, load)) for number in range(load.sites) if not is_dead(number, load))
    grids = (Slots(site_id.bytes, every) for site_id in ids)
    return sum((grid.at(end - 1) - grid.at(begin - 1)) // every for grid in grids)
