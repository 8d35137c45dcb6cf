"""
What beat tells the ledger: which sites it schedules, and what it has sent. Records and pure functions, no I/O.

The scheduler sends them as housekeeping tasks (announcer.py says when); `wms_tasks.ledger` takes them in. Each message
says all that it is about, so that any of them may be lost, repeated or overtaken.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID

import msgspec

from wms_tasks.net.redact import bare_url
from wms_tasks.prepared import prepared
from wms_tasks.schedule.entries import SiteEntry
from wms_tasks.shard import ALL_SITES, Shard
from wms_tasks.sites.record import Site, plain

# One message of 100,000 sites would hold beat for a second and take half a gigabyte of its reader.
CHUNK_SITES = 1_000
REDACTED = "…"
_REFERENCE = re.compile(r"\$\{[A-Za-z0-9_:./-]{1,300}\}")
_CREDENTIALS = {"auth": frozenset({"password", "bearer"}), "tls": frozenset({"ca", "certificate", "key"})}
_BESIDE = frozenset({"site_id", "name", "interval_seconds", "jitter_seconds"})


class AnnouncedSite(msgspec.Struct, frozen=True, kw_only=True):
    """
    A site's schedule from ``first_slot_us`` on: slots at ``splay_us + k * interval_us``. All microseconds.

    ``spec`` is the site without what may be secret; ``spec_digest`` is that of the whole.
    """

    site_id: UUID
    site_name: str
    location: str
    first_slot_us: int
    interval_us: int
    splay_us: int
    jitter_us: int
    max_lateness_us: int
    spec: dict[str, Any]
    spec_digest: str


@prepared
class Chunk(msgspec.Struct, frozen=True, kw_only=True):
    """
    A part of all sites of a shard. ``generation``: from when, in microseconds, beat schedules them; ``chunk`` counts
    from 0.

    Only a generation that arrived whole counts; no sites at all are one empty chunk.
    """

    shard: str = str(ALL_SITES)

    generation: int
    chunk: int
    chunks: int
    sites: tuple[AnnouncedSite, ...]

    def to_message(self) -> dict[str, Any]:
        """Plain JSON types, as Celery's kwargs want them."""
        message: dict[str, Any] = msgspec.to_builtins(self)
        return message

    @classmethod
    def from_message(cls, message: dict[str, Any]) -> Chunk:
        """
        The inverse of `to_message`.

        Raises:
            msgspec.ValidationError: not a chunk this release understands.
        """
        return msgspec.convert(message, cls)


class Outage(msgspec.Struct, frozen=True, kw_only=True):
    """Slots due after ``from_us`` could not be sent until ``until_us``, at which all of them were dealt with; why."""

    from_us: int
    until_us: int
    reason: str


@prepared
class Word(msgspec.Struct, frozen=True, kw_only=True):
    """
    What the leading beat has done, as of now.

    ``leadership`` names its time as the leader, which began at ``from_us``; every slot due in it up to ``until_us``
    was sent or lies in one of the ``outages``. ``before_us``: how far the leader before it had come by the marks it
    left. ``generation``: the sites it schedules, see `Chunk`.
    """

    shard: str = str(ALL_SITES)

    leadership: UUID
    from_us: int
    until_us: int
    before_us: int
    generation: int
    outages: tuple[Outage, ...] = ()

    def to_message(self) -> dict[str, Any]:
        """Plain JSON types, as Celery's kwargs want them."""
        message: dict[str, Any] = msgspec.to_builtins(self)
        return message

    @classmethod
    def from_message(cls, message: dict[str, Any]) -> Word:
        """
        The inverse of `to_message`.

        Raises:
            msgspec.ValidationError: no word this release understands.
        """
        return msgspec.convert(message, cls)


def redacted(site: Site) -> dict[str, Any]:
    """
    The site's spec without values of headers, body and credentials, what a url may hide, certificates' text, and what
    stands beside it in `AnnouncedSite`. References to secrets stay, their names are none.
    """
    spec = {key: value for key, value in plain(site).items() if key not in _BESIDE}
    spec |= {"url": bare_url(site.url), "headers": dict.fromkeys(site.headers, REDACTED)}
    if site.body is not None:
        spec["body"] = _reference_or_redacted(site.body)
    for key in _CREDENTIALS.keys() & spec.keys():
        may_be_secret = _CREDENTIALS[key]
        spec[key] = {
            name: _reference_or_redacted(value) if name in may_be_secret else value for name, value in spec[key].items()
        }
    return spec


def _reference_or_redacted(value: str) -> str:
    return value if _REFERENCE.fullmatch(value) else REDACTED


def announced(entry: SiteEntry, *, generation: int, location: str, max_lateness_us: int) -> AnnouncedSite:
    """A site's line of the schedule, as the ledger needs it."""
    return AnnouncedSite(
        site_id=entry.site.site_id,
        site_name=entry.site.name,
        location=location,
        first_slot_us=_first_expected(entry, generation, max_lateness_us),
        interval_us=entry.slots.interval_us,
        splay_us=entry.slots.splay_us,
        jitter_us=entry.slots.jitter_us,
        max_lateness_us=max_lateness_us,
        spec=redacted(entry.site),
        spec_digest=entry.site.digest(),
    )


def _first_expected(entry: SiteEntry, generation: int, max_lateness_us: int) -> int:
    """A new site is also probed in the slot now running, past that slot's own deadline: a row more than is expected."""
    first_us = entry.first_slot_us
    ended = entry.slots.expires(first_us, entry.slots.due(first_us), max_lateness_us) <= generation
    return entry.slots.after(first_us) if ended else first_us


def chunks(
    entries: Sequence[SiteEntry], *, generation: int, location: str, max_lateness_us: int, shard: Shard = ALL_SITES
) -> Iterator[Chunk]:
    """All sites of a shard in parts of at most `CHUNK_SITES`, each made when it is asked for."""
    count = max(1, -(-len(entries) // CHUNK_SITES))
    for chunk in range(count):
        part = entries[chunk * CHUNK_SITES : (chunk + 1) * CHUNK_SITES]
        sites = tuple(
            announced(one, generation=generation, location=location, max_lateness_us=max_lateness_us) for one in part
        )
        yield Chunk(shard=str(shard), generation=generation, chunk=chunk, chunks=count, sites=sites)
