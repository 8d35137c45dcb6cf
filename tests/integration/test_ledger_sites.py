"""The sites' schedules in Postgres: whole generations only, in any order; and just the slots that beat sends."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import permutations
from uuid import UUID

import pytest

from tests.ledgers import LATENESS_US, SECOND, a_site, announced, chunks_of, entries_at, ranges
from tests.persisting import query
from wms_tasks import clock
from wms_tasks.ledger.sites import take_in
from wms_tasks.order import ProbeOrder
from wms_tasks.schedule import announce
from wms_tasks.schedule.entries import Entry, SiteEntry
from wms_tasks.schedule.timetable import Timetable
from wms_tasks.settings import Settings
from wms_tasks.sites.record import Site

START_US = 1_795_000_000 * SECOND


@pytest.fixture
def store(database_url: str) -> Settings:
    """Postgres is all that is needed here."""
    return Settings(env="test", database_url=database_url)


def names(settings: Settings) -> list[str]:
    """The sites that have a current range."""
    return [name for name, _, ended in ranges(settings) if ended is None]


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two sites each."""
    monkeypatch.setattr(announce, "CHUNK_SITES", 2)


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_a_generation_counts_when_it_is_whole_in_any_order(store: Settings, order: tuple[int, ...]) -> None:
    """Chunks that come twice change nothing."""
    sites = [a_site(name) for name in "abcde"]
    chunks = chunks_of(*sites, at_us=START_US)
    for n in order[:-1]:
        take_in(store, chunks[n])
        take_in(store, chunks[n])
        assert ranges(store) == []
    take_in(store, chunks[order[-1]])
    assert sorted(names(store)) == list("abcde")
    for chunk in chunks:
        take_in(store, chunk)
    assert len(ranges(store)) == 5
    assert query(store, "SELECT count(*) FROM wms.announced") == [(0,)]


@pytest.mark.usefixtures("small_chunks")
def test_a_generation_that_never_arrived_whole_is_passed_over(store: Settings) -> None:
    """Its successor counts; what comes of it later does not."""
    first, second = (chunks_of(*map(a_site, names), at_us=START_US + n) for n, names in enumerate(("abc", "bcd")))
    take_in(store, first[0])
    for chunk in second:
        take_in(store, chunk)
    take_in(store, first[1])
    assert sorted(names(store)) == list("bcd")
    assert query(store, "SELECT count(*) FROM wms.announced_chunks") == [(0,)]


def test_two_beats_with_one_file_agree(store: Settings) -> None:
    """A restart, a take-over: the ranges go on as they were."""
    announced(store, a_site(), a_site("b"), at_us=START_US)
    before = ranges(store)
    announced(store, a_site("b"), a_site(), at_us=START_US + 1000 * SECOND)
    assert ranges(store) == before


def test_no_sites_end_all_ranges(store: Settings) -> None:
    """Someone emptied the file."""
    announced(store, a_site(), at_us=START_US)
    announced(store, at_us=START_US + 100 * SECOND)
    assert names(store) == []


def test_a_change_ends_a_range_and_begins_another(store: Settings) -> None:
    """No slot is in both, none in neither; the spec of each is kept, without what may be secret."""
    announced(store, a_site(headers={"X-Key": "hunter2"}), at_us=START_US)
    announced(store, a_site(url="http://other.example/?hunter3"), at_us=START_US + 100 * SECOND)
    (_, _, ended), (_, begun, current) = ranges(store)
    assert ended == begun
    assert current is None
    specs = [str(row[0]) for row in query(store, "SELECT spec FROM wms.sites ORDER BY valid_from")]
    assert "http://a.example/" in specs[0]
    assert "http://other.example/" in specs[1]
    assert not any("hunter" in spec for spec in specs)


def test_another_location_is_another_schedule(store: Settings) -> None:
    """Beat's location moved: the slots are expected there from then on."""
    for chunk in [*chunks_of(a_site(), at_us=START_US), *chunks_of(a_site(), at_us=START_US + 1, location="berlin")]:
        take_in(store, chunk)
    rows = query(store, "SELECT location, valid_to = 'infinity' FROM wms.sites ORDER BY location")
    # One microsecond held no slot at the first.
    assert rows == [("berlin", True)]


class Simulation:
    """A beat without clock and Redis, whose every change of sites is announced; and which slots it sent."""

    def __init__(self, settings: Settings, seed: int) -> None:
        self.settings = settings
        self.random = random.Random(seed)
        self.now_us = START_US
        self.table = Timetable(max_lateness_us=LATENESS_US)
        self.sent: set[tuple[UUID, int]] = set()
        self.grids_changed = 0

    def some_sites(self) -> list[Site]:
        """Some of six, each in one of a few forms; jitter up to half of the interval."""
        chosen = self.random.sample("abcdef", self.random.randint(0, 6))
        return [self._site(name) for name in sorted(chosen)]

    def _site(self, name: str) -> Site:
        interval = self.random.choice([5.0, 7.0, 60.0])
        return a_site(
            name,
            interval_seconds=interval,
            jitter_seconds=self.random.choice([0.0, interval / 2]),
            url=self.random.choice(["http://x.example/", "http://y.example/"]),
        )

    def change(self) -> None:
        """The file was edited: reload, announce."""
        before = {key: entry.slots for key, entry in self.table.entries.items()}
        self.table.change_to([SiteEntry(site) for site in self.some_sites()], now_us=self.now_us)
        self.grids_changed += sum(1 for k, entry in self.table.entries.items() if before.get(k) != entry.slots)
        entries = [entry for entry in self.table.entries.values() if isinstance(entry, SiteEntry)]
        for chunk in announce.chunks(entries, generation=self.now_us, location="local", max_lateness_us=LATENESS_US):
            take_in(self.settings, chunk)

    def run(self, seconds: float) -> None:
        """Send what falls due, without ever being late."""
        until_us = self.now_us + int(seconds * SECOND)
        while (due_us := self.table.next_due_us()) is not None and due_us <= until_us:
            self.now_us = max(self.now_us, due_us)
            for _ in self.table.take_due(self.now_us, self._send):
                pass
        self.now_us = until_us

    def _send(self, due: Sequence[Entry]) -> None:
        (entry,) = due
        order = ProbeOrder.from_message(entry.message(LATENESS_US).kwargs["order"])
        self.sent.add((order.site.site_id, clock.to_microseconds(order.scheduled_at)))


EXPECTED = """
    SELECT s.site_id, wms.slot_at(k, s.interval_us, s.splay_us)
    FROM wms.sites AS s, generate_series(
        wms.slots_before(s.valid_from, s.interval_us, s.splay_us),
        wms.slots_before(least(s.valid_to, timestamptz '{until}'), s.interval_us, s.splay_us) - 1
    ) AS k
"""


@pytest.mark.parametrize("seed", range(6))
def test_what_is_expected_is_what_beat_sends(store: Settings, seed: int) -> None:
    """
    Over any changes: every expected slot was sent, each is expected once; and where a site's grid changed, at most one
    slot was sent beside them, which had begun before the change.
    """
    beat = Simulation(store, seed)
    for _ in range(12):
        beat.change()
        beat.run(beat.random.uniform(0, 40))
    # Until every jitter of what has begun is over.
    horizon = clock.from_microseconds(beat.now_us - 60 * SECOND).isoformat()
    expected = [(site, clock.to_microseconds(at)) for site, at in query(store, EXPECTED.format(until=horizon))]
    assert len(expected) == len(set(expected)) > 0
    assert set(expected) <= beat.sent
    extra = {one for one in beat.sent - set(expected) if one[1] < beat.now_us - 60 * SECOND}
    assert len(extra) <= beat.grids_changed


def test_entries_at_is_what_the_scheduler_has() -> None:
    """The tests' own short cut goes by the same rules."""
    (entry,) = entries_at([a_site(jitter_seconds=5.0)], START_US)
    table = Timetable(max_lateness_us=LATENESS_US)
    old = SiteEntry(a_site(jitter_seconds=5.0, url="http://before.example/"))
    old.seen = True
    table.entries[old.key] = old
    table.change_to([SiteEntry(a_site(jitter_seconds=5.0))], now_us=START_US)
    assert next(iter(table.entries.values())).next_slot_us == entry.next_slot_us
