"""Metrics: names, labels, what a process shows, what a probe pays, and counting across a fork."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse

from tests.samples import own
from wms_tasks import metrics
from wms_tasks.instruments.board import Board
from wms_tasks.instruments.kinds import BulkHistogram, Counter, Gauge, Histogram, Instrument
from wms_tasks.probe.judge import TRANSIENT_REASONS
from wms_tasks.result import Outcome, Phases, Reason, RejectReason
from wms_tasks.roles.measure_store import partitions_ahead_seconds

ROOT = Path(__file__).resolve().parents[2]
UNITS = ("_seconds", "_bytes", "_messages", "_sites", "_info", "_held", "_state", "_version")
LABELS = {
    "version", "python", "thread", "queue", "outcome", "reason", "cause", "verdict", "source", "partition", "state",
    "phase",
}  # fmt: skip
# Labels whose values are few by nature.
NOT_LISTED = {"version", "python", "partition"}
ALL = list(metrics.BOARD.instruments.values())
# Times a counter in a dict under a lock, the least that one count can cost: 44 (7 to 15 µs, idle and loaded).
PROBE_MAY_PAY = 60
WRITERS = [path for room in ("persist", "store") for path in sorted((ROOT / "wms_tasks" / room).glob("*.py"))]


def values(board: Board) -> dict[str, float]:
    """Every sample of the board's page, by name and labels as Prometheus reads them."""
    return {
        sample.name + json.dumps(sample.labels): sample.value
        for family in parse(board.page()[1].decode())
        for sample in family.samples
    }


@pytest.mark.parametrize("one", ALL, ids=lambda one: one.name)
def test_every_metric_says_what_it_is(one: Instrument) -> None:
    """Prefix, base unit, help, a role, and labels from closed sets, none of them a site."""
    assert one.name.startswith("wms_")
    assert one.name.endswith("_total") is (one.kind == "counter")
    assert one.kind == "counter" or one.name.endswith(UNITS)
    assert one.text.endswith(".")
    assert one.role in metrics.ROLES
    assert set(one.labels) <= LABELS
    assert {label for label, allowed in one.labels.items() if not allowed} <= NOT_LISTED


def test_a_reason_is_a_label_only_where_it_is_written() -> None:
    """A worker's results are never missed, and what no attempt ends for has no phases; none is lost between them."""
    missed, ended, attempted = (
        set(one.labels["reason"]) for one in (metrics.MISSED, metrics.RESULTS, metrics.PHASE_SECONDS)
    )
    assert (missed | ended, missed & ended) == (set(Reason), set())
    assert set(Outcome) - set(metrics.RESULTS.labels["outcome"]) == {Outcome.MISSED}
    assert ended - attempted == {"robots", "robots_unreachable", "rate_limited", "offline", "secret"}
    assert attempted >= TRANSIENT_REASONS | {Reason.OK, Reason.SLOW, Reason.TLS_EXPIRING, Reason.BLOCKED_ADDRESS}


@pytest.mark.parametrize("reason", metrics.REJECTS.labels["reason"])
def test_every_reason_of_a_reject_has_a_writer(reason: str) -> None:
    """One that nobody writes is a series that stays 0 for ever, and an entry of the runbook for nothing."""
    member = f"RejectReason.{RejectReason(reason).name}"
    assert any(member in path.read_text(encoding="utf-8") for path in WRITERS)


def test_the_page_is_what_both_parsers_take() -> None:
    """Prometheus' text form and OpenMetrics; every metric that has a value is on it, with its help."""
    metrics.BOARD.show(*metrics.ROLES)
    metrics.BUILD.collect()
    plain = {family.name: family for family in parse(metrics.BOARD.page()[1].decode())}
    content_type, body = metrics.BOARD.page("application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    assert {family.name for family in parse_openmetrics(body.decode())} == set(plain)
    for one in ALL:
        if one.kind != "gauge":
            assert plain[one.name.removesuffix("_total")].documentation == one.text
    assert "process_resident_memory_bytes" in plain


def test_a_clock_that_is_ahead_takes_nothing_away() -> None:
    """A sum that falls reads as a restart, and OpenMetrics forbids it."""
    several = BulkHistogram("wms_test_ahead_seconds", "Test.", role="persist", edges=(1.0,))
    several.observe_all([-3600.0, 2.0])
    one = Histogram("wms_test_behind_seconds", "Test.", role="persist", edges=(1.0,), children=Board().children)
    one.observe(-3600.0)
    families = [family for each in (several, one) for family in each.collect()]
    samples = [sample for family in families for sample in family.samples]
    assert [sample.value for sample in samples if sample.name.endswith("_sum")] == [2.0, 0.0]


def test_a_probe_pays_microseconds() -> None:
    """All that one probe counts, beside the least that one count costs; by turns, the least of many rounds."""
    phases = Phases(resolve_ms=1.0, connect_ms=2.0, tls_ms=20.0, processing_ms=30.0, transfer_ms=0.5)
    counts, lock = {"up": 0}, threading.Lock()

    def count() -> None:
        with lock:
            counts["up"] += 1

    def probe() -> None:
        metrics.ROBOTS.inc("allowed", "cached")
        metrics.TURN_WAIT.observe(0.0)
        metrics.LATENESS.observe(0.004)
        metrics.ATTEMPT_SECONDS.observe(0.05, "up")
        metrics.probed(phases, "up", "ok")
        metrics.PUBLISH_SECONDS.observe(0.006)
        metrics.RESULTS.inc("up", "ok")

    def round_seconds(one: Callable[[], None], rounds: int = 500) -> float:
        began = time.thread_time()
        for _ in range(rounds):
            one()
        return time.thread_time() - began

    rounds = [(round_seconds(probe), round_seconds(count)) for _ in range(20)]
    least_probe, least_count = (min(column) for column in zip(*rounds, strict=True))
    assert least_probe < PROBE_MAY_PAY * least_count


def test_only_the_phases_that_were_reached_are_counted() -> None:
    """By phase, outcome and reason, in seconds."""
    before = own(metrics.PHASE_SECONDS)
    metrics.probed(Phases(resolve_ms=2.0, connect_ms=250.0), "down", "connect_timeout")
    after = own(metrics.PHASE_SECONDS)

    def more(name: str, **labels: str) -> float:
        name, labels = f"wms_probe_phase_seconds_{name}", {"reason": "connect_timeout", **labels}
        return after.sum(name, **labels) - before.sum(name, **labels)

    assert (more("count"), more("count", phase="connect", outcome="down")) == (2, 1)
    assert more("sum", phase="connect") == pytest.approx(0.25)


def test_how_far_ahead_partitions_reach() -> None:
    """To the end of the last day without a gap; where today has none, not at all."""
    now = datetime(2026, 11, 23, 18, tzinfo=UTC)
    days = [now.date() + timedelta(days=n) for n in (-1, 0, 1, 3)]
    assert partitions_ahead_seconds(days, now) == 30 * 3600
    assert partitions_ahead_seconds(days[:1], now) == -18 * 3600


def test_a_process_shows_its_own_roles_only() -> None:
    """Counters of its role from 0, of another not at all; a gauge when it is known, and no longer than that."""
    board = Board()
    ours = board.add(Counter("a_total", "A.", role="ours", children=board.children, labels={"cause": ("x", "y")}))
    board.add(Counter("b_total", "B.", role="theirs", children=board.children))
    known = board.add(Gauge("c_seconds", "C.", role="ours", labels={"partition": ()}))
    assert values(board) == {}
    board.show("ours")
    assert values(board) == {'a_total{"cause": "x"}': 0, 'a_total{"cause": "y"}': 0}
    ours.inc("x", by=2)
    known.set(5, "0")
    known.set(6, "1")
    assert values(board)['a_total{"cause": "x"}'] == 2
    assert values(board)['c_seconds{"partition": "1"}'] == 6
    known.replace({("1",): 7})
    assert [value for name, value in values(board).items() if name.startswith("c_")] == [7]
    known.replace({})
    assert not any(name.startswith("c_") for name in values(board))


def test_a_value_outside_the_closed_set_is_other() -> None:
    """Whatever a newer release or a broken message brings, the number of series is known beforehand."""
    board = Board()
    one = board.add(Counter("a_total", "A.", role="ours", children=board.children, labels={"reason": ("x",)}))
    board.show("ours")
    for number in range(5):
        one.inc(f"unheard-of-{number}")
    assert values(board) == {'a_total{"reason": "x"}': 0, 'a_total{"reason": "other"}': 5}


def test_two_metrics_of_one_name_are_refused() -> None:
    """The page would be none."""
    board = Board()
    board.add(Gauge("a_seconds", "A.", role="ours"))
    with pytest.raises(ValueError, match="a_seconds"):
        board.add(Gauge("a_seconds", "A.", role="ours"))


@given(st.lists(st.lists(st.sampled_from([-1.0, 0.0, 0.1, 0.5, 1.0, 1.5, 10.0, 1e9]))))
def test_counting_in_bulk_is_counting_one_by_one(batches: list[list[float]]) -> None:
    """Same buckets, count and sum, edges included."""
    board, edges = Board(), (0.0, 0.5, 1.0)
    bulk = board.add(BulkHistogram("bulk_seconds", "B.", role="ours", edges=edges))
    single = board.add(Histogram("single_seconds", "S.", role="ours", children=board.children, edges=edges))
    board.show("ours")
    for batch in batches:
        bulk.observe_all(batch)
        for value in batch:
            single.observe(value)
    found = values(board)
    for name, value in found.items():
        if name.startswith("single_"):
            assert found[name.replace("single_", "bulk_")] == pytest.approx(value)


ACROSS_A_FORK = """
import os, pathlib, prometheus_client
from wms_tasks import metrics

board = metrics.BOARD
folder = pathlib.Path(board.children.expect())
board.show("worker", "beat")
metrics.RESULTS.inc("up", "ok")
for number in range(3):
    pid = os.fork()
    if pid == 0:
        metrics.RESULTS.inc("up", "ok")
        metrics.RESULTS.inc("down", "dns")
        metrics.PUBLISH_SECONDS.observe(0.002)
        metrics.SENDS.inc("probe")
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
metrics.SENDS.inc("probe")
print(board.page()[1].decode())
print("# folder", folder, flush=True)
"""


def test_what_forked_children_count_is_gathered() -> None:
    """Parent and dead children together; what only the parent counts is its own; the folder is gone at the end."""
    done = subprocess.run([sys.executable, "-c", ACROSS_A_FORK], capture_output=True, text=True, check=True, timeout=60)
    page, _, folder = done.stdout.partition("# folder ")
    found = {
        (sample.name, *sample.labels.values()): sample.value for family in parse(page) for sample in family.samples
    }
    assert found["wms_probe_results_total", "up", "ok"] == 4
    assert found["wms_probe_results_total", "down", "dns"] == 3
    assert found["wms_publish_delivery_seconds_count",] == 3
    assert found["wms_publish_delivery_seconds_bucket", "0.0025"] == 3
    assert found["wms_probe_retries_total", "site"] == 0
    assert found["wms_beat_sends_total", "probe"] == 1
    assert not Path(folder.strip()).exists()


def test_expecting_children_too_late_is_an_error() -> None:
    """What they count would silently be missing."""
    board = Board()
    one = board.add(Counter("a_total", "A.", role="ours", children=board.children, in_children=True))
    one.inc()
    with pytest.raises(RuntimeError, match="before"):
        board.children.expect()
