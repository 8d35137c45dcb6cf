"""What the benchmark of the persist role puts into Kafka, and how it counts what came out."""

from __future__ import annotations

import ast
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from bench import on_asyncio, peers
from bench.day_of_results import DOWN_ONE_IN, HTTP_ONE_IN, day_of_results
from bench.figure import PeerMissing
from bench.on_persist import _blocks
from bench.peers import peer
from bench.postgres import Committed
from wms_tasks.codec import json_codec
from wms_tasks.persist.copy_row import copy_row
from wms_tasks.result import Phases, Result

DAY = date(2026, 11, 23)


def test_results_are_of_one_day_and_each_of_a_slot_of_its_own() -> None:
    """So that every one becomes a row, in a partition that is there."""
    results = list(day_of_results(1_000, sites=50, day=DAY))
    assert len({(one.site_id, one.scheduled_at) for one in results}) == 1_000
    assert {one.scheduled_at.date() for one in results} == {DAY}
    assert min(one.scheduled_at for one in results) == datetime(2026, 11, 23, 12, tzinfo=UTC)


def test_results_are_such_as_a_worker_writes() -> None:
    """They go to the wire and into a row; evidence is of those that are not up, a certificate of those with https."""
    results = list(day_of_results(1_000, sites=50, day=DAY))
    for one in results:
        assert copy_row(json_codec.decode(json_codec.encode(one), json_codec.headers(one)))
        assert (one.evidence is not None) == (one.outcome == "down")
        assert (one.certificate is not None) == (one.tls_version is not None)
    assert sum(one.outcome == "down" for one in results) == 1_000 // DOWN_ONE_IN
    assert sum(one.certificate is None for one in results) == 1_000 // HTTP_ONE_IN


def test_lines_are_joined_to_blocks_and_none_is_lost() -> None:
    """As large as those that the persist role sends."""
    lines = [b"x" * 999 + b"\n"] * 300
    blocks = list(_blocks(lines))
    assert b"".join(blocks) == b"".join(lines)
    assert [len(one) for one in blocks] == [132_000, 132_000, 36_000]


def test_the_first_commit_only_starts_the_clock() -> None:
    """How long its rows took is not known."""
    assert Committed(rows=21_004, seconds=2.0, rows_meanwhile=20_000).per_second == 10_000


def test_a_peer_that_is_not_here_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """With how it is had."""
    monkeypatch.setenv("PATH", "")
    with pytest.raises(PeerMissing, match=r"no-such-peer is not here: make bench-peers"):
        peer("no-such-peer")


def test_a_python_that_is_not_here_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The same for the packages of the asyncio peer."""
    monkeypatch.setattr(peers, "_ASYNCIO_PYTHON", tmp_path / "python")
    with pytest.raises(PeerMissing, match=r"aiokafka and asyncpg are not here: make bench-peers"):
        peers.asyncio_python()


def test_the_asyncio_peer_stores_every_field_of_the_record() -> None:
    """Read without its packages: what it would leave out would make it faster than it is."""
    source = (on_asyncio.PROGRAMS / "persister.py").read_text(encoding="utf-8")
    named = {node.value for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant)}
    assert {*Result.__struct_fields__, *Phases.__struct_fields__} <= named
