"""
Celery's scheduler for our entries: leads by a lease, sends what is due, follows the sites file, waits for Redis.

Celery's own compares all entries for each task it sends; at 10,000 sites that is thirty times what sending costs.
No decision about slots is made here (slots.py, entries.py, timetable.py); `celery beat` and ``wms run`` make one each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import redis
import structlog
from celery import Celery
from celery.beat import ScheduleEntry, Scheduler

import beat_schedule
from wms_tasks import clock, metrics
from wms_tasks.broker import connect_redis
from wms_tasks.errors import ServiceUnavailable, SitesFileError
from wms_tasks.health import HEALTH
from wms_tasks.names import CLOSE_SLOTS_TASK
from wms_tasks.ready import READY
from wms_tasks.refuse import refuse
from wms_tasks.schedule import entries
from wms_tasks.schedule.announcer import Announcer
from wms_tasks.schedule.entries import Message, housekeeping_entries
from wms_tasks.schedule.lease import Lease, Marks
from wms_tasks.schedule.outbox import Outbox
from wms_tasks.schedule.sent import believed
from wms_tasks.schedule.sites_reader import SitesReader
from wms_tasks.schedule.slots import microseconds
from wms_tasks.schedule.timetable import Timetable
from wms_tasks.schedule.wall_clock import WallClock
from wms_tasks.settings import Settings, get_settings
from wms_tasks.shard import Shard

log = structlog.get_logger()

PULSE = "beat"
_PULSE_ALLOWED_SECONDS = 30.0
# How long one tick sends before it looks after lease and file again.
_SEND_AT_MOST_SECONDS = 0.25
# What one round trip to Redis takes; with some 0.07 ms of CPU each, the lease is looked at each 15 ms.
_BATCH_MESSAGES = 200
# What falls due meanwhile goes out together. Nobody feels so little lateness, and each round costs as much as sending
# half a dozen messages: at 10,000 sites of a minute a send takes 0.65 of the CPU time that it takes with 20 ms.
_GATHER_SECONDS = 0.04
# How much a killed beat's successor sends twice at most; a beat that ends in order leaves nothing to repeat.
_MARK_EVERY_US = 250_000
_BACK_OFF_SECONDS = (0.1, 0.2, 0.5, 1.0, 2.0)


class SiteScheduler(Scheduler):  # type: ignore[misc]
    """
    ``schedule`` holds one entry for each site and housekeeping task, by name.

    With ``lazy`` (Celery's banner) it reads and opens nothing. ``settings`` are the process's unless given.
    """

    def __init__(
        self, app: Celery, *args: Any, lazy: bool = False, settings: Settings | None = None, **kwargs: Any
    ) -> None:
        self._settings = settings or get_settings()
        self._shard = Shard.parse(self._settings.shard)
        self._timetable = Timetable(max_lateness_us=microseconds(self._settings.max_lateness_seconds))
        self._announcer = Announcer(
            location=self._settings.location,
            max_lateness_us=self._timetable.max_lateness_us,
            now_us=clock.to_microseconds(clock.utcnow()),
            shard=self._shard,
        )
        self._outbox = Outbox(app, self._settings)
        self._reader = SitesReader(self._settings.sites, beat_schedule.SITE_TO_ENTRY, self._shard)
        self._lease = Lease(
            # No second try: a silent Redis must cost less than the lease lasts.
            connect_redis(self._settings, timeout_seconds=min(2.0, self._settings.lease_seconds / 4), retries=0),
            key_prefix=self._settings.key_prefix,
            lease_seconds=self._settings.lease_seconds,
            shard=self._shard,
        )
        self._leading: bool | None = None
        self._failures = 0
        self._waits_for: str | None = "its first round"
        self._gone: frozenset[str] = frozenset()
        self._marked_us = 0
        self._wall_clock = WallClock()
        super().__init__(app, *args, lazy=lazy, **kwargs)

    def setup_schedule(self) -> None:
        """Read the sites; a broken file at the start ends the process with its problems, one a line, exit 2."""
        try:
            first = self._reader.read_first()
        except SitesFileError as error:
            refuse(error)
        self._change_to(first)
        self._reader.start()
        HEALTH.expect(PULSE, allowed_seconds=_PULSE_ALLOWED_SECONDS)
        READY.expect(PULSE, lambda: self._waits_for)
        log.info("beat.started", sites=len(first), file=str(self._settings.sites), shard=str(self._shard))

    def get_schedule(self) -> Mapping[str, ScheduleEntry]:
        """The entries by name; a copy."""
        return self._timetable.by_name()

    def set_schedule(self, schedule: Mapping[str, ScheduleEntry]) -> None:
        """Celery sets an empty one at the start; entries come from the sites file only."""

    schedule = property(get_schedule, set_schedule)

    def tick(self, *args: Any, **kwargs: Any) -> float:  # noqa: ARG002 - Celery's signature
        """
        One round; returns the seconds until the next. Never raises: an error here would end beat.

        While Redis is away, slots wait until their deadline; that it is away is said once, and once that it is over.
        """
        try:
            wait_seconds = self._round()
            metrics.LEASE_HELD.set(self._lease.holds())
        except (ServiceUnavailable, redis.RedisError) as error:
            return self._back_off(error)
        except Exception:
            self._waits_for = "a round without an error"
            log.exception("beat.round_failed", kept="the schedule; trying again")
            return _BACK_OFF_SECONDS[-1]
        self._recovered()
        self._waits_for = None
        HEALTH.did(PULSE)
        return wait_seconds

    def close(self) -> None:
        """Write down how far we are and give the lease back; Celery calls it more than once."""
        self._reader.stop()
        HEALTH.forget(PULSE)
        READY.forget(PULSE)
        try:
            if self._lease.holds():
                self._mark(self._now_us())
            self._lease.release()
        except redis.RedisError as error:
            log.warning(
                "beat.lease_not_released", error=str(error), ends_by_itself_seconds=self._settings.lease_seconds
            )
        finally:
            self._outbox.close()

    def _round(self) -> float:
        newest = self._reader.take()
        if newest is not None:
            self._change_to(newest)
            metrics.RELOADS.inc("applied")
            log.info("sites.file_applied", sites=len(newest))
        leading = self._lead()
        now_us = self._now_us()
        if not leading:
            self._announcer.round_done(now_us, caught_up=True, lost=False)
            return float(self.max_interval)
        self._send_due(now_us)
        owing = self._announce(now_us)
        if now_us - self._marked_us >= _MARK_EVERY_US:
            self._mark(now_us)
        wait_seconds = self._until_next()
        self._announcer.round_done(now_us, caught_up=wait_seconds > 0, lost=self._timetable.lost_slots > 0)
        if owing or wait_seconds <= 0:
            return 0.0
        return max(wait_seconds, _GATHER_SECONDS)

    def _now_us(self) -> int:
        """The wall clock; where it was set since the last look, every entry has its place anew. Not while sending."""
        now = self._wall_clock.now()
        if now.before_us is not None:
            self._clock_stepped(now.before_us, now.us)
        return now.us

    def _clock_stepped(self, before_us: int, now_us: int) -> None:
        log.warning("beat.clock_stepped", by_seconds=round((now_us - before_us) / 1e6, 1), then="all slots placed anew")
        sent_until_us = self._timetable.clock_stepped(before_us=before_us, now_us=now_us)
        self._marked_us = min(self._marked_us, now_us)
        if self._leading:
            self._announcer.lead(now_us, before_us=sent_until_us)

    def _change_to(self, site_entries: list[entries.Entry]) -> None:
        metrics.SITES.set(len(site_entries))
        wanted = [*site_entries, *housekeeping_entries(self.app.conf.beat_schedule, self._shard)]
        now_us = self._now_us()
        _, gone = self._timetable.change_to(wanted, now_us=now_us)
        self._gone |= gone
        if self._leading:
            self._announcer.announce(self._timetable.entries.values(), now_us)

    def _lead(self) -> bool:
        """Whether we may send; takes, renews and takes up from where the leader before us left off."""
        if self._lease.holds() and not self._lease.due_for_renewal():
            return True
        held = self._leading is True and self._lease.renew()
        if not held and self._lease.acquire():
            self._take_up(self._lease.marks())
            held = True
        elif not held and self._leading is not False:
            log.info("beat.standing_by", why="another beat holds the lease")
        self._leading = held
        return held

    def _take_up(self, marks: Marks) -> None:
        """Go on from whoever was further: the leader before us, or we ourselves if Redis lost its data meanwhile."""
        now_us = self._now_us()
        if self._marked_us and marks.sent_until_us <= self._marked_us:
            seen = {entry.key for entry in self._timetable.entries.values() if entry.seen}
            if seen - marks.known - self._timetable.newly_sent:
                # What we wrote down is gone, and with it what waited in the queues.
                self._announcer.redis_emptied(now_us - microseconds(self._settings.lease_seconds))
            self._timetable.newly_sent |= seen
        else:
            sent_until_us = believed(marks.sent_until_us, now_us=now_us)
            self._timetable.resume(now_us=now_us, sent_until_us=sent_until_us, known=marks.known)
            self._announcer.lead(now_us, before_us=sent_until_us)
            self._announcer.announce(self._timetable.entries.values(), now_us)
        self._gone |= marks.known - self._timetable.entries.keys()
        metrics.LEADS.inc()
        log.info("beat.leading", known_entries=len(marks.known))

    def _send_due(self, now_us: int) -> None:
        """Send for a while, or until nothing is due. The lease is looked at between two batches."""
        until = clock.monotonic() + _SEND_AT_MOST_SECONDS
        for _ in self._timetable.take_due(now_us, self._send, at_most=_BATCH_MESSAGES):
            if clock.monotonic() >= until or not self._lease.holds():
                return

    def _send(self, due: Sequence[entries.Entry]) -> None:
        messages = [self._message(entry) for entry in due]
        self._outbox.send(*messages)
        taken_us = clock.to_microseconds(clock.utcnow())
        for entry, message in zip(due, messages, strict=True):
            metrics.sent(message.queue, (taken_us - entry.due_us) / 1e6)

    def _message(self, entry: entries.Entry) -> Message:
        message = entry.message(self._timetable.max_lateness_us)
        if message.task == CLOSE_SLOTS_TASK:
            word = self._announcer.word_kwargs(self._timetable.sent_until_us(clock.to_microseconds(clock.utcnow())))
            message = replace(message, kwargs=word)
        return message

    def _announce(self, now_us: int) -> bool:
        """Send one message to the ledger; whether there may be another."""
        message = self._announcer.next_message(self._timetable.sent_until_us(now_us))
        if message is not None:
            self._outbox.send(message)
            metrics.SENDS.inc(message.queue)
            self._announcer.sent()
        return message is not None

    def _mark(self, now_us: int) -> None:
        sent_until_us = self._timetable.sent_until_us(now_us)
        if self._lease.mark(sent_until_us, self._timetable.newly_sent):
            self._announcer.announce_again(self._timetable.entries.values(), now_us)
        self._timetable.newly_sent.clear()
        self._lease.forget(self._gone)
        self._marked_us, self._gone = sent_until_us, frozenset()

    def _until_next(self) -> float:
        next_due_us = self._timetable.next_due_us()
        if next_due_us is None:
            return float(self.max_interval)
        now_us = clock.to_microseconds(clock.utcnow())
        return max(0.0, min((next_due_us - now_us) / 1e6, float(self.max_interval)))

    def _back_off(self, error: Exception) -> float:
        metrics.LEASE_HELD.set(self._lease.holds())
        self._waits_for = "Redis"
        if self._failures == 0:
            log.warning("beat.waiting_for_redis", error=str(error), slots="kept until their deadline")
        self._failures += 1
        self._announcer.redis_away()
        return _BACK_OFF_SECONDS[min(self._failures, len(_BACK_OFF_SECONDS)) - 1]

    def _recovered(self) -> None:
        if self._failures:
            metrics.SLOTS_LOST.inc(by=self._timetable.lost_slots)
            log.info("beat.redis_is_back", failed_rounds=self._failures, lost_slots=self._timetable.lost_slots)
            self._failures = self._timetable.lost_slots = 0
        elif self._timetable.lost_slots and self._until_next() > 0:
            metrics.SLOTS_LOST.inc(by=self._timetable.lost_slots)
            log.warning("beat.slots_lost", slots=self._timetable.lost_slots, why="their deadline passed unsent")
            self._timetable.lost_slots = 0
