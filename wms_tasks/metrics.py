"""
Every metric, with its help, its labels and the role that has it; docs/reference/metrics.md is made from here.

Names begin with ``wms_`` and end in their base unit; labels come from closed sets, and what concerns one site is in
site_metrics.py, out of Postgres, never here. Counting is one line where it happens: ``metrics.SENDS.inc("probe")``.
"""

from __future__ import annotations

import platform
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from importlib import metadata
from typing import Any

from prometheus_client import ProcessCollector

from wms_tasks.instruments.board import Board
from wms_tasks.instruments.kinds import BulkHistogram, Counter, Gauge, Histogram
from wms_tasks.names import HOUSEKEEPING_QUEUE, PROBE_QUEUE
from wms_tasks.result import MISSED_REASONS, NOT_ASKED_REASONS, Outcome, Phases, Reason, RejectReason

# The roles; EVERY is what each process of ours has.
EVERY, BEAT, WORKER, PERSIST = "every", "beat", "worker", "persist"
ROLES = (EVERY, BEAT, WORKER, PERSIST)

BOARD = Board()

# From a thread that is late by nothing to a probe that nobody can begin any more.
_LATENESS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
# From a page next door to the longest timeout.
_DURATION = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_WAIT = (0.0, 0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
# Of one probe: a handshake next door to a server that thinks until the timeout. Few, for there are many label sets.
_PHASE = (0.001, 0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
# From one message to `WMS_PERSIST_MAX_RECORDS`.
_BATCH = (1.0, 10.0, 100.0, 500.0, 1000.0, 2500.0, 5000.0, 10_000.0, 50_000.0)
_DELIVERY = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
# A slot waits for its jitter, its probe and its batch; an outage adds minutes to hours.
_DELAY = (0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0, 21600.0, 86400.0)

_QUEUES = (PROBE_QUEUE, HOUSEKEEPING_QUEUE)
_PHASES = tuple(name.removesuffix("_ms") for name in Phases.__struct_fields__)
_MISSED = tuple(reason for reason in Reason if reason in MISSED_REASONS)
_ENDED = tuple(reason for reason in Reason if reason not in MISSED_REASONS)
_ATTEMPTED = tuple(reason for reason in _ENDED if reason not in NOT_ASKED_REASONS)


def _counter(name: str, text: str, role: str, *, task: bool = False, **labels: Collection[str]) -> Counter:
    """``task``: counted by a task, and so by a pool's child where the pool forks; probes always are."""
    options: dict[str, Any] = {"role": role, "children": BOARD.children, "in_children": task or role == WORKER}
    return BOARD.add(Counter(name, text, labels=labels, **options))


def _histogram(name: str, text: str, role: str, edges: Sequence[float], **labels: Collection[str]) -> Histogram:
    options: dict[str, Any] = {"role": role, "children": BOARD.children, "in_children": role == WORKER}
    return BOARD.add(Histogram(name, text, edges=edges, labels=labels, **options))


def _gauge(name: str, text: str, role: str, **labels: Collection[str]) -> Gauge:
    return BOARD.add(Gauge(name, text, role=role, labels=labels))


# Every process
BUILD = _gauge("wms_build_info", "This release and its Python; always 1.", EVERY, version=(), python=())
THREAD_IDLE = _gauge(
    "wms_thread_idle_seconds",
    "Since a thread of this process last did its work; what /healthz judges. Of several persist loops, the longest.",
    EVERY,
    thread=(BEAT, WORKER, PERSIST),
)
CLOCK_OFFSET = _gauge(
    "wms_clock_offset_seconds",
    "This process's clock minus Redis' own; the difference between two processes is their skew, which lateness and "
    "expiry suffer from.",
    EVERY,
)
QUEUE_MESSAGES = _gauge(
    "wms_queue_messages", "Messages in a queue that no worker has taken, as this process sees it.", EVERY, queue=_QUEUES
)
QUEUE_OLDEST = _gauge(
    "wms_queue_oldest_age_seconds",
    "How long the message that comes next has been due; 0 for an empty queue.",
    EVERY,
    queue=_QUEUES,
)
UNACKNOWLEDGED = _gauge(
    "wms_unacknowledged_messages", "Messages of all queues that workers hold, waiting ones included.", EVERY
)

# Beat
SENDS = _counter("wms_beat_sends_total", "Messages that Redis took from beat.", BEAT, queue=_QUEUES)
SEND_LATENESS = _histogram(
    "wms_beat_lateness_seconds", "From when a probe was due until Redis had its message.", BEAT, _LATENESS
)
SLOTS_LOST = _counter("wms_beat_slots_lost_total", "Slots whose deadline passed before they could be sent.", BEAT)
LEASE_HELD = _gauge("wms_beat_lease_held", "1 where this beat leads, 0 where it stands by.", BEAT)
LEADS = _counter("wms_beat_leads_total", "Times that this beat took the lease and began to lead.", BEAT)
SITES = _gauge("wms_beat_sites", "Sites in the schedule.", BEAT)
RELOADS = _counter(
    "wms_beat_reloads_total", "Edits of the sites file: taken over, or refused.", BEAT, outcome=("applied", "refused")
)

# Probe worker
RESULTS = _counter(
    "wms_probe_results_total",
    "Slots that ended with a result which Kafka has confirmed; those given up are counted apart.",
    WORKER,
    outcome=(Outcome.UP, Outcome.DOWN, Outcome.SKIPPED),
    reason=_ENDED,
)
ATTEMPT_SECONDS = _histogram(
    "wms_probe_duration_seconds",
    "One attempt at a site, from before its DNS lookup to its verdict.",
    WORKER,
    _DURATION,
    outcome=(Outcome.UP, Outcome.DOWN),
)
PHASE_SECONDS = _histogram(
    "wms_probe_phase_seconds",
    "Where an attempt's time went, all hops of it together; a phase that was not reached or not needed is not counted.",
    WORKER,
    _PHASE,
    phase=_PHASES,
    outcome=(Outcome.UP, Outcome.DOWN),
    reason=_ATTEMPTED,
)
RETRIES = _counter(
    "wms_probe_retries_total",
    "Slots sent again because something failed: the site, Kafka (the result in hand), or Redis when asked for a turn.",
    WORKER,
    cause=("site", "kafka", "redis"),
)
GIVEN_UP = _counter(
    "wms_probe_given_up_total",
    "Slots this worker had to give up: expired in the queue, too late when begun, never confirmed by Kafka, or of a "
    "newer release, of which no worker took them; in_hand: an attempt before had left a result, which ends the slot.",
    WORKER,
    cause=("expired", "too_late", "unpublished", "too_old", "in_hand"),
)
LATENESS = _histogram(
    "wms_probe_lateness_seconds",
    "From when a probe was due until its first attempt began, by beat's clock and this worker's.",
    WORKER,
    _LATENESS,
)
TURN_WAIT = _histogram(
    "wms_probe_turn_wait_seconds",
    "How far ahead the host's next turn was, when one was reserved; 0: at once.",
    WORKER,
    _WAIT,
)
ROBOTS = _counter(
    "wms_probe_robots_total",
    "What robots.txt said, from memory and the shared copy or after a request to the host.",
    WORKER,
    verdict=("allowed", "forbidden", "unreachable", "down", "blocked"),
    source=("cached", "fetched"),
)
NO_TURN = _counter(
    "wms_probe_turns_refused_total",
    "Turns that would have come after their slot's end, by what held the host back: its spacing, robots.txt's "
    "crawl-delay, or a Retry-After.",
    WORKER,
    cause=("spacing", "crawl_delay", "retry_after"),
)
BACK_OFFS = _counter(
    "wms_probe_back_offs_total",
    "Answers with a Retry-After, to requests for pages and robots.txt, after which their host was left alone.",
    WORKER,
    cause=("429", "503"),
)
NETWORK_STATE = _gauge(
    "wms_probe_network_state",
    "1 for what a worker takes its own network for, 0 for the other; absent until it looked, and under prefork.",
    WORKER,
    state=("online", "offline"),
)
NETWORK_CHECKS = _counter(
    "wms_probe_network_checks_total",
    "Looks at canaries, after an attempt that failed by the network, and what came of it; unknown: too few of them.",
    WORKER,
    verdict=("online", "offline", "unknown"),
)
PUBLISH_SECONDS = _histogram(
    "wms_publish_delivery_seconds", "From handing a result to the producer to Kafka's confirmation.", WORKER, _DELIVERY
)
PUBLISH_ERRORS = _counter(
    "wms_publish_errors_total",
    "Results that Kafka did not confirm: refused, no answer in time, the producer's memory full, this process "
    "stopping; or the schema registry did not answer.",
    WORKER,
    reason=("refused", "timeout", "full", "stopping", "registry"),
)

# Persist
BATCHES = _counter("wms_persist_batches_total", "Transactions that moved offsets.", PERSIST)
ROWS = _counter("wms_persist_rows_total", "Rows stored, replaced missed ones included.", PERSIST)
BATCH_MESSAGES = _histogram(
    "wms_persist_batch_messages", "Messages that one transaction stored, as rows, rejects or none.", PERSIST, _BATCH
)
COPY_BYTES = _counter(
    "wms_persist_copy_bytes_total",
    "Sent to Postgres by COPY, and sent again, in halves or staged.",
    PERSIST,
)
REJECTS = _counter(
    "wms_persist_rejects_total",
    "Messages stored as rejects.",
    PERSIST,
    reason=tuple(RejectReason),
)
DUPLICATES = _counter(
    "wms_persist_duplicates_total", "Messages whose row was there already; nothing was changed.", PERSIST
)
REPLACED = _counter(
    "wms_persist_replaced_missed_total",
    "Rows that took the place of a missed one, the result having come late.",
    PERSIST,
)
LOST_OFFSETS = _counter(
    "wms_persist_lost_offsets_total",
    "Offsets that Kafka no longer had when they were to be read; 1 where nobody knows how many: of a partition that "
    "was truncated, or a topic that was made again.",
    PERSIST,
)
WRITE_SECONDS = _histogram(
    "wms_persist_write_seconds", "One batch into Postgres, its commit included.", PERSIST, _DURATION
)
DELAY = BOARD.add(
    BulkHistogram(
        "wms_persist_delay_seconds", "From a row's slot to its commit, jitter included.", role=PERSIST, edges=_DELAY
    )
)
LAG = _gauge(
    "wms_persist_lag_messages",
    "Messages of a partition of ours that are not in Postgres yet; of another version of the topic, it is `v2/0`.",
    PERSIST,
    partition=(),
)
PERSIST_STATE = _gauge(
    "wms_persist_state",
    "How many loops do this now; there is one for each version of the topic that is read.",
    PERSIST,
    state=(
        "stopped",
        "waiting_for_kafka",
        "waiting_for_topic",
        "waiting_for_postgres",
        "waiting_for_registry",
        "waiting_for_partitions",
        "running",
    ),
)
LAST_WRITE = _gauge(
    "wms_persist_last_write_timestamp_seconds", "When the last batch was stored, in seconds since 1970.", PERSIST
)
HELD = _gauge("wms_persist_held_messages", "Messages read from Kafka that wait for their transaction.", PERSIST)
SCHEMA = _gauge("wms_schema_version", "Number of the newest migration that the database has.", PERSIST)
PARTITIONS_AHEAD = _gauge(
    "wms_database_partitions_ahead_seconds",
    "From now to the first instant for which results have no partition; 0 or less: rows of today have nowhere to go.",
    PERSIST,
)
DATABASE_BYTES = _gauge("wms_database_bytes", "Size of the whole database, all its schemas.", PERSIST)
DATABASE_DAY = _gauge(
    "wms_database_day_bytes",
    "What a day of results takes with its indexes; absent before the first whole day.",
    PERSIST,
)
DATABASE_FREE = _gauge(
    "wms_database_free_bytes",
    "Free on Postgres' disk; absent where that is another machine's or a container's: ask an exporter there.",
    PERSIST,
)
DATABASE_FULL = _gauge(
    "wms_database_full_in_seconds",
    "When that disk is full, at the rate of the last whole days; absent where all that retention keeps fits on it.",
    PERSIST,
)
SITE_SERIES = _gauge(
    "wms_site_series_sites",
    "Sites and locations whose series this process serves on /metrics/sites; 0 where another process does, or where "
    "there are too many.",
    PERSIST,
)
MISSED = _counter(
    "wms_ledger_missed_total",
    "Slots closed as missed, where they are closed; not those that a probe worker gave up, which counts them, unless "
    "only their result was lost on its way to Kafka.",
    PERSIST,
    task=True,
    reason=_MISSED,
)
HEARTBEATS = _counter("wms_heartbeat_calls_total", "Calls of WMS_HEARTBEAT_URL.", PERSIST, outcome=("ok", "failed"))


def sent(queue: str, late_seconds: float) -> None:
    """Redis took a message of beat's, that long after it was due."""
    SENDS.inc(queue)
    if queue == PROBE_QUEUE:
        SEND_LATENESS.observe(late_seconds)


def probed(found: Phases, outcome: str, reason: str) -> None:
    """An attempt's phases, those that it had."""
    for phase, name in zip(_PHASES, Phases.__struct_fields__, strict=True):
        if (milliseconds := getattr(found, name)) is not None:
            PHASE_SECONDS.observe(milliseconds / 1000, phase, outcome, reason)


def stored(*, rows: int, duplicates: int, delays_seconds: Iterable[float], at: datetime, write_seconds: float) -> None:
    """A batch is in Postgres since `at`, so long after its slots; rejects are counted where their reasons are known."""
    BATCHES.inc()
    ROWS.inc(by=rows)
    DUPLICATES.inc(by=duplicates)
    WRITE_SECONDS.observe(write_seconds)
    DELAY.observe_all(delays_seconds)
    LAST_WRITE.set(at.timestamp())


BUILD.set(1, metadata.version("wms-tasks"), platform.python_version())
BOARD.also(ProcessCollector(registry=None))
