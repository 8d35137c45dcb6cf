"""
Entries: what beat sends, and when. One for each site, one for each housekeeping task. Pure; sending is outbox.py's.

``beat_schedule.py`` names `SiteEntry` and the housekeeping tasks; the scheduler holds what comes out.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any
from uuid import UUID

from celery import schedules
from celery.beat import ScheduleEntry

from wms_tasks import clock
from wms_tasks.names import PROBE_QUEUE, PROBE_TASK
from wms_tasks.order import ProbeOrder
from wms_tasks.schedule.sent import Sent
from wms_tasks.schedule.slots import Slots, microseconds
from wms_tasks.shard import ALL_SITES, Shard
from wms_tasks.sites.known_since import version_of
from wms_tasks.sites.record import Site


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A task message as beat sends it. ``shown`` is what logs and Flower show of the arguments: never a header."""

    task: str
    queue: str
    task_id: str
    kwargs: dict[str, Any]
    expires_at: datetime
    shown: str


class Entry(ScheduleEntry, ABC):  # type: ignore[misc]
    """
    One line of the schedule. ``next_slot_us`` and ``due_us`` are what it waits for; ``seen`` that it was sent before;
    ``first_slot_us`` what it waited for when it was taken up.

    A subclass of Celery's own, because whoever looks at ``scheduler.schedule`` expects those; Celery's clockwork
    (``is_due``, ``last_run_at``) is not used. ``goes_alone``: never sent together with others, since its message tells
    of what was sent before it.
    """

    goes_alone = False
    # What Celery would keep in each, and nobody changes: half of what 100,000 entries take.
    app = None
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = MappingProxyType({})
    options: Mapping[str, Any] = MappingProxyType({})
    last_run_at = clock.EPOCH

    def __init__(self, *, key: str, name: str, task: str, slots: Slots) -> None:
        self.key = key
        self.name = name
        self.task = task
        self.slots = slots
        self.first_slot_us = 0
        self.next_slot_us = 0
        self.due_us = 0
        self.seen = False

    @property
    def schedule(self) -> schedules.schedule:
        """As Celery knows it: so often, from whenever."""
        return schedules.schedule(timedelta(microseconds=self.slots.interval_us))

    @abstractmethod
    def same_as(self, other: Entry) -> bool:
        """Whether replacing this by the other would change nothing."""

    def expires_us(self, max_lateness_us: int) -> int:
        """When the slot it waits for can no longer be begun."""
        return self.slots.expires(self.next_slot_us, self.due_us, max_lateness_us)

    @abstractmethod
    def message(self, max_lateness_us: int) -> Message:
        """What to send for the slot it waits for."""

    def wait_for(self, slot_us: int, *, now_us: int) -> None:
        """Make ``slot_us`` the next; an entry never sent before was not due before now."""
        self.next_slot_us = slot_us
        due_us = self.slots.due(slot_us)
        self.due_us = due_us if self.seen else max(due_us, now_us)

    def resume(self, *, now_us: int, sent: Sent) -> None:
        """
        Take up the schedule: the slot now running if it was not sent, else the one that follows.

        Slots that ended meanwhile stay unsent: only the newest can still be probed in time.
        """
        slot_us = self.slots.at(now_us)
        if self.seen and sent.covers(self.slots.due(slot_us)):
            slot_us = self.slots.after(slot_us)
        self.first_slot_us = slot_us
        self.wait_for(slot_us, now_us=now_us)

    def skip_ended(self, now_us: int, max_lateness_us: int) -> int:
        """Move on from slots whose deadline passed unsent; returns how many were lost."""
        first_us, running_us = self.next_slot_us, self.slots.at(now_us)
        if running_us > self.next_slot_us:
            self.wait_for(running_us, now_us=now_us)
        if self.expires_us(max_lateness_us) <= now_us:
            self.wait_for(self.slots.after(self.next_slot_us), now_us=now_us)
        return (self.next_slot_us - first_us) // self.slots.interval_us

    def advance(self, now_us: int) -> None:
        """The slot was sent: wait for the one that follows."""
        self.seen = True
        self.wait_for(self.slots.after(self.next_slot_us), now_us=now_us)


class SiteEntry(Entry):
    """A site's line."""

    def __init__(self, site: Site) -> None:
        slots = Slots(site.site_id.bytes, microseconds(site.interval_seconds), microseconds(site.jitter_seconds))
        super().__init__(key=site.site_id.hex, name=site.name, task=PROBE_TASK, slots=slots)
        self.site = site
        self._version: int | None = None

    def same_as(self, other: Entry) -> bool:
        return isinstance(other, SiteEntry) and other.site == self.site

    def message(self, max_lateness_us: int) -> Message:
        """The order to probe the site; its task id follows from site and slot."""
        slot_us, due_us = self.next_slot_us, self.due_us
        if self._version is None:  # a tenth of what a send costs
            self._version = version_of(self.site)
        order = ProbeOrder(
            version=self._version,
            site=self.site,
            scheduled_at=clock.from_microseconds(slot_us),
            due_at=clock.from_microseconds(due_us),
            expires_at=clock.from_microseconds(self.slots.expires(slot_us, due_us, max_lateness_us)),
        )
        return Message(
            task=PROBE_TASK,
            queue=PROBE_QUEUE,
            task_id=task_id_for(self.site.site_id, slot_us),
            kwargs={"order": order.to_message()},
            expires_at=order.expires_at,
            shown=order.shown(),
        )


class HousekeepingEntry(Entry):
    """A housekeeping task's line, from Celery's own form in ``beat_schedule.py``."""

    goes_alone = True

    def __init__(self, name: str, spec: Mapping[str, Any], shard: Shard = ALL_SITES) -> None:
        # Each shard's has its own time within the interval, and its own task id.
        key = shard.key(name)
        super().__init__(
            key=key, name=name, task=spec["task"], slots=Slots(key.encode(), microseconds(float(spec["schedule"])))
        )
        self.queue: str = spec["options"]["queue"]
        self.own_expires_us = microseconds(float(spec["options"]["expires"]))

    def same_as(self, other: Entry) -> bool:
        return isinstance(other, HousekeepingEntry) and (other.task, other.slots) == (self.task, self.slots)

    def expires_us(self, max_lateness_us: int) -> int:  # noqa: ARG002 - housekeeping has its own limit
        return self.due_us + self.own_expires_us

    def message(self, max_lateness_us: int) -> Message:
        """The task, without arguments."""
        return Message(
            task=self.task,
            queue=self.queue,
            task_id=f"{self.key}.{self.next_slot_us}",
            kwargs={},
            expires_at=clock.from_microseconds(self.expires_us(max_lateness_us)),
            shown="()",
        )


def task_id_for(site_id: UUID, slot_us: int) -> str:
    """The task's id: the same from every scheduler, so that RETRY and FAILURE of a slot are found by name."""
    return f"{site_id}.{slot_us}"


def housekeeping_entries(schedule: Mapping[str, Mapping[str, Any]], shard: Shard = ALL_SITES) -> list[Entry]:
    """
    One entry for each line of ``beat_schedule.BEAT_SCHEDULE``. Every shard sends all of them: each has its word to say,
    and what is done again changes nothing.
    """
    return [HousekeepingEntry(name, spec, shard) for name, spec in schedule.items()]
