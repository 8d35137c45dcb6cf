"""
What only shows across sites: two that are one, and hosts asked more often than their spacing allows. Pure.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field

from wms_tasks.sites.durations import format_duration
from wms_tasks.sites.problems import Place
from wms_tasks.sites.wording import listed, nearest, shown

SPACING_MS_DEFAULT = 1_000
_UNITS = ((1, "a second"), (60, "a minute"), (3600, "an hour"), (86_400, "a day"))
NAMED_SITES = 8  # enough to see which they are; a host may have thousands


class Identities:
    """Finds names and ids that are there twice; letter case and width make no difference to a reader."""

    def __init__(self) -> None:
        self._names: dict[str, tuple[str, Place]] = {}
        self._ids: dict[str, tuple[str, Place]] = {}

    def add(self, name: str, own_id: str | None, place: Place) -> Iterator[str]:
        """One site; yields what it shares with an earlier one. Without an id of its own its name is its id."""
        key, entry = _key(name), (name, place)
        earlier = self._names.setdefault(key, entry)
        if earlier is not entry:
            yield _twice("name", entry, earlier)
        id_key, id_entry = (key, entry) if own_id is None else (_key(own_id), (own_id, place))
        earlier_id = self._ids.setdefault(id_key, id_entry)
        told = own_id is None and earlier is not entry
        if earlier_id is not id_entry and not told:
            yield _twice("name (and so the id)" if own_id is None else "id", id_entry, earlier_id)


@dataclass(slots=True, kw_only=True)
class HostLoad:
    """What the enabled sites of one host ask of it together. ``place``: of its ``hosts:`` entry, else of a site."""

    host: str
    spacing_ms: int
    place: Place
    used: bool = False
    intervals: dict[int, int] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)

    def add(self, name: str, interval_ms: int) -> None:
        """One more enabled site."""
        self.intervals[interval_ms] = self.intervals.get(interval_ms, 0) + 1
        self.names.append(name)

    @property
    def probes_per_second(self) -> float:
        """One probe a site and interval. Retries are left out: they happen only while something is down."""
        return math.fsum(1000 * count / interval_ms for interval_ms, count in self.intervals.items())

    def problem(self) -> str | None:
        """Told where probes come faster than the spacing lets them pass: the sum of spacing / interval is above 1."""
        rate = self.probes_per_second
        if rate * self.spacing_ms <= 1000 * (1 + 1e-9):  # 60 sites at 60 s and 1 s are exactly full, floats or not
            return None
        fitting_ms = math.floor(1000 / rate * (1 + 1e-9))
        way_out = "longer intervals would do"
        if fitting_ms:
            entry = f"`{yaml_key(self.host)}: {{spacing: {format_duration(fitting_ms)}}}`"
            way_out = f"{entry} under hosts: would do, if the host is yours; else longer intervals"
        unit_seconds, unit = next((s, u) for s, u in _UNITS if rate * s >= 1 or s == _UNITS[-1][0])
        return (
            f"{self.host} is asked too often: its {_count(len(self.names), 'site')} make {rate * unit_seconds:.4g} "
            f"probes {unit}, its spacing of {format_duration(self.spacing_ms)} allows "
            f"{unit_seconds * 1000 / self.spacing_ms:.4g} ({way_out}): "
            f"{listed(map(shown, self.names), at_most=NAMED_SITES)}"
        )


class Hosts:
    """The spacing of each host that is written under ``hosts:``, and what is asked of every host."""

    def __init__(self) -> None:
        self._loads: dict[str, HostLoad] = {}
        self._written: list[HostLoad] = []

    def write(self, host: str, spacing_ms: int, place: Place) -> None:
        """An entry of ``hosts:``; `host` in `host_of`'s form, once."""
        self._loads[host] = HostLoad(host=host, spacing_ms=spacing_ms, place=place)
        self._written.append(self._loads[host])

    def written(self, host: str) -> Place | None:
        """Where the host's entry is, if it has one."""
        return self._loads[host].place if host in self._loads else None

    def load(self, host: str, place: Place) -> HostLoad:
        """The host that a site at `place` is on."""
        load = self._loads.get(host)
        if load is None:
            load = self._loads[host] = HostLoad(host=host, spacing_ms=SPACING_MS_DEFAULT, place=place)
        load.used = True
        return load

    def spacings_seconds(self) -> dict[str, float]:
        """As written under ``hosts:``."""
        return {load.host: load.spacing_ms / 1000 for load in self._written}

    def problems(self) -> Iterator[tuple[Place, str]]:
        """Hosts that are asked too often, and entries that no site needs: a misspelt one would protect nobody."""
        for load in self._loads.values():
            text = load.problem()
            if text:
                yield load.place, text
        used = tuple(load.host for load in self._loads.values() if load.used)
        for load in self._written:
            if not load.used:
                near = nearest(load.host, used)
                hint = f"did you mean {near}?" if near else "take it out, or write the host as in the url"
                yield load.place, f"hosts: no site is on {shown(load.host)} ({hint})"


def yaml_key(host: str) -> str:
    """`host` as a YAML key: an IPv6 address needs quotes."""
    return f'"{host}"' if ":" in host else host


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number:,} {noun}s"


def _key(text: str) -> str:
    return text.casefold() if text.isascii() else unicodedata.normalize("NFKC", text).casefold()


def _twice(kind: str, entry: tuple[str, Place], earlier: tuple[str, Place]) -> str:
    (text, place), (earlier_text, earlier_place) = entry, earlier
    where = earlier_place.seen_from(place)
    if text == earlier_text:
        return f"{kind} {shown(text)} is taken already, by the site in {where}"
    same = f"{kind} {shown(text)} is too like {shown(earlier_text)} of the site in {where}"
    return f"{same} (only letter case or width differ)"
