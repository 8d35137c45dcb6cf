"""
What a scenario works with: the system, its services, the proxies, a clock, and the three questions after each fault:
has it recovered, is everybody alive, is everything accounted for?
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import psycopg
from confluent_kafka import KafkaException

from tests.faults import evidence
from tests.faults.evidence import Topic
from tests.faults.judge import Rules, Verdict, judge
from tests.faults.records import Evidence, Expected, Outage, Partition, Place
from tests.faults.sites import Page, Sites
from tests.faults.stage import Stage, flush
from tests.faults.system import Member, System
from tests.waiting import wait_until

# From the end of a slot to the row of a result that was in hand at that moment, where nothing is broken.
SLACK = timedelta(seconds=4)
READ_SECONDS = 30.0
# Beat sends the closing task so often.
CLOSING_TURN_SECONDS = 10.0


class NotRecovered(AssertionError):  # noqa: N818 - reads as what it says
    """The system did not recover in time; the text says what it was doing."""


@dataclass(slots=True, eq=False, kw_only=True)
class Lab:
    """One run of one scenario. ``short`` makes outages seconds instead of a minute."""

    stage: Stage
    sites: Sites
    system: System
    topic: Topic
    random: Random
    short: bool
    folder: Path
    began_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    outages: list[Outage] = field(default_factory=list)
    with_visits: bool = True
    bad: dict[Place, str] = field(default_factory=dict)

    def start(self, *, workers: int = 1, persists: int = 1, beats: int = 1) -> None:
        """Start the roles and wait until every quick site has its first row."""
        flush(self.stage)
        members = [self.system.start_persist(n) for n in range(persists)]
        members += [self.system.start_worker(n) for n in range(workers)]
        self.system.until_started(*members)
        self.system.until_started(*[self.system.start_beat(n) for n in range(beats)])
        wait_until(lambda: any("beat.leading" in m.role.said() for m in self.beats), 20, "a beat that leads")
        self.began_at = now()
        self.wait_recovered(self.began_at, 30.0)

    @property
    def beats(self) -> list[Member]:
        """The members that are beats."""
        return [member for name, member in self.system.members.items() if name.startswith("beat")]

    def member(self, name: str) -> Member:
        """One of the system's processes."""
        return self.system.members[name]

    def seconds(self, long: float, short: float) -> float:
        """How long an outage lasts here."""
        return short if self.short else long

    def wait(self, seconds: float) -> None:
        """Let a fault last; ends early, with an error, when a role ends by itself."""
        until = time.monotonic() + seconds
        wait_until(lambda: time.monotonic() >= until or self.system.dead(), seconds + 10, "time", every_seconds=0.1)
        self.check_alive()

    def check_alive(self) -> None:
        """No role may end by itself, whatever the fault."""
        dead = self.system.dead()
        assert not dead, "; ".join(dead)

    def wait_recovered(self, since: datetime, limit_seconds: float) -> float:
        """
        Seconds from `since` until every quick site has a row for a slot after it and Postgres has all of the topic.

        Raises:
            NotRecovered: not in time, or a role ended by itself.
        """
        began = time.monotonic() - (now() - since).total_seconds()
        try:
            wait_until(lambda: self._recovered(since), max(1.0, limit_seconds), "recovery", every_seconds=0.25)
            ends = wait_until(self._ends, max(1.0, limit_seconds - (time.monotonic() - began)), "Kafka to answer")
            left_seconds = max(1.0, limit_seconds - (time.monotonic() - began))
            wait_until(
                lambda: self.system.dead() or self._read_to(ends), left_seconds, "the backlog", every_seconds=0.25
            )
        except AssertionError as error:
            raise NotRecovered(f"{error}; {self._state(since)}") from error
        self.check_alive()
        return time.monotonic() - began

    def judge(self, rules: Rules) -> Verdict:
        """Gather the evidence and compare; the system may go on meanwhile."""
        ends = wait_until(self._ends, READ_SECONDS, "Kafka to answer")
        judged_at = now()
        deliveries = evidence.deliveries(self.system.worker_logs)
        wait_until(lambda: self._read_to(ends), READ_SECONDS, f"Postgres to have read to {ends}", every_seconds=0.2)
        tables = evidence.read_tables(self.system.database_url)
        self.topic.read_all()
        found = Evidence(
            messages=self.topic.messages,
            ends=ends,
            stored=tables.stored,
            deliveries=deliveries,
            rows=tables.rows,
            rejects=tables.rejects,
            lost=tables.lost,
            expected=self._expected(judged_at, rules.closed_until),
            schedules={page.site_id: page.schedule for page in self.sites.pages},
            outages=self.outages,
            visits=self.sites.visits() if self.with_visits else {},
            gone=frozenset(self.topic.gone),
            bad=self.bad,
        )
        return judge(found, rules)

    def wait_closed(self, until: datetime) -> None:
        """
        Let every slot that began by then become a row; returns at the latest when each must be.

        That is after its own end, the grace, and two turns of the closing task: the first asks Kafka for the ends that
        the second finds stored. Who waited in vain is judged by `judge`.
        """
        longest_seconds = max(page.interval_seconds for page in self.sites.pages)
        limit_seconds = longest_seconds + self.system.settings.grace_seconds + 2 * CLOSING_TURN_SECONDS + READ_SECONDS
        ends_at = time.monotonic() + limit_seconds
        begins = [one.slot.scheduled_at for one in self._expected(until, until)]
        wait_until(
            lambda: time.monotonic() >= ends_at or self.system.dead() or self._count(begins) >= len(begins),
            limit_seconds + 10,
            "slots to be closed",
            every_seconds=1.0,
        )
        self.check_alive()

    def _expected(self, at: datetime, closed_until: datetime | None) -> tuple[Expected, ...]:
        return evidence.expected_slots(self.sites.pages, self.began_at, at, SLACK, closed_until)

    def _count(self, begins: Sequence[datetime]) -> int:
        """
        Rows of the time from the first to the last of these slots; which slots they are is the judge's business.

        Counted by Postgres: reading them each second would keep this process, in which the proxies and the sites are,
        from passing anything on.
        """
        if not begins:
            return 0
        with psycopg.connect(self.system.database_url) as connection:
            row = connection.execute(
                "SELECT count(*) FROM wms.results WHERE scheduled_at BETWEEN %s AND %s", (min(begins), max(begins))
            ).fetchone()
        return int(row[0]) if row else 0

    def widen_last_outage(self, recovered_at: datetime) -> None:
        """The fault's effects lasted until then."""
        self.outages[-1] = self.outages[-1]._replace(recovered_at=recovered_at)

    @property
    def quick(self) -> list[Page]:
        """The sites whose slots come most often."""
        shortest = min(page.interval_seconds for page in self.sites.pages)
        return [page for page in self.sites.pages if page.interval_seconds == shortest]

    def _recovered(self, since: datetime) -> bool:
        if self.system.dead():
            return True
        try:
            return self._fresh(since) >= len(self.quick)
        except psycopg.Error:  # Postgres is what was broken, and is looked at past the proxy
            return False

    def _fresh(self, since: datetime) -> int:
        ids = [page.site_id for page in self.quick]
        with psycopg.connect(self.system.database_url, connect_timeout=2) as connection:
            row = connection.execute(
                "SELECT count(DISTINCT site_id) FROM wms.results"
                " WHERE scheduled_at BETWEEN %s AND %s AND site_id = ANY(%s)",
                (since, now() + timedelta(seconds=1), ids),  # no slots of a clock that was ahead
            ).fetchone()
        return int(row[0]) if row else 0

    def _ends(self) -> dict[Partition, int]:
        try:
            return self.topic.ends()
        except (KafkaException, TimeoutError):
            return {}

    def _read_to(self, ends: dict[Partition, int]) -> bool:
        try:
            stored = evidence.read_stored(self.system.database_url)
        except psycopg.Error:
            return False
        return bool(ends) and all(stored.get(partition, 0) >= end for partition, end in ends.items())

    def _state(self, since: datetime) -> str:
        try:
            fresh = f"{self._fresh(since)} of {len(self.quick)} quick sites have a row since"
            stored = evidence.read_stored(self.system.database_url)
        except psycopg.Error as error:
            return f"Postgres: {error}"
        return f"{fresh}; Postgres has read to {stored}, Kafka ends at {self._ends()}; {self.system.dead()}"


def now() -> datetime:
    """The harness's own clock."""
    return datetime.now(UTC)
