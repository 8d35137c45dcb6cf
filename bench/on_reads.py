"""
How long do `wms status` and `wms results SITE --last 1h` take, as a person runs them, over a week of 10,000 sites?

The table is filled by Postgres itself, a day at a time into the day's partition, which is made in the same transaction:
under `wal_level = minimal` nothing of it goes through the log. Rows come in the order of their slots, with all indexes
there, as they do in life, and all but the last two hours have been vacuumed, as autovacuum leaves them.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from time import monotonic

import psycopg

from bench.figure import Figure, Measure, PeerMissing, Round, Subject, at_most
from bench.postgres import postgres
from wms_tasks.sites.record import site_id_for

SITES = 10_000
DAYS = 7
INTERVAL_SECONDS = 300
FRESH = timedelta(hours=2)
_BYTES_A_ROW = 1_000
_COMMAND_SECONDS = 60.0
# As `day_of_results` makes them: one in five sites plain http, one result in 100 down, each site a splay of its own.
_FILL = """
INSERT INTO {table} (
    site_id, location, scheduled_at, site_name, due_at, started_at, attempt, outcome, reason, detail, status_code,
    response_time_ms, worker, spec_digest, schema_version, stored_at, address, http_version, tls_version, tls_cipher,
    redirects, wire_bytes, body_bytes, content_type, resolve_ms, connect_ms, tls_ms, processing_ms, transfer_ms,
    certificate_subject, certificate_issuer, certificate_names, certificate_expires_at, chain_expires_at
)
SELECT
    id, 'local', at, 'shop-' || site || '.example.com',
    at + interval '1.5 s', at + interval '1.501 s', 1,
    CASE WHEN down THEN 'down' ELSE 'up' END, CASE WHEN down THEN 'status' ELSE 'ok' END,
    CASE WHEN down THEN 'status 503, expected 2xx' END, CASE WHEN down THEN 503 ELSE 200 END, 31.5 + site % 89,
    'probe-7d9c6b5f4-x2x7k', '0123456789abcdef', 1, at + interval '2 s', '203.0.113.' || site % 250, '1.1',
    CASE WHEN tls THEN '1.3' END, CASE WHEN tls THEN 'TLS_AES_256_GCM_SHA384' END, 0, 11400 + site, 48000 + site,
    'text/html; charset=utf-8', 0.5, 4.25, CASE WHEN tls THEN 8.5 END, 21.5, 0.75,
    CASE WHEN tls THEN 'CN=shop-' || site || '.example.com' END,
    CASE WHEN tls THEN 'CN=R11,O=Let''s Encrypt,C=US' END,
    CASE WHEN tls THEN ARRAY['shop-' || site || '.example.com', 'www.shop-' || site || '.example.com'] END,
    CASE WHEN tls THEN now() + interval '60 days' END, CASE WHEN tls THEN now() + interval '60 days' END
FROM (
    SELECT site, id, site % 5 <> 0 AS tls, (site * 7919 + slot) % 100 = 99 AS down,
        timestamptz 'epoch' + (slot * {interval} + site * {interval}::float8 / {sites}) * interval '1 s' AS at
    FROM generate_series(
        floor(extract(epoch FROM timestamptz '{since}') / {interval})::bigint,
        floor(extract(epoch FROM timestamptz '{until}') / {interval})::bigint
    ) AS slot, LATERAL (SELECT * FROM public.bench_sites ORDER BY site + 0 * slot) AS of_slot
) AS each
WHERE at >= '{since}' AND at < '{until}'
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Week:
    """What the table holds: all slots of so many sites in [since, until)."""

    sites: int = SITES
    days: int = DAYS
    until: datetime

    @property
    def since(self) -> datetime:
        """The first slot."""
        return self.until - timedelta(days=self.days)

    @property
    def rows(self) -> int:
        """About how many."""
        return self.sites * self.days * 86_400 // INTERVAL_SECONDS

    def parts(self) -> list[tuple[date, datetime, datetime]]:
        """Each UTC day and which part of it, without the last hours."""
        found, at, end = [], self.since, self.until - FRESH
        while at < end:
            next_day = datetime.combine(at.date() + timedelta(days=1), datetime.min.time(), UTC)
            found.append((at.date(), at, min(next_day, end)))
            at = next_day
        return found


def fill(url: str, week: Week) -> None:
    """All rows of it, two days at a time, then what autovacuum would have done, then the last hours."""
    announce(url, week)
    with ThreadPoolExecutor(2) as pool:
        for _ in pool.map(lambda part: _fill_day(url, week, *part), week.parts()):
            pass
    with psycopg.connect(url, autocommit=True) as connection:
        for day, since, _ in week.parts():
            begin = datetime.combine(since.date(), datetime.min.time(), UTC)
            bounds = f"FROM ('{begin}') TO ('{begin + timedelta(days=1)}')"
            connection.execute(f"ALTER TABLE wms.results ATTACH PARTITION {_table(day)} FOR VALUES {bounds}".encode())
            connection.execute(f"ALTER TABLE {_table(day)} DROP CONSTRAINT of_its_day".encode())
        for days_ahead in range(-2, 3):
            connection.execute("SELECT wms.ensure_partition(%s)", ((week.until + timedelta(days=days_ahead)).date(),))
        connection.execute("VACUUM ANALYZE wms.results")
        connection.execute(_statement("wms.results", week, week.until - FRESH, week.until))


def announce(url: str, week: Week) -> None:
    """The sites with their ids, and their schedules as beat announces them."""
    names = [f"shop-{site}.example.com" for site in range(week.sites)]
    with psycopg.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE public.bench_sites (site integer PRIMARY KEY, id uuid NOT NULL)")
        with cursor.copy("COPY public.bench_sites FROM STDIN") as copy:
            for site, name in enumerate(names):
                copy.write_row((site, site_id_for(name)))
        cursor.execute(
            "INSERT INTO wms.sites (site_id, location, valid_from, site_name, interval_us, splay_us, jitter_us, "
            "max_lateness_us, spec, spec_digest) SELECT id, 'local', %s, 'shop-' || site || '.example.com', "
            "%s * 1000000, site, 3000000, 30000000, '{}', '0123456789abcdef' FROM public.bench_sites",
            (week.since, INTERVAL_SECONDS),
        )


def _table(day: date) -> str:
    return f"wms.results_p{day:%Y%m%d}"


def _fill_day(url: str, week: Week, day: date, since: datetime, until: datetime) -> None:
    """As `wms.ensure_partition` makes it; attached later, so that two can be filled at a time."""
    begin = datetime.combine(day, datetime.min.time(), UTC)
    with psycopg.connect(url) as connection:
        connection.execute(f"CREATE TABLE {_table(day)} (LIKE wms.results INCLUDING ALL)".encode())
        check = f"scheduled_at >= '{begin}' AND scheduled_at < '{begin + timedelta(days=1)}'"
        connection.execute(f"ALTER TABLE {_table(day)} ADD CONSTRAINT of_its_day CHECK ({check})".encode())
        connection.execute(_statement(_table(day), week, since, until))


def _statement(table: str, week: Week, since: datetime, until: datetime) -> bytes:
    return _FILL.format(table=table, since=since, until=until, sites=week.sites, interval=INTERVAL_SECONDS).encode()


def command_seconds(url: str, *arguments: str) -> float:
    """How long it takes from start to end, into a file as it were."""
    program = [sys.executable, "-m", "wms_tasks.cli", *arguments]
    began = monotonic()
    asked = subprocess.run(
        program, env={"WMS_DATABASE_URL": url, "PATH": ""}, capture_output=True, timeout=_COMMAND_SECONDS, check=True
    )
    seconds = monotonic() - began
    assert b"shop-" in asked.stdout, asked.stdout[:200]
    return seconds


@contextmanager
def _open(folder: Path) -> Iterator[Measure]:
    week = Week(until=datetime.now(UTC).replace(microsecond=0))
    if shutil.disk_usage(folder).free < 2 * week.rows * _BYTES_A_ROW:
        raise PeerMissing(f"{week.rows:,} rows need {2 * week.rows * _BYTES_A_ROW / 1e9:.0f} GB of free disk here")
    with postgres(folder) as server:
        url = server.url()
        fill(url, week)
        command_seconds(url, "status")  # what is asked for often is in memory

        def measure(number: int) -> Round:
            site = f"shop-{1_234 + 777 * number}.example.com"
            return {
                "reads_status": command_seconds(url, "status"),
                "reads_results": command_seconds(url, "results", site, "--last", "1h"),
            }

        yield measure


def _figure(key: str, name: str) -> Figure:
    return Figure(
        key=key,
        name=name,
        unit="s",
        must=at_most(1.0),
        aim=at_most(0.3),
    )


READS = Subject(
    name="reads",
    figures=(
        _figure("reads_status", "reads: `wms status`, the whole command"),
        _figure("reads_results", "reads: `wms results SITE --last 1h`, the whole command"),
    ),
    open=_open,
    conditions=f"{SITES:,} sites every 5 minutes for {DAYS} days, 20 million rows; the embedded Postgres with its "
    "settings (32 MB of shared buffers); all but the last 2 hours vacuumed",
)
