"""Every slot ends as one row, what is in Kafka gets into Postgres, and nothing is left behind on the way."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
from datetime import timedelta
from http import HTTPStatus
from pathlib import Path

import pytest
from confluent_kafka import Message

from tests.e2e.conftest import LATE_SECONDS, Watched
from tests.e2e.judgement import Key, expected, faults, without_row
from tests.e2e.outside import Outside, Start
from tests.waiting import wait_until
from wms_tasks.broker import connect_redis
from wms_tasks.codec.envelope import AVRO, JSON, SCHEDULED_AT
from wms_tasks.codec.wire import WireReader
from wms_tasks.names import PROBE_QUEUE
from wms_tasks.result import Result
from wms_tasks.store.migrate import migration_status

ROOT = Path(__file__).resolve().parents[2]
# A slot that nobody filled is closed by housekeeping, which looks each ten seconds.
CLOSING = timedelta(seconds=60)
SHOWN = 10


def test_the_schema_has_all_of_this_release(outside: Outside) -> None:
    """Up to WMS_SCHEMA_TARGET, where it is set; a newer release may have added to it."""
    with outside.postgres() as connection:
        found = migration_status(connection)
    target = outside.settings.schema_target
    ours = [one for one in found if one.in_this_release and (target is None or one.migration_id <= target)]

    assert ours
    assert [one.migration_id for one in ours if one.applied_at is None] == []


def test_each_slot_gets_one_row_and_each_row_is_a_slots(watched: Watched) -> None:
    """By arithmetic over the schedules; a slot that was missed is a fault here, a site that is down is none."""
    assert watched.slots, f"no site has a slot in {watched.until - watched.since}: --watch-seconds makes it longer"
    assert faults(watched.slots, watched.rows)[:SHOWN] == []


def test_sites_that_were_not_watched_were_looked_at_before(watched: Watched, outside: Outside) -> None:
    """Of each site whose interval is too long to be watched, the newest slot that is past all grace has its row."""
    seen = {(site_id, location) for site_id, location, _ in watched.slots}
    grace = timedelta(seconds=outside.settings.grace_seconds) + CLOSING
    slots = {}
    for one in watched.schedules:
        at = one.newest_before(watched.since - grace - one.deadline)
        if at is not None and (one.site_id, one.location) not in seen:
            slots |= expected([one], at, at + timedelta(microseconds=1))
    if not slots:
        pytest.skip("each site was watched, or is too new to have a slot that is past all grace")
    rows = outside.rows(min(at for _, _, at in slots), watched.since)

    assert without_row(slots, rows)[:SHOWN] == []


def test_the_ledger_balances(watched: Watched) -> None:
    """`wms ledger`, as an operator asks it: the last hour is accounted for, and of what was watched nothing is open."""
    wms = [sys.executable, "-m", "wms_tasks.cli", "ledger", "--json"]
    hour = subprocess.run([*wms, "--last", "1h"], capture_output=True, text=True, timeout=60, check=False)
    times = ("--from", watched.since.isoformat(), "--to", watched.until.isoformat())
    seconds = subprocess.run([*wms, *times], capture_output=True, text=True, timeout=60, check=False)
    assert hour.returncode == 0, hour.stderr
    assert seconds.returncode == 0, seconds.stderr
    total = json.loads(seconds.stdout)["total"]

    assert json.loads(hour.stdout)["total"]["expected"] >= total["expected"] == len(watched.slots)
    assert (total["open"], total["extra"], total["missed"]) == (0, 0, {})


def key_of(result: Result) -> Key:
    """Whose slot."""
    return (result.site_id, result.location, result.scheduled_at)


def of_the_watched(messages: list[Message], watched: Watched, reader: WireReader) -> list[Result]:
    """What the messages say of the slots that were watched, each held to its own key and headers."""
    reader.prepare(message.value() for message in messages)
    found = []
    for message in messages:
        headers = dict(message.headers() or [])
        assert headers["content-type"] in {JSON, AVRO}
        result = reader.decode(message.value(), message.headers() or ())
        assert message.key() == str(result.site_id).encode()
        assert headers[SCHEDULED_AT] == result.scheduled_at.isoformat().encode()
        if key_of(result) in watched.slots:
            found.append(result)
    return found


def test_what_is_in_kafka_is_what_is_in_postgres(watched: Watched, outside: Outside, start: Start) -> None:
    """Each message since the beginning can be read by this release, and its slot's row says the same."""
    messages = outside.messages(start.ends, outside.ends())
    results = of_the_watched(messages, watched, WireReader(outside.settings))
    # More than one may be of a slot, of which the first that came is its row.
    said = {(key_of(one), one.outcome, one.reason) for one in results}
    rows = {(row.key, row.outcome, row.reason) for row in watched.rows if row.outcome != "missed"}

    assert rows
    assert rows <= said
    assert {key for key, _, _ in said} <= {row.key for row in watched.rows}


def test_persist_keeps_up(outside: Outside) -> None:
    """What was in Kafka when it was asked is stored soon after."""
    ends = outside.ends()

    def caught_up() -> bool:
        stored = outside.stored()
        return all(stored.get(partition, 0) >= end for partition, end in ends.items())

    wait_until(caught_up, LATE_SECONDS, f"Postgres has what Kafka had: {ends}", every_seconds=0.5)


def test_nothing_was_rejected_or_lost(watched: Watched, outside: Outside, start: Start) -> None:
    """Since the beginning; what was there before is told by the runbook's alerts."""
    now = outside.start()

    assert now.rejects <= start.rejects
    assert now.lost_offsets <= start.lost_offsets


def test_a_beat_leads_and_the_queue_is_emptied(watched: Watched, outside: Outside) -> None:
    """Somebody holds the lease, and no more waits in Redis than the sites' newest slots."""
    prefix = outside.settings.key_prefix
    with connect_redis(outside.settings) as client:
        leases = list(client.scan_iter(match=f"{prefix}beat:lease*", count=1000))
        waiting = client.llen(f"{prefix}{PROBE_QUEUE}")

    assert leases
    assert waiting <= len(watched.schedules)


def test_the_file_is_what_runs(watched: Watched) -> None:
    """`wms sites diff`, where WMS_SITES names the file that beat should have read."""
    if "WMS_SITES" not in os.environ:
        pytest.skip("WMS_SITES is not set: which sites should run is not known here")
    command = [sys.executable, "-m", "wms_tasks.cli", "sites", "diff"]
    said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert said.returncode == 0, said.stdout + said.stderr


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_the_role_is_well(outside: Outside, path: str) -> None:
    """Of the one role whose page can be reached from here."""
    settings = outside.settings
    if settings.metrics_port is None:
        pytest.skip("WMS_METRICS_PORT is not set: no role's page can be reached from here")
    connection = http.client.HTTPConnection(settings.metrics_host, settings.metrics_port, timeout=10)
    connection.request("GET", path)
    answer = connection.getresponse()

    assert answer.status == HTTPStatus.OK, answer.read()[:500]
