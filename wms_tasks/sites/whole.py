"""
What needs all sites and all files: the groups and hosts they share, names that are there twice, and the sites built
from what is written. Finds every problem; fed by check.py, one `Check` a file, used by file.py only.
"""

from __future__ import annotations

from typing import NamedTuple

from wms_tasks.sites.build import build_site, site_times, what_is_asked
from wms_tasks.sites.layers import NO_LAYER, Layer, is_broken, layered
from wms_tasks.sites.pairs import impossible_pairs
from wms_tasks.sites.problems import Place
from wms_tasks.sites.record import Site
from wms_tasks.sites.spec import DefaultsSpec, SiteSpec
from wms_tasks.sites.times import Times
from wms_tasks.sites.together import HostLoad, Hosts, Identities
from wms_tasks.sites.url import host_of
from wms_tasks.sites.wording import shown, suggestion

TIME_KEYS = ("timeout", "jitter", "interval")


class Written(NamedTuple):
    """
    One site as written. ``spec`` lacks the ``broken`` keys; it is a `SiteSpec` where name and url are right. ``group``
    is None where it has none, or a wrong one.
    """

    spec: DefaultsSpec
    place: Place
    lines: dict[str, int]
    broken: frozenset[str]
    group: str | None

    def place_of(self, *keys: str) -> Place:
        """Of the first of `keys` that the site has itself; where it has none, they are the group's or the defaults'."""
        return self.place._replace(line=next((self.lines[key] for key in keys if key in self.lines), self.place.line))


class Groups:
    """``groups:`` of all files: each name once."""

    def __init__(self) -> None:
        self._groups: dict[str, tuple[Layer, Place]] = {}

    def write(self, name: str, layer: Layer, place: Place) -> None:
        """One more; a problem where there is one of that name."""
        if name in self._groups:
            place.add(f"groups: {shown(name)} is there already, in {self._groups[name][1].seen_from(place)}")
        else:
            self._groups[name] = layer, place

    def of(self, written: Written) -> Layer | None:
        """The site's group; `NO_LAYER` where it names none; None where there is no such group, which is told."""
        if "group" in written.broken:
            return None
        if written.group is None:
            return NO_LAYER
        if written.group in self._groups:
            return self._groups[written.group][0]
        hint = "write it under the top-level groups:, as `shop: {interval: 30s}`"
        if self._groups:
            hint = suggestion(written.group, tuple(self._groups))
        written.place_of("group").add(f"group: there is no group {shown(written.group)} ({hint})")
        return None


class Whole:
    """Of one or more files. ``enabled``, ``disabled`` and ``spacings_seconds`` are the outcome of `build`."""

    def __init__(self) -> None:
        self.identities = Identities()
        self.hosts = Hosts()
        self.groups = Groups()
        self.enabled: list[Site] = []
        self.disabled: list[Site] = []
        self.spacings_seconds: dict[str, float] = {}

    def build(self, sites: list[Written], defaults: Layer) -> None:
        """The sites of one file, after all files were read; empties the list, to make room for what comes of it."""
        below: dict[str | None, tuple[DefaultsSpec, tuple[Layer, ...]]] = {}
        sites.reverse()
        while sites:
            written = sites.pop()
            group = self.groups.of(written)
            if group is None:
                self._use_host(written)
                continue
            if written.group not in below:
                spec = defaults.spec if group is NO_LAYER else layered(group.spec, defaults.spec)
                below[written.group] = spec, (group, defaults)
            self._build(written, *below[written.group])

    def finish(self) -> None:
        """What shows once all sites are built."""
        self.spacings_seconds = self.hosts.spacings_seconds()
        for place, text in self.hosts.problems():
            place.add(text)

    def _build(self, written: Written, below: DefaultsSpec, layers: tuple[Layer, ...]) -> None:
        spec = written.spec
        unsure = written.broken
        if any(layer.broken for layer in layers):
            inherited = {key for layer in layers for key in layer.broken if getattr(spec, key, None) is None}
            unsure |= {key for key in inherited if is_broken(key, layers)}
        times = None if unsure.intersection(TIME_KEYS) else self._times(written, below, layers)
        asked = what_is_asked(spec, below)
        url = spec.url if isinstance(spec, SiteSpec) else None
        for pair in impossible_pairs(
            spec, asked, url=url, timeout_ms=times.timeout_ms if times else None, unsure=unsure
        ):
            written.place_of(*pair.keys).add(pair.text)
        load = self._use_host(written)
        if load is None or times is None or not isinstance(spec, SiteSpec):
            return
        site = build_site(spec, below, asked, times, spacing_ms=load.spacing_ms)
        if spec.enabled:
            load.add(spec.name, times.interval_ms)
        (self.enabled if spec.enabled else self.disabled).append(site)

    def _use_host(self, written: Written) -> HostLoad | None:
        spec = written.spec
        return self.hosts.load(host_of(spec.url), written.place) if isinstance(spec, SiteSpec) else None

    def _times(self, written: Written, below: DefaultsSpec, layers: tuple[Layer, ...]) -> Times | None:
        try:
            return site_times(written.spec, below)
        except ValueError as error:
            written.place_of(*TIME_KEYS).add(f"{error}{_from_below(written.spec, layers)}")
            return None


def _from_below(spec: DefaultsSpec, layers: tuple[Layer, ...]) -> str:
    """Which of the times stand elsewhere, and where."""
    homes: dict[str, list[str]] = {}
    for key in TIME_KEYS:
        if getattr(spec, key) is None:
            words = next((layer.words for layer in layers if getattr(layer.spec, key) is not None), None)
            if words:
                homes.setdefault(words, []).append(key)
    written = (f"{' and '.join(keys)} as written under {words}" for words, keys in homes.items())
    return f"; {', '.join(written)}" if homes else ""
