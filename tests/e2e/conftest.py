"""
A system that runs somewhere else, given by `WMS_*` alone: `python -m pytest -n 0 tests/e2e`, or `make e2e`.

Its beat, workers and persist are looked at from outside: nothing is started, written or stopped. So this folder is no
part of `make test`, which runs it against a system of its own (tests/acceptance/test_e2e.py).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from datetime import timedelta

import pytest

from tests.e2e.judgement import Key, Row, Schedule, expected, without_row
from tests.e2e.outside import Outside, Start
from tests.waiting import wait_until
from wms_tasks.errors import SettingsError
from wms_tasks.settings import PREFIX, Settings, get_settings, load_settings
from wms_tasks.tls_check import require

# Settings have defaults for these, which would be some other system.
NEEDED = ("ENV", "BROKER_URL", "KAFKA_BOOTSTRAP_SERVERS", "DATABASE_URL")
LONGEST_WATCH_SECONDS = 120.0
# From the last instant at which a slot may be begun until its row: the probe, a batch, a slow machine.
LATE_SECONDS = 30.0
LONGEST_WAIT_SECONDS = 150.0


def pytest_addoption(parser: pytest.Parser) -> None:
    """How long to wait, and to look."""
    parser.addoption(
        "--wait-seconds", type=float, default=0.0,
        help="So long a system that has just been started may take until it has probed a site; default: 0.",
    )  # fmt: skip
    parser.addoption(
        "--watch-seconds", type=float,
        help="So long slots are watched; default: two of the fastest site's, from 5 to 120 s.",
    )  # fmt: skip


def pytest_sessionstart() -> None:
    """Without a system there is nothing to look at: one line for each thing that is missing, status 4."""
    try:
        _settings(os.environ)
    except SettingsError as error:
        raise pytest.UsageError(*(f"tests/e2e: {line}" for line in str(error).splitlines())) from error


def _settings(environ: Mapping[str, str]) -> Settings:
    names = [f"{PREFIX}{name}" for name in NEEDED]
    missing = [name for name in names if not environ.get(name) and not environ.get(f"{name}_FILE")]
    if missing:
        raise SettingsError("\n".join(f"{name} is not set: it says which system to look at" for name in missing))
    return require(load_settings(), "redis", "kafka", "postgres")


@pytest.fixture(autouse=True)
def clean_environ() -> None:
    """Elsewhere a test begins without `WMS_*`; here they are what is asked for."""
    get_settings.cache_clear()


@pytest.fixture(scope="session")
def outside(request: pytest.FixtureRequest) -> Outside:
    """The system, at work."""
    found = Outside(_settings(os.environ))
    wait_until(
        found.has_begun,
        timeout_seconds=request.config.getoption("--wait-seconds"),
        what="a site has been probed: do beat, a worker and persist run, with these services?",
        every_seconds=1,
    )
    return found


@pytest.fixture(scope="session")
def start(outside: Outside) -> Start:
    """How things stood at the beginning."""
    return outside.start()


class Watched:
    """Some seconds of a system: the slots that began in them, and the rows that they got."""

    def __init__(self, start: Start, seconds: float) -> None:
        self.since = start.at
        self.until = start.at + timedelta(seconds=seconds)
        self.schedules: list[Schedule] = []
        self.slots: dict[Key, str] = {}
        self.rows: list[Row] = []

    def read(self, outside: Outside) -> None:
        """Anew: sites may come and go meanwhile."""
        self.schedules = outside.schedules(self.since)
        self.slots = expected(self.schedules, self.since, self.until)
        self.rows = outside.rows(self.since, self.until)


@pytest.fixture(scope="session")
def watched(outside: Outside, start: Start, request: pytest.FixtureRequest) -> Watched:
    """What became of the slots of the next seconds, as soon as each has a row or none can be expected any more."""
    schedules = outside.schedules(start.at)
    fastest = min(one.interval.total_seconds() for one in schedules)
    seconds = request.config.getoption("--watch-seconds") or min(max(5.0, 2 * fastest), LONGEST_WATCH_SECONDS)
    found = Watched(start, seconds)
    wait_until(lambda: outside.now() >= found.until, seconds + LATE_SECONDS, "the watch ends", every_seconds=0.5)
    deadlines = [one.deadline.total_seconds() for one in schedules if one.newest_before(found.until, found.since)]
    limit = min(max(deadlines, default=0.0) + LATE_SECONDS, LONGEST_WAIT_SECONDS)

    def complete() -> bool:
        found.read(outside)
        return not without_row(found.slots, found.rows)

    with contextlib.suppress(AssertionError):  # which slots have none is said by the tests, each by its own measure
        wait_until(complete, timeout_seconds=limit, every_seconds=0.5)
    return found
