"""Faults of migrations: killed at each thing that a migrator says to Postgres, and several at once."""

from __future__ import annotations

import subprocess
import sys

from tests.acceptance.processes import Role, Roles, roles
from tests.faults.lab import Lab
from tests.faults.scenario import Scenario
from tests.faults.system import drop_database, environ_of, make_database
from tests.faults.trip import trip
from tests.waiting import wait_until

WMS = [sys.executable, "-m", "wms_tasks.cli"]
UP = ("migrate", "up")
DOWN = ("migrate", "down", "--to", "0000")
_RUN_SECONDS = 30.0
_MOST_STEPS = 500


def _dump(lab: Lab, database: str) -> bytes:
    """The schema, equal for equal schemas."""
    program = str(lab.stage.postgres.bin_dir / "pg_dump")
    command = [program, "--schema-only", "--restrict-key=same", lab.stage.postgres.url(database)]
    return subprocess.run(command, check=True, capture_output=True).stdout


def _start(lab: Lab, started: Roles, database: str, arguments: tuple[str, ...]) -> Role:
    return started.start(*arguments, program=WMS, WMS_DATABASE_URL=lab.stage.proxied_database_url(database))


def _run(lab: Lab, started: Roles, database: str, arguments: tuple[str, ...]) -> None:
    role = _start(lab, started, database, arguments)
    code = role.wait(_RUN_SECONDS)
    assert code == 0, f"wms {' '.join(arguments)}: exit {code}: {role.said()}"


def _killed_at(lab: Lab, started: Roles, database: str, arguments: tuple[str, ...], step: int) -> bool:
    """Kill it when it says its n-th thing to Postgres; False if it had ended by then."""
    wire = lab.stage.postgres_proxy.arm(trip(*[rb".+"] * step, hold="before", anywhere=True))
    role = _start(lab, started, database, arguments)
    wait_until(lambda: wire.fired.is_set() or role.process.poll() is not None, _RUN_SECONDS, "a step or the end")
    role.end()
    lab.stage.postgres_proxy.heal()
    return wire.fired.is_set()


def _at_every_step(lab: Lab, arguments: tuple[str, ...], *, migrated: bool) -> None:
    """After each kill, the next run ends well, and leaves what a run without a kill leaves."""
    with roles(environ_of(lab.system.settings), lab.folder) as started:
        whole = make_database(lab.stage, migrated=migrated)
        _run(lab, started, whole, arguments)
        wanted = _dump(lab, whole)
        drop_database(lab.stage, whole)
        for step in range(1, _MOST_STEPS):
            if lab.short and lab.random.random() > 0.05:
                continue
            database = make_database(lab.stage, migrated=migrated)
            reached = _killed_at(lab, started, database, arguments, step)
            _run(lab, started, database, arguments)
            assert _dump(lab, database) == wanted, f"another schema after a kill at step {step} ({database})"
            drop_database(lab.stage, database)
            if not reached:
                return
        raise AssertionError(f"a migrator said more than {_MOST_STEPS} things to Postgres")


def _up_killed(lab: Lab) -> None:
    _at_every_step(lab, UP, migrated=False)


def _down_killed(lab: Lab) -> None:
    _at_every_step(lab, DOWN, migrated=True)


def _several(lab: Lab) -> None:
    """Two at once, as two persist workers that start together: both end well, and each migration was applied once."""
    with roles(environ_of(lab.system.settings), lab.folder) as started:
        database = make_database(lab.stage, migrated=False)
        both = [_start(lab, started, database, UP) for _ in range(2)]
        codes = [role.wait(_RUN_SECONDS) for role in both]
        assert codes == [0, 0], "; ".join(role.said() for role in both)
        assert sum("applied: " in role.said() for role in both) == 1, [role.said() for role in both]
        assert _dump(lab, database) == _dump(lab, lab.system.database)
        drop_database(lab.stage, database)


# They only compute, so that in a run of several lanes they come last, when nobody else is measured any more.
SCENARIOS = (
    Scenario(name="migrator killed at every step up", act=_up_killed, repetitions=1, bare=True, about_seconds=1),
    Scenario(name="migrator killed at every step down", act=_down_killed, repetitions=1, bare=True, about_seconds=1),
    Scenario(name="two migrators", act=_several, repetitions=5, bare=True),
)
