"""
Two releases on one system: the newest one that was made, from its commit, and this tree. The way there and back, as
docs/howto/upgrade-and-roll-back.md tells it, written and read all the while: every slot is one row, whoever ran.
"""

from __future__ import annotations

import itertools
import json
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.processes import ROOT, Role, Roles, roles
from tests.acceptance.release import Release, installed_release, unpack
from tests.persisting import query
from tests.ports import free_ports
from tests.samples import scrape
from tests.servers import LocalServer, Peer, answer, failing, reset
from tests.waiting import wait_until
from wms_tasks import clock
from wms_tasks.schedule.entries import SiteEntry
from wms_tasks.settings import Settings
from wms_tasks.sites.file import load_sites

INTERVAL_SECONDS = 4
SITES = {"up": 28, "down": 6, "flaky": 6}
READING = Path(__file__).with_name("reading.py")
WMS = "import sys; from wms_tasks.cli import main; sys.exit(main())"


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One of the two releases: its name here, its Python, the folder to run it in."""

    name: str
    python: str
    folder: Path


class System:
    """The roles of both, on one database, topic and Redis, and what came of their work."""

    def __init__(self, started: Roles, settings: Settings, folder: Path) -> None:
        self.settings = settings
        self._started = started
        self._folder = folder
        self._ports: dict[int, int] = {}
        self._readers: dict[str, Role] = {}

    def start(self, side: Side, role: str) -> Role:
        """Beat, worker or persist of a release; it is not ready yet."""
        wanted = ["worker", "-n", f"{role}-{side.name}@%h"]
        if role == "beat":
            wanted = ["beat", "-s", str(self._folder / f"beat-{side.name}")]
        elif role == "persist":
            wanted.append("--persist")
        (port,) = free_ports(1)
        started = self._started.start(
            *wanted,
            program=[side.python, "-m", "celery", "-A", "wms_tasks"],
            folder=side.folder,
            WMS_WORKER_NAME=side.name,
            WMS_METRICS_PORT=str(port),
        )
        self._ports[id(started)] = port
        return started

    def run(self, side: Side, *arguments: str) -> str:
        """What a command of a release prints; it succeeds."""
        done = self._started.start(*arguments, program=[side.python, "-c", WMS], folder=side.folder)
        assert done.wait(30) == 0, f"wms {' '.join(arguments)} of {side.name}: {done.said()}"
        return done.said()

    def stored_by(self, persist: Role) -> float:
        """Rows that this process has stored."""
        return scrape(self._ports[id(persist)]).sum("wms_persist_rows_total")

    def begin_reading(self, side: Side, since: datetime) -> None:
        """From now on, without a pause: all that a release reads."""
        program = [side.python, "-P", str(READING)]
        self._readers[side.name] = self._started.start(since.isoformat(), program=program, folder=side.folder)

    def end_reading(self, side: Side) -> None:
        """It has read well to the last, and never less than before."""
        reader = self._readers.pop(side.name)
        stop(reader)
        read_ever_more(rounds(reader))

    def until_filled(self, persist: Role, *workers: Side) -> None:
        """
        From now on beat sends, each of these workers fills slots and nobody else does, this process stores them, and
        each reader that there is reads all.
        """
        now, before = clock.utcnow(), self.stored_by(persist)
        rows = "SELECT worker, count(*) FROM wms.results WHERE due_at > %s GROUP BY worker"
        read = {name: len(rounds(reader)) for name, reader in self._readers.items()}

        def enough() -> bool:
            filled = Counter(dict(query(self.settings, rows, now)))
            assert filled.keys() <= {one.name for one in workers}
            return all(filled[one.name] >= 5 for one in workers) and self.stored_by(persist) >= before + 10

        def read_again() -> bool:
            assert all(reader.process.poll() is None for reader in self._readers.values()), "a reader has ended"
            # Of the first of two, the beginning may be older.
            return all(len(rounds(self._readers[name])) >= count + 2 for name, count in read.items())

        wait_until(enough, 20, f"slots filled by {[one.name for one in workers]}", every_seconds=0.1)
        wait_until(read_again, 20, f"a whole round of each of {list(read)}", every_seconds=0.1)


def rounds(reader: Role) -> list[dict[str, Any]]:
    """What it has read, round by round."""
    return [json.loads(line) for line in reader.said().splitlines() if line.startswith("{") and line.endswith("}")]


def read_ever_more(found: list[dict[str, Any]]) -> None:
    """Each round has all rows of the one before it, each slot once, and nothing is missed or beside the schedules."""
    assert len(found) > 1
    for before, after in itertools.pairwise(found):
        assert before["rows"] <= after["rows"] == after["slots"]
        assert before["sites"] <= after["sites"] <= sum(SITES.values())
        assert done(before) <= done(after)
        assert (after["ledger"]["missed"], after["ledger"]["extra"], after["ledger"]["skipped"]) == ({}, 0, 0)


def done(one: dict[str, Any]) -> int:
    """Slots that have ended, by the ledger."""
    return int(one["ledger"]["up"]) + int(one["ledger"]["down"])


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    """The newest release."""
    return installed_release(tmp_path_factory.mktemp("release"))


@pytest.fixture
def system(
    settings: Settings, wms_environ: dict[str, str], empty_database_url: str, tmp_path: Path
) -> Iterator[System]:
    """Nothing runs yet, and there is no schema; what the sites' server does is by their names."""
    turns = itertools.count()

    def flaky(peer: Peer) -> None:
        (reset if next(turns) % 2 == 0 else answer())(peer)

    with LocalServer({"/up": answer(), "/down": failing(404), "/flaky": flaky}) as web:
        sites = write_sites(tmp_path, web)
        environ = wms_environ | {
            "WMS_DATABASE_URL": empty_database_url,
            "WMS_SITES": str(sites),
            "WMS_CLOSE_GRACE_SECONDS": "3",
        }
        changed = settings.model_copy(update={"database_url": empty_database_url, "sites": sites})
        with roles(environ, tmp_path) as started:
            yield System(started, changed, tmp_path)


def write_sites(folder: Path, web: LocalServer) -> Path:
    """Ten slots a second."""
    names = [f"{kind}-{number}" for kind, count in SITES.items() for number in range(count)]
    common = f"interval: {INTERVAL_SECONDS}s, timeout: 500ms, jitter: 100ms, robots: ignore"
    lines = [f"  - {{name: {one}, url: '{web.url('/' + one.partition('-')[0])}', {common}}}" for one in names]
    path = folder / "sites.yaml"
    path.write_text("hosts: {127.0.0.1: {spacing: 1ms}}\nsites:\n" + "\n".join(lines) + "\n")
    return path


def stop(*gone: Role) -> None:
    """As an upgrade stops them: one signal, and they end well by themselves."""
    for one in gone:
        assert one.stop()[0] == 0, one.said()


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """One of each role."""

    beat: Role
    worker: Role
    persist: Role


def begin(system: System, old: Side) -> Running:
    """The old release alone, from nothing on."""
    assert "applied: " in system.run(old, "migrate", "up")
    worker, persist = (system.start(old, role) for role in ("worker", "persist"))
    worker.until_said(" ready.")
    persist.until_said(" ready.")
    beat = system.start(old, "beat")
    beat.until_said("beat.leading")
    return Running(beat=beat, worker=worker, persist=persist)


def expand(system: System, persist: Role, old: Side, new: Side, began: datetime) -> None:
    """The new release's schema below the old one's roles; from now on the new one reads it too."""
    system.run(new, "migrate", "up")
    system.begin_reading(new, began)
    system.until_filled(persist, old)


def migrate(system: System, before: Running, old: Side, new: Side) -> Running:
    """One role after the other: what is newer stores what older workers send, and fills what an older beat orders."""
    persist = system.start(new, "persist")
    persist.until_said(" ready.")
    stop(before.persist)
    system.until_filled(persist, old)
    worker = system.start(new, "worker")
    worker.until_said(" ready.")
    system.until_filled(persist, old, new)
    # The old beat, and workers of the new release alone.
    stop(before.worker)
    system.until_filled(persist, new)
    beat = hand_over_beat(system, before.beat, new)
    system.until_filled(persist, new)
    return Running(beat=beat, worker=worker, persist=persist)


def roll_back(system: System, after: Running, old: Side, new: Side) -> Running:
    """Older ones store what newer workers send, and fill what a newer beat orders; then they are alone again."""
    persist, worker = (system.start(old, role) for role in ("persist", "worker"))
    persist.until_said(" ready.")
    worker.until_said(" ready.")
    stop(after.persist)
    system.until_filled(persist, old, new)
    # The new beat, and workers of the old release alone.
    stop(after.worker)
    system.until_filled(persist, old)
    beat = hand_over_beat(system, after.beat, old)
    system.until_filled(persist, old)
    return Running(beat=beat, worker=worker, persist=persist)


def hand_over_beat(system: System, before: Role, side: Side) -> Role:
    """The other release's beat stands by, then leads."""
    beat = system.start(side, "beat")
    beat.until_said("beat.standing_by")
    stop(before)
    beat.until_said("beat.leading")
    return beat


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_there_and_back(system: System, release: Release) -> None:
    """
    Up in the order that we advise, back in another one, so that persist and worker are behind beat too; then the
    schema, which the old release brings back by what the new one kept in the database. The old release reads from the
    first row to the last, the new one for as long as its schema is there.
    """
    old = Side(name="old", python=str(release.python), folder=release.folder)
    new = Side(name="new", python=sys.executable, folder=ROOT)
    running = begin(system, old)
    began = clock.utcnow()
    system.begin_reading(old, began)
    system.until_filled(running.persist, old)

    expand(system, running.persist, old, new, began)
    expanded_at = clock.utcnow()
    running = migrate(system, running, old, new)
    running = roll_back(system, running, old, new)
    span = span_of(began, until_all_are_rows(system, began))
    assert balanced(system.run(old, *span)) == balanced(system.run(new, *span))

    system.end_reading(new)
    system.run(old, "migrate", "down", "--to", release.newest_migration)
    system.until_filled(running.persist, old)
    total = balanced(system.run(old, *span_of(began, until_all_are_rows(system, began))))
    system.end_reading(old)
    assert total["up"] > total["down"] > 0
    assert query(system.settings, "SELECT count(*) FROM wms.rejects") == [(0,)]
    assert query(system.settings, "SELECT count(*) FROM wms.lost_offsets") == [(0,)]
    closed = "SELECT closed_until > %s FROM wms.closing"
    wait_until(lambda: query(system.settings, closed, expanded_at) == [(True,)], 15, "slots closed on the way")
    # Attempts went from hand to hand, whoever sent the message on.
    again = query(system.settings, "SELECT DISTINCT worker FROM wms.results WHERE attempt = 2 ORDER BY 1")
    assert again == [("new",), ("old",)]
    stop(running.beat, running.worker, running.persist)


def until_all_are_rows(system: System, began: datetime) -> datetime:
    """From there to now: each slot of each site, counted from the sites file alone, has become exactly one row."""
    until = clock.utcnow()
    expected = {
        (entry.site.site_id, slot)
        for entry in map(SiteEntry, load_sites(system.settings.sites))
        for slot in range(
            entry.slots.after(entry.slots.at(clock.to_microseconds(began))),
            clock.to_microseconds(until),
            entry.slots.interval_us,
        )
    }
    rows = "SELECT site_id, scheduled_at FROM wms.results WHERE scheduled_at < %s"

    def lacking() -> list[Any]:
        found = Counter((site, clock.to_microseconds(at)) for site, at in query(system.settings, rows, until))
        assert max(found.values()) == 1
        return sorted(expected - found.keys(), key=str)

    wait_until(lambda: not lacking(), 10, f"a row for each slot of {began} to {until}", every_seconds=0.1)
    return until


def span_of(since: datetime, until: datetime) -> tuple[str, ...]:
    """`wms ledger` of that time."""
    return ("ledger", "--from", since.isoformat(), "--to", until.isoformat(), "--json")


def balanced(ledger: str) -> dict[str, int]:
    """What both releases count in `wms ledger --json`: it adds up, nothing is open, missed or beside the schedules."""
    total: dict[str, Any] = json.loads(ledger)["total"]
    assert total["expected"] == total["up"] + total["down"] > 0, ledger
    assert (total["open"], total["missed"], total["extra"], total["skipped"]) == (0, {}, 0, 0), ledger
    return {name: total[name] for name in ("expected", "up", "down")}


@pytest.mark.parametrize(
    ("changed", "ledger"),
    [
        ({"rows": 9}, {}),
        ({"rows": 11, "slots": 10}, {}),
        ({"sites": 41}, {}),
        ({}, {"up": 8}),
        ({}, {"missed": {"worker_too_old": 1}}),
        ({}, {"extra": 1}),
    ],
)
def test_a_reader_that_loses_sight_is_noticed(changed: dict[str, int], ledger: dict[str, object]) -> None:
    """Of a row, or that reads one twice, or one that should not be."""
    total = {"up": 9, "down": 1, "missed": {}, "extra": 0, "skipped": 0}
    one = {"rows": 10, "slots": 10, "sites": 40, "ledger": total}
    read_ever_more([one, one])

    with pytest.raises(AssertionError):
        read_ever_more([one, one | {"ledger": total | ledger} | changed])


def test_a_history_without_the_release_fails(tmp_path: Path) -> None:
    """It says what to do, and is no skip."""
    with pytest.raises(pytest.fail.Exception, match=r"the history lacks 0{40}, a release .*: git fetch --unshallow"):
        unpack("0" * 40, tmp_path / "tree", "a release")
