"""Beat on a real Redis: restarts, the lease, the sites file, and Redis going away."""

from __future__ import annotations

import base64
import json
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path

import pytest
import redis
import time_machine
from structlog.testing import capture_logs

from beat_schedule import BEAT_SCHEDULE
from tests.waiting import wait_until
from wms_tasks import clock
from wms_tasks.app import app_for
from wms_tasks.names import ANNOUNCE_SITES_TASK, CLOSE_SLOTS_TASK
from wms_tasks.order import ProbeOrder
from wms_tasks.schedule.scheduler import SiteScheduler
from wms_tasks.settings import Settings


@pytest.fixture
def beat_settings(redis_url: str, tmp_path: Path) -> Settings:
    """Settings with a sites file of this test's own and a short lease."""
    settings = Settings(env="test", broker_url=redis_url, sites=tmp_path / "sites.yaml", lease_seconds=2.0)
    write_sites(settings, ("a", "1h"), ("b", "1h"))
    return settings


def write_sites(settings: Settings, *sites: tuple[str, str]) -> None:
    """The file anew, by a rename."""
    lines = ["sites:"]
    for name, interval in sites:
        lines += [
            f"  - name: {name}",
            f"    url: http://{name}.example/",
            f"    interval: {interval}",
            "    jitter: 0s",
        ]
    new = settings.sites.with_suffix(".new")
    new.write_text("\n".join(lines) + "\n")
    new.replace(settings.sites)


@contextmanager
def beat(settings: Settings) -> Iterator[SiteScheduler]:
    """A scheduler, closed at the end, twice as Celery does."""
    scheduler = SiteScheduler(app_for(settings), settings=settings)
    try:
        yield scheduler
    finally:
        scheduler.close()
        scheduler.close()


def send_due(scheduler: SiteScheduler) -> None:
    """Rounds until nothing is due: one round sends for a while only, which on a busy machine may not be all."""
    wait_until(lambda: scheduler.tick() > 0, 5, "nothing more to be due")


def orders(settings: Settings) -> list[ProbeOrder]:
    """What waits in the queue, oldest first, taken out."""
    with redis.Redis.from_url(settings.broker_url) as client:
        found = []
        while (raw := client.rpop(f"{settings.key_prefix}probe")) is not None:
            body = json.loads(base64.b64decode(json.loads(raw)["body"]))
            found.append(ProbeOrder.from_message(body[1]["order"]))
        return found


def names(settings: Settings) -> list[str]:
    """The sites of `orders`."""
    return sorted(order.site.name for order in orders(settings))


def test_a_restart_repeats_no_slot(beat_settings: Settings) -> None:
    """The second scheduler goes on after the first: the running slots were sent."""
    with beat(beat_settings) as first:
        send_due(first)
    assert names(beat_settings) == ["a", "b"]
    with beat(beat_settings) as second:
        send_due(second)
    assert names(beat_settings) == []


def test_a_killed_beat_is_resumed_from_its_mark(beat_settings: Settings) -> None:
    """No close: the successor waits for the lease, and then repeats nothing that was marked."""
    killed = SiteScheduler(app_for(beat_settings), settings=beat_settings)
    send_due(killed)
    assert names(beat_settings) == ["a", "b"]
    with beat(beat_settings) as successor, capture_logs() as logs:
        wait_until(lambda: successor.tick() >= 0 and any(e["event"] == "beat.leading" for e in logs), 5, "take-over")
        send_due(successor)
        assert names(beat_settings) == []
    killed._reader.stop()


def test_a_site_added_while_beat_was_down_is_probed_at_once(beat_settings: Settings) -> None:
    """Only the new one: the others' slots were sent before."""
    with beat(beat_settings) as first:
        send_due(first)
    orders(beat_settings)
    write_sites(beat_settings, ("a", "1h"), ("b", "1h"), ("c", "1h"))
    with beat(beat_settings) as second:
        send_due(second)
    assert names(beat_settings) == ["c"]


def test_a_site_that_went_and_came_back_is_new(beat_settings: Settings) -> None:
    """Taken out while beat was down, put in again later: probed in the slot now running."""
    with beat(beat_settings) as first:
        send_due(first)
    write_sites(beat_settings, ("a", "1h"))
    with beat(beat_settings) as second:
        send_due(second)
    orders(beat_settings)
    write_sites(beat_settings, ("a", "1h"), ("b", "1h"))
    with beat(beat_settings) as third:
        send_due(third)
    assert names(beat_settings) == ["b"]


def test_of_two_beats_one_leads_and_the_other_takes_over(beat_settings: Settings) -> None:
    """The second sends nothing while the first holds the lease, and at once when it gave it back."""
    with beat(beat_settings) as second:
        with beat(beat_settings) as first:
            send_due(first)
            send_due(second)
            assert names(beat_settings) == ["a", "b"]
        write_sites(beat_settings, ("a", "1h"), ("b", "1h"), ("c", "1h"))
        wait_until(lambda: second.tick() >= 0 and "c" in second.schedule, 4, "the edit")
        send_due(second)
        assert names(beat_settings) == ["c"]


def test_a_beat_that_slept_over_its_lease_sends_nothing(beat_settings: Settings) -> None:
    """Stopped and continued: another leads by now."""
    with beat(beat_settings) as sleeper:
        send_due(sleeper)
        sleeper._lease._asked_at -= 10
        with redis.Redis.from_url(beat_settings.broker_url) as client:
            client.set(f"{beat_settings.key_prefix}beat:lease", "another's token", px=5000)
        orders(beat_settings)
        write_sites(beat_settings, ("new", "1h"))
        wait_until(lambda: sleeper.tick() >= 0 and "new" in sleeper.schedule, 4, "the edit")
        send_due(sleeper)
        assert names(beat_settings) == []


def test_an_edit_is_applied_within_five_seconds(beat_settings: Settings) -> None:
    """Added, removed; without a restart."""
    with beat(beat_settings) as scheduler:
        send_due(scheduler)
        orders(beat_settings)
        write_sites(beat_settings, ("a", "1h"), ("new", "1h"))
        wait_until(lambda: scheduler.tick() >= 0 and "new" in scheduler.schedule, 5, "the edit")
        assert set(scheduler.schedule) - BEAT_SCHEDULE.keys() == {"a", "new"}
        send_due(scheduler)
        assert names(beat_settings) == ["new"]


def test_a_broken_edit_keeps_the_schedule_and_says_why_once(beat_settings: Settings) -> None:
    """Each problem one line, and no more lines while the file stays as it is."""
    with beat(beat_settings) as scheduler, capture_logs() as logs:
        send_due(scheduler)
        beat_settings.sites.write_text("sites:\n  - name: x\n    intervall: 3s\n")
        wait_until(lambda: any(entry["event"] == "sites.problem" for entry in logs), 5, "the problem")
        send_due(scheduler)
        assert set(scheduler.schedule) - BEAT_SCHEDULE.keys() == {"a", "b"}
        problems = [entry["problem"] for entry in logs if entry["event"] == "sites.problem"]
        assert len(problems) == len(set(problems))
        assert any("intervall" in problem for problem in problems)


def test_any_file_of_a_folder_is_taken_up_and_a_broken_one_keeps_all(redis_url: str, tmp_path: Path) -> None:
    """Added, edited and taken away within five seconds; one that is wrong keeps every site of the folder as it was."""
    settings = Settings(env="test", broker_url=redis_url, sites=tmp_path, lease_seconds=2.0)
    write_sites(settings.model_copy(update={"sites": tmp_path / "a.yaml"}), ("a", "1h"))
    with beat(settings) as scheduler, capture_logs() as logs:

        def becomes(*expected: str) -> None:
            all_names = {*expected, *BEAT_SCHEDULE}
            wait_until(lambda: scheduler.tick() >= 0 and set(scheduler.schedule) == all_names, 5, str(expected))

        becomes("a")
        write_sites(settings.model_copy(update={"sites": tmp_path / "b.yml"}), ("b", "1h"))
        becomes("a", "b")
        (tmp_path / "a.yaml").write_text("sites: [")
        wait_until(lambda: any("a.yaml:" in entry.get("problem", "") for entry in logs), 5, "the problem")
        becomes("a", "b")
        write_sites(settings.model_copy(update={"sites": tmp_path / "a.yaml"}), ("c", "1h"))
        becomes("b", "c")
        (tmp_path / "b.yml").unlink()
        becomes("c")


def test_a_broken_file_at_the_start_ends_beat_with_its_problems(
    beat_settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 2, and each problem with its line."""
    beat_settings.sites.write_text("sites:\n  - name: x\n    intervall: 3s\n")
    with pytest.raises(SystemExit) as ended:
        SiteScheduler(app_for(beat_settings), settings=beat_settings)
    assert ended.value.code == 2
    said = capsys.readouterr().err.splitlines()
    assert [re.sub(r"^wms: \S*/(sites.yaml:\d+): .*", r"\1", line) for line in said] == ["sites.yaml:2", "sites.yaml:3"]


def test_housekeeping_is_sent_to_its_own_queue(beat_settings: Settings) -> None:
    """Once an interval, like a site; beside them, once, what the ledger must know of a new leader."""
    with beat(beat_settings) as scheduler:
        scheduler.tick()
        scheduler.tick()
        scheduler.tick()
    with redis.Redis.from_url(beat_settings.broker_url) as client:
        raw = client.lrange(f"{beat_settings.key_prefix}housekeeping", 0, -1)
        sent = sorted(json.loads(one)["headers"]["task"] for one in raw)
    scheduled = [entry["task"] for entry in BEAT_SCHEDULE.values()]
    assert sent == sorted([ANNOUNCE_SITES_TASK, CLOSE_SLOTS_TASK, *scheduled])


class Gate:
    """A TCP relay to Redis that can be shut; also by itself, once so many bytes more went to Redis: ``shut_after``."""

    def __init__(self, url: str) -> None:
        self._target = ("127.0.0.1", int(url.rpartition(":")[2].partition("/")[0]))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self._listener.getsockname()[1]}/0"
        self._open = True
        self._ended = False
        self.shut_after: int | None = None
        self._pairs: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def shut(self) -> None:
        """Cut what is connected and refuse what comes."""
        self._open = False
        for one in self._pairs:
            with suppress(OSError):  # some ended by themselves
                one.shutdown(socket.SHUT_RDWR)
        self._pairs.clear()

    def reopen(self) -> None:
        """Let through again."""
        self._open = True

    def close(self) -> None:
        """End it."""
        self._ended = True
        self._listener.close()

    def _accept(self) -> None:
        while not self._ended:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            if not self._open:
                near.close()
                continue
            far = socket.create_connection(self._target)
            self._pairs += [near, far]
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._pump, args=(source, sink, sink is far), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, to_redis: bool) -> None:
        try:
            while data := source.recv(65536):
                if to_redis and self.shut_after is not None:
                    self.shut_after -= len(data)
                    if self.shut_after < 0:
                        self.shut()
                        return
                sink.sendall(data)
        except OSError:
            pass
        finally:
            source.close()
            sink.close()


def test_a_clock_that_steps_silences_nobody(beat_settings: Settings) -> None:
    """An hour ahead and back, then an hour behind: said each time, and the slot of that time is sent."""
    write_sites(beat_settings, ("often", "2s"))
    with time_machine.travel(clock.utcnow()) as traveller, beat(beat_settings) as scheduler, capture_logs() as logs:
        scheduler.tick()
        for number, hours in enumerate((1, -1, -1, 1), start=1):
            orders(beat_settings)
            traveller.shift(timedelta(hours=hours))
            scheduler.tick()
            assert len([e for e in logs if e["event"] == "beat.clock_stepped"]) == number
            (first, *_) = wait_until(lambda: scheduler.tick() >= 0 and orders(beat_settings), 5, "a slot")
            assert abs(first.due_at - clock.utcnow()) < timedelta(seconds=5)
    # Of housekeeping, whose slots were long over; none of the hour that the clock jumped over.
    assert sum(entry["slots"] for entry in logs if entry["event"] == "beat.slots_lost") < 10


def test_a_beat_with_a_wrong_clock_does_not_silence_its_successor(beat_settings: Settings) -> None:
    """Its mark lies an hour ahead: of what it sent nothing is known, so slots are sent as they fall due."""
    write_sites(beat_settings, ("a", "2s"))
    with time_machine.travel(clock.utcnow() + timedelta(hours=1)), beat(beat_settings) as wrong:
        wait_until(lambda: wrong.tick() >= 0 and orders(beat_settings), 5, "a slot of an hour ahead")
    with beat(beat_settings) as right:
        (first, *_) = wait_until(lambda: right.tick() >= 0 and orders(beat_settings), 5, "a slot")
        assert abs(first.due_at - clock.utcnow()) < timedelta(seconds=5)


def test_redis_away_is_said_once_and_slots_wait(beat_settings: Settings, redis_url: str) -> None:
    """No error leaves tick(); a slot that became due meanwhile goes out when Redis is back."""
    gate = Gate(redis_url)
    settings = beat_settings.model_copy(update={"broker_url": gate.url})
    with beat(settings) as scheduler, capture_logs() as logs:
        scheduler.tick()
        orders(beat_settings)
        gate.shut()
        write_sites(settings, ("a", "1h"), ("b", "1h"), ("late", "1h"))
        wait_until(lambda: scheduler.tick() >= 0 and "late" in scheduler.schedule, 5, "the edit")
        wait_until(lambda: scheduler.tick() >= 0 and scheduler._failures > 3, 10, "failures")
        gate.reopen()
        wait_until(lambda: scheduler.tick() >= 0 and any(e["event"] == "beat.redis_is_back" for e in logs), 10, "back")
        scheduler.tick()
        assert names(beat_settings) == ["late"]
    events = [entry["event"] for entry in logs]
    assert events.count("beat.waiting_for_redis") == 1
    assert events.count("beat.redis_is_back") == 1
    gate.close()


def test_environments_do_not_meet(beat_settings: Settings) -> None:
    """Two beats of two environments on one Redis: both lead, each fills its own queue."""
    other = beat_settings.model_copy(update={"env": "staging"})
    with beat(beat_settings) as one, beat(other) as two:
        one.tick()
        two.tick()
        assert names(beat_settings) == names(other) == ["a", "b"]
    with redis.Redis.from_url(beat_settings.broker_url) as client:
        assert all(key.startswith((b"wms:test:", b"wms:staging:")) for key in client.keys("*"))
