"""
How much one probe worker can do, and two, with more in the queue than they can take; and what its processor costs it.

The second is a lever of our own, held against itself, so it is measured only where it is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench.delay_server import delay_server
from bench.figure import Figure, Measure, Round, Subject, at_least
from bench.on_worker import ON, worker_settings
from bench.probing import Line, line, rate, sites
from bench.services import services
from bench.turns import both
from tests.acceptance.processes import roles
from tests.waiting import wait_until

SLOW_MS = 300
CONCURRENCY = 768
_SITES = 4000
_WARM_UP_PER_SECOND = 400.0
_QUEUED = 32_000
_SENT_TOGETHER = 500
# In which as many threads begin as 300 ms want: each has to wait for its turn at the interpreter, too.
_RAMP_SECONDS = 8.0
_FULL_SECONDS = 5.0


def full_speed(own: Line, workers: int) -> float:
    """Probes a second that the first so many workers make, with more in the queue than they can take."""
    own.results.new()  # another line's
    for number in range(0, _QUEUED, _SENT_TOGETHER):
        own.send(*range(number, number + _SENT_TOGETHER))
    own.take(workers)
    rate(own.results, _RAMP_SECONDS)
    found = rate(own.results, _FULL_SECONDS)
    assert own.left.queued() > 0, "the queue was empty before the time was over"
    own.take(0)
    wait_until(lambda: own.left.unacknowledged() == 0, 20, "all that was begun is done", every_seconds=0.1)
    # After that, since what a worker had taken and not begun is in the queue again.
    own.app.control.purge()
    outcomes = own.results.new()
    assert set(outcomes) == {"up/ok"}, outcomes
    return found


@contextmanager
def _lines(folder: Path, *lines: tuple[int, Mapping[str, str]]) -> Iterator[Sequence[Line]]:
    """Each with a queue of its own, so many workers, which take nothing yet, and these settings of theirs."""
    with ExitStack() as stack:
        port = stack.enter_context(delay_server())
        valkey, kafka = stack.enter_context(services(folder))
        started = stack.enter_context(roles({}, folder))
        watched = sites(_SITES, f"http://HOST:{port}/page?ms={SLOW_MS}")
        found = []
        for database, (workers, environ) in enumerate(lines):
            settings = worker_settings(valkey, kafka, database=database, concurrency=CONCURRENCY)
            found.append(stack.enter_context(line(settings, watched, started, workers=workers, environ=environ)))
            found[-1].warm_up(_WARM_UP_PER_SECOND)
            found[-1].take(0)
        yield found


@contextmanager
def _one_and_two(folder: Path) -> Iterator[Measure]:
    with _lines(folder, (2, {})) as (own,):

        def measure(number: int) -> Round:
            two, one = both(number, lambda: full_speed(own, 2), lambda: full_speed(own, 1))
            return {"worker_full": one, "worker_scale": two / one}

        yield measure


@contextmanager
def _on_one_processor(folder: Path) -> Iterator[Measure]:
    with _lines(folder, (1, {}), (1, {"WMS_WORKER_ONE_PROCESSOR": "false"})) as (own, free):

        def measure(number: int) -> Round:
            on_one, on_all = both(number, lambda: full_speed(own, 1), lambda: full_speed(free, 1))
            return {"worker_one_processor": on_one / on_all}

        yield measure


_CONDITIONS = (
    f"{ON}; HTTP; WMS_WORKER_CONCURRENCY={CONCURRENCY}; the queue holds more than is taken; the site, Valkey and Kafka "
    "share the cores"
)

FULL = Subject(
    name="probe worker: as many as it can",
    figures=(
        Figure(
            key="worker_full",
            name="probe worker: probes/s of one process, site answering in 300 ms",
            unit="/s",
            must=at_least(600),
            aim=at_least(1200),
        ),
        Figure(key="worker_scale", name="probes/s of 2 workers ÷ 1, site answering in 300 ms", unit="×"),
    ),
    open=_one_and_two,
    conditions=f"{_CONDITIONS}, which is what limits 2 workers on 2 cores",
)
ONE_PROCESSOR = Subject(
    name="probe worker: on one processor at a time",
    figures=(
        Figure(
            key="worker_one_processor",
            name="probe worker: probes/s on one processor at a time, as it is by default",
            unit="×",
            peer="the same with WMS_WORKER_ONE_PROCESSOR=false",
        ),
    ),
    open=_on_one_processor,
    conditions=_CONDITIONS,
    on_request=True,
)
