"""
What a sites file would change of what runs: sites added, removed, and key by key what is other. Pure.

What runs is known without its secrets (`announce.redacted`), so the file is seen without them too; that one of them is
other shows in the digest alone. Called by ``wms sites diff``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import msgspec

from wms_tasks.schedule.announce import redacted
from wms_tasks.sites.record import Site

# A header's value, a body, or what a url has behind its path.
HIDDEN_KEY = "(a value that is not shown)"
_SECONDS = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One key, as in `Site`, dotted; None: it is not there. Both None under `HIDDEN_KEY`."""

    key: str
    old: Any
    new: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """A site that stays and is other. ``name`` is the new one; ``changes`` are in the order of their keys."""

    site_id: UUID
    name: str
    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Each by name. Sites are without secrets."""

    added: tuple[Site, ...]
    removed: tuple[Site, ...]
    changed: tuple[Changed, ...]

    def __bool__(self) -> bool:
        """Whether there is any difference."""
        return bool(self.added or self.removed or self.changed)


def running_site(*, site_id: UUID, name: str, interval_us: int, jitter_us: int, spec: Mapping[str, Any]) -> Site:
    """
    The record that was announced, without its secrets. Keys that another release announced and this one does not know
    are left out.

    Raises:
        msgspec.ValidationError: a value that this release does not know.
    """
    times = {"interval_seconds": interval_us / _SECONDS, "jitter_seconds": jitter_us / _SECONDS}
    return msgspec.convert({**spec, **times, "site_id": str(site_id), "name": name}, Site)


def compare(running: Iterable[tuple[Site, str]], written: Iterable[Site]) -> Comparison:
    """
    From what runs, each with its whole spec's digest, to what is written.

    Args:
        running: made by `running_site`.
    """
    before = {site.site_id: (site, digest) for site, digest in running}
    after = {site.site_id: site for site in written}
    changed = (_changed(before[site_id], site) for site_id, site in after.items() if site_id in before)
    return Comparison(
        added=_by_name(_public(site) for site_id, site in after.items() if site_id not in before),
        removed=_by_name(site for site_id, (site, _) in before.items() if site_id not in after),
        changed=tuple(sorted(filter(None, changed), key=lambda one: one.name.casefold())),
    )


def _changed(before: tuple[Site, str], site: Site) -> Changed | None:
    old, digest = before
    if digest == site.digest():
        return None
    old_keys, new_keys = dict(_flat(old)), dict(_flat(_public(site)))
    changes = [
        Change(key=key, old=old_keys.get(key), new=new_keys.get(key))
        for key in sorted(old_keys.keys() | new_keys.keys())
        if old_keys.get(key) != new_keys.get(key)
    ]
    changes = changes or [Change(key=HIDDEN_KEY, old=None, new=None)]
    return Changed(site_id=site.site_id, name=site.name, changes=tuple(changes))


def _public(site: Site) -> Site:
    """The site as the ledger knows it."""
    return msgspec.convert(msgspec.to_builtins(site) | redacted(site), Site)


def _by_name(sites: Iterable[Site]) -> tuple[Site, ...]:
    return tuple(sorted(sites, key=lambda site: site.name.casefold()))


def _flat(record: msgspec.Struct, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name in record.__struct_fields__:
        value, key = getattr(record, name), f"{prefix}{name}"
        if isinstance(value, msgspec.Struct):
            yield from _flat(value, f"{key}.")
        elif isinstance(value, dict):
            yield from ((f"{key}.{inner}", text) for inner, text in value.items())
        else:
            yield key, msgspec.to_builtins(value)
