"""Faults of Postgres and of the way to it."""

from __future__ import annotations

import signal
import subprocess
from datetime import timedelta

import psycopg

from tests.faults.lab import Lab, now
from tests.faults.scenario import HALF_OPEN_RECOVERY_SECONDS, OUTAGES, RESTARTS, Scenario
from tests.faults.stage import kill, start_again
from tests.faults.system import drop_database

_REFUSE_AS_FULL = """
CREATE OR REPLACE FUNCTION public.full_disk() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'could not extend file "base/5/16384": No space left on device' USING ERRCODE = 'disk_full';
END $$
"""


def _ended_by(lab: Lab, signum: signal.Signals) -> None:
    lab.wait(lab.random.uniform(0.0, lab.seconds(1.0, 0.5)))
    kill(lab.stage.postgres, signum)
    lab.wait(lab.random.uniform(0.0, lab.seconds(3.0, 0.5)))
    start_again(lab.stage.postgres)


def _restart(lab: Lab) -> None:
    """SIGINT: sessions are ended, a checkpoint is written."""
    _ended_by(lab, signal.SIGINT)


def _immediate(lab: Lab) -> None:
    """SIGQUIT: as after a crash, with recovery from the log at the next start."""
    _ended_by(lab, signal.SIGQUIT)


def _refused(lab: Lab) -> None:
    lab.stage.postgres_proxy.down()
    lab.wait(lab.seconds(60.0, 5.0))
    lab.stage.postgres_proxy.heal()


def _black_hole(lab: Lab) -> None:
    lab.stage.postgres_proxy.black_hole()
    lab.wait(lab.seconds(60.0, 8.0))
    lab.stage.postgres_proxy.heal("dead")


def _slow(lab: Lab) -> None:
    """A few rows a second go through."""
    lab.stage.postgres_proxy.slow(2000)
    lab.wait(lab.seconds(20.0, 5.0))
    lab.stage.postgres_proxy.heal()


def _reset_often(lab: Lab) -> None:
    for _ in range(10):
        lab.stage.postgres_proxy.reset()
        lab.wait(lab.random.uniform(0.1, lab.seconds(4.0, 0.8)))


def _read_only(lab: Lab) -> None:
    """As a standby that everybody was sent to."""
    _set_read_only(lab, "on")
    lab.wait(lab.seconds(60.0, 5.0))
    _set_read_only(lab, "off")


def _set_read_only(lab: Lab, value: str) -> None:
    with psycopg.connect(lab.stage.postgres.url("postgres"), autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {lab.system.database} SET default_transaction_read_only = {value}".encode())
        if value == "on":
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (lab.system.database,)
            )


def _full(lab: Lab) -> None:
    """
    Every new row of results is refused as by a full disk.

    A disk of our own to fill up takes root, so a trigger raises what Postgres raises then, SQLSTATE 53100; it does not
    stand in for a server that cannot even write its log.
    """
    with psycopg.connect(lab.system.database_url, autocommit=True) as connection:
        connection.execute(_REFUSE_AS_FULL)
        connection.execute("CREATE TRIGGER full_disk BEFORE INSERT ON wms.results EXECUTE FUNCTION public.full_disk()")
        try:
            lab.wait(lab.seconds(60.0, 5.0))
        finally:
            connection.execute("DROP TRIGGER full_disk ON wms.results")


def _missing_partition(lab: Lab) -> None:
    """Today's partition is set aside under a running worker, and comes back with its rows."""
    day = now().date()
    bounds = f"FROM ('{day} 00:00+00') TO ('{day + timedelta(days=1)} 00:00+00')"
    with psycopg.connect(lab.system.database_url, autocommit=True) as connection:
        connection.execute(f"ALTER TABLE wms.results DETACH PARTITION wms.results_p{day:%Y%m%d}".encode())
        # Three times this stays below the rejects that end the loop: 200 of a partition's last 1,000 messages.
        lab.wait(lab.seconds(12.0, 3.0))
        statement = f"ALTER TABLE wms.results ATTACH PARTITION wms.results_p{day:%Y%m%d} FOR VALUES {bounds}"
        connection.execute(statement.encode())


def _old_dump(lab: Lab) -> None:
    """All that was written since the dump is gone, the offsets with it; Kafka still has it."""
    url, dump = lab.system.database_url, lab.folder / "old.dump"
    bin_dir = lab.stage.postgres.bin_dir
    with dump.open("wb") as file:
        subprocess.run([str(bin_dir / "pg_dump"), url], stdout=file, check=True)
    lab.wait(lab.seconds(20.0, 5.0))
    drop_database(lab.stage, lab.system.database)
    with psycopg.connect(lab.stage.postgres.url("postgres"), autocommit=True) as connection:
        # Nobody may write between here and the end of the restore, as in any real one.
        lab.stage.postgres_proxy.down()
        connection.execute(f"CREATE DATABASE {lab.system.database}".encode())
    subprocess.run(
        [str(bin_dir / "psql"), "--quiet", "--set=ON_ERROR_STOP=1", f"--file={dump}", url],
        stdout=subprocess.DEVNULL,
        check=True,
    )
    lab.stage.postgres_proxy.heal()


SCENARIOS = (
    Scenario(name="Postgres restart", act=_restart, repetitions=RESTARTS, may_miss=False),
    Scenario(name="Postgres immediate stop", act=_immediate, repetitions=RESTARTS, may_miss=False),
    Scenario(name="Postgres refused", act=_refused, repetitions=OUTAGES, may_miss=False, about_seconds=70),
    Scenario(
        name="Postgres black-holed",
        act=_black_hole,
        repetitions=OUTAGES,
        may_miss=False,
        limit_seconds=HALF_OPEN_RECOVERY_SECONDS,
        about_seconds=85,
    ),
    Scenario(name="Postgres slow", act=_slow, repetitions=OUTAGES, may_miss=False, about_seconds=70),
    Scenario(name="Postgres connections reset", act=_reset_often, repetitions=RESTARTS, may_miss=False),
    Scenario(name="Postgres read-only", act=_read_only, repetitions=OUTAGES, may_miss=False, about_seconds=70),
    Scenario(name="Postgres full", act=_full, repetitions=OUTAGES, may_miss=False, about_seconds=70),
    Scenario(
        name="Postgres partition missing",
        act=_missing_partition,
        repetitions=OUTAGES,
        may_reject=True,
        about_seconds=30,
    ),
    Scenario(
        name="Postgres restored from an old dump", act=_old_dump, repetitions=OUTAGES, may_miss=False, about_seconds=70
    ),
)
