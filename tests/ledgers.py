"""What the tests of the ledger share: sites announced in the past, beat's word, and what the ledger made of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from tests.persisting import query, running
from tests.waiting import wait_until
from wms_tasks import clock
from wms_tasks.ledger.sites import take_in
from wms_tasks.schedule import announce
from wms_tasks.schedule.announce import Chunk, Outage, Word
from wms_tasks.schedule.entries import SiteEntry
from wms_tasks.schedule.sent import Sent
from wms_tasks.settings import Settings
from wms_tasks.shard import ALL_SITES, Shard
from wms_tasks.sites.record import Site, site_id_for
from wms_tasks.topic import ensure_topic

SECOND = 1_000_000
LATENESS_US = 300 * SECOND


def a_site(name: str = "a", *, interval_seconds: float = 10.0, jitter_seconds: float = 0.0, **changes: Any) -> Site:
    """A site."""
    wanted: dict[str, Any] = {"site_id": site_id_for(name), "name": name, "url": f"http://{name}.example/"}
    return Site(**(wanted | {"interval_seconds": interval_seconds, "jitter_seconds": jitter_seconds} | changes))


def entries_at(sites: Sequence[Site], at_us: int) -> list[SiteEntry]:
    """Their entries, as a beat takes them up that has sent everything before."""
    entries = [SiteEntry(site) for site in sites]
    for entry in entries:
        entry.seen = True
        entry.resume(now_us=at_us, sent=Sent.until(at_us))
    return entries


def chunks_of(*sites: Site, at_us: int, location: str = "local", shard: Shard = ALL_SITES) -> list[Chunk]:
    """Their announcement."""
    entries = entries_at(sites, at_us)
    return list(announce.chunks(entries, generation=at_us, location=location, max_lateness_us=LATENESS_US, shard=shard))


def announced(settings: Settings, *sites: Site, at_us: int, shard: Shard = ALL_SITES) -> None:
    """The ledger knows them from that instant on."""
    for chunk in chunks_of(*sites, at_us=at_us, shard=shard):
        take_in(settings, chunk)


def a_word(
    from_us: int,
    until_us: int,
    *outages: Outage,
    generation: int = 0,
    before_us: int = 0,
    leadership: int = 1,
    shard: Shard = ALL_SITES,
) -> Word:
    """Beat led for this long."""
    return Word(
        shard=str(shard),
        leadership=UUID(int=leadership),
        from_us=from_us,
        until_us=until_us,
        before_us=before_us,
        generation=generation,
        outages=outages,
    )


def now_us() -> int:
    """Now, in microseconds."""
    return clock.to_microseconds(clock.utcnow())


def claimed(settings: Settings) -> None:
    """The topic exists, and the persist loop has come to the end of every partition, and is gone again."""
    ensure_topic(settings)
    with running(settings) as loop:
        wait_until(
            lambda: (
                len(loop.stats().assignment) == settings.kafka_topic_partitions
                and all(one.lag == 0 for one in loop.stats().assignment)
            ),
            20,
            "all partitions read to their end",
        )


def missed(settings: Settings) -> dict[datetime, str]:
    """Slot → reason of the missed."""
    return dict(
        query(settings, "SELECT scheduled_at, reason FROM wms.results WHERE outcome = 'missed' ORDER BY 1")  # type: ignore[arg-type]
    )


def ranges(settings: Settings) -> list[tuple[str, datetime, datetime | None]]:
    """Name, first slot, and what it ended before (None: it goes on)."""
    return query(  # type: ignore[return-value]
        settings, "SELECT site_name, valid_from, nullif(valid_to, 'infinity') FROM wms.sites ORDER BY 2, 1"
    )


def seconds_ago(seconds: float) -> int:
    """In microseconds since the epoch, on a whole second."""
    return (now_us() // SECOND) * SECOND - int(seconds * SECOND)
