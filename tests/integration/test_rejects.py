"""``wms rejects``: looked at, stored after all in place of a missed row, or let go."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.results import FULL, SITE_ID, a_result
from wms_tasks.cli import wms
from wms_tasks.codec import json_codec
from wms_tasks.persist.column import microseconds
from wms_tasks.persist.copy_row import copy_row
from wms_tasks.persist.rows import reject
from wms_tasks.settings import Settings
from wms_tasks.store import offsets
from wms_tasks.store.connect import connect
from wms_tasks.store.message import Message, OffsetMove, PartitionKey, RejectLimits, Row
from wms_tasks.store.partitions import ensure_days
from wms_tasks.store.read import results
from wms_tasks.store.writer import write_batch

SLOT = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=5)
KEY = PartitionKey("cluster", "test.topic", "id", 0)
RESULT = a_result(scheduled_at=SLOT)


@pytest.fixture
def connection(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """As the loop has it, and WMS_DATABASE_URL set; the topic's partition is at 0."""
    monkeypatch.setenv("WMS_DATABASE_URL", database_url)
    with connect(Settings(env="test", database_url=database_url), "persist", autocommit=True) as made:
        ensure_days(made, [SLOT.date()])
        offsets.claim(made, [KEY], lambda partition: 0)
        yield made


def message(offset: int, value: bytes, **changes: Any) -> Message:
    """What Kafka gave."""
    good = {"key": str(SITE_ID).encode(), "headers": json_codec.headers(RESULT)}
    return Message(topic="test.topic", topic_id="id", partition=0, offset=offset, value=value, **(good | changes))


def rejected(connection: Any, *values: bytes, limits: RejectLimits | None = None) -> list[int]:
    """These values are rejects now; their ids."""
    rejects = [reject(message(n, value), "undecodable", "for the test") for n, value in enumerate(values)]
    move = OffsetMove(KEY, 0, len(values))
    write_batch(connection, [], rejects, [move], make_reject=reject, limits=limits or RejectLimits())
    return [one for (one,) in connection.execute("SELECT id FROM wms.rejects ORDER BY kafka_offset").fetchall()]


def run(*arguments: object) -> Result:
    """The command."""
    return CliRunner().invoke(wms, ["rejects", *map(str, arguments)])


def rows(connection: Any) -> list[Any]:
    """Outcome, reason and what it had been missed for."""
    return list(connection.execute("SELECT outcome, reason, missed_reason FROM wms.results").fetchall())


def left(connection: Any) -> int:
    """How many rejects."""
    return int(connection.execute("SELECT count(*) FROM wms.rejects").fetchone()[0])


def test_replay_takes_the_place_of_a_missed_row(connection: Any) -> None:
    """And of no other; the reject is gone with it."""
    (wanted,) = rejected(connection, json_codec.encode(a_result(**FULL, scheduled_at=SLOT)))
    missed = copy_row(a_result(scheduled_at=SLOT, outcome="missed", reason="rejected"))
    write_batch(
        connection, [Row(missed, microseconds(SLOT), message(1, b""))], [], [OffsetMove(KEY, 1, 2)], make_reject=reject
    )
    assert run("replay", wanted).stdout == "1 stored, 0 still rejected\n"
    assert rows(connection) == [("down", "status", "rejected")]
    (row,) = results(connection, None, SLOT)
    assert (row.address, row.certificate, row.evidence) == (FULL["address"], FULL["certificate"], FULL["evidence"])
    assert left(connection) == 0


def test_replay_of_what_is_stored_already_changes_nothing(connection: Any) -> None:
    """It is counted as a redelivery."""
    (wanted,) = rejected(connection, json_codec.encode(RESULT))
    data = copy_row(a_result(scheduled_at=SLOT, outcome="down", reason="timeout"))
    write_batch(
        connection, [Row(data, microseconds(SLOT), message(1, b""))], [], [OffsetMove(KEY, 1, 2)], make_reject=reject
    )
    assert run("replay", wanted).exit_code == 0
    assert rows(connection) == [("down", "timeout", None)]
    assert connection.execute("SELECT sum(dropped) FROM wms.redeliveries").fetchone() == (1,)


def test_what_is_still_wrong_stays(connection: Any) -> None:
    """Named with its reason; the others are stored; exit 1."""
    old = json_codec.encode(a_result(scheduled_at=datetime(2020, 1, 1, tzinfo=UTC)))
    bad, too_old, _ = rejected(connection, b"no json", old, json_codec.encode(RESULT))
    found = run("replay", "--all")
    assert found.exit_code == 1
    assert found.stdout == "1 stored, 2 still rejected\n"
    assert f"{bad} stays: undecodable: " in found.stderr
    assert f"{too_old} stays: results keeps no day {date(2020, 1, 1)}" in found.stderr
    assert (len(rows(connection)), left(connection)) == (1, 2)


def test_a_long_value_is_cut_and_says_so(connection: Any) -> None:
    """Its length and SHA-256 are those of the whole; it cannot be replayed from here."""
    value = b"x" * 100
    short, long = rejected(connection, b"x" * 10, value, limits=RejectLimits(max_value_bytes=10))
    found = connection.execute("SELECT value, value_bytes, value_sha256 FROM wms.rejects ORDER BY id").fetchall()
    assert found == [(b"x" * 10, None, None), (b"x" * 10, 100, hashlib.sha256(value).digest())]
    assert "partition 0, offset 1 of test.topic" in run("replay", long).stderr
    assert short < long


def test_list_and_show(connection: Any) -> None:
    """What a person needs, and what a program does; nothing that steers a terminal."""
    first, _ = rejected(connection, b"\x1b[2J\xff", b"")
    listed = run("list").stdout.splitlines()
    assert listed[0].split() == ["id", "rejected", "partition", "offset", "reason", "site", "slot", "detail"]
    assert [line.split()[4] for line in listed[1:]] == ["undecodable"] * 2
    assert json.loads(run("list", "--json", "--limit", "1").stdout)["offset"] == 0
    assert run("list", "--reason", "no_partition").stdout == ""
    shown = run("show", first).stdout
    assert "\\x1b[2J\\xff" in shown
    assert str(SITE_ID) in shown
    assert run("show", first, "--raw").stdout_bytes == b"\x1b[2J\xff"


def test_drop_asks_to_be_meant(connection: Any) -> None:
    """Without --yes nothing happens, and nothing either where one of several is not there."""
    first, second = rejected(connection, b"1", b"2")
    assert "add --yes" in str(run("drop", first).exception)
    assert "no reject 999" in str(run("drop", first, 999, "--yes").exception)
    assert left(connection) == 2
    assert run("drop", first, second, "--yes").stdout == "2 dropped\n"
    assert left(connection) == 0


@pytest.mark.parametrize("arguments", [("replay",), ("replay", "1", "--all")])
def test_replay_wants_to_know_which(connection: Any, arguments: tuple[str, ...]) -> None:
    """Not all of them by mistake."""
    assert "name the ids" in str(run(*arguments).exception)
