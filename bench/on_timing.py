"""How exact response times are at a steady pace, beside blackbox_exporter: `bench.timing_error`, in rounds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.blackbox import program
from bench.delay_server import delay_server
from bench.figure import Figure, Measure, Round, Subject, at_most
from bench.services import services
from bench.timing_error import (
    LONGEST_MS,
    MOST_P50_MS,
    MOST_P99_MS,
    SHORTEST_MS,
    Load,
    errors_of,
    noted,
    of_blackbox,
    of_the_worker,
    quantile,
    settings_for,
)

LOAD = Load(seconds=10.0)


def _of_ours(folder: Path, port: int) -> list[float]:
    with services(folder) as (valkey, kafka):
        return errors_of("wms", LOAD, of_the_worker(settings_for(valkey, kafka, LOAD), LOAD, port, folder), noted(port))


def _of_peer(folder: Path, port: int, path: str) -> list[float]:
    return errors_of("blackbox", LOAD, of_blackbox(path, LOAD, port, folder), noted(port))


def _quantiles(who: str, errors: list[float]) -> Round:
    expected = sum(LOAD.counts(number) for number in range(LOAD.total))
    assert len(errors) == expected, f"{who}: {len(errors)} of {expected} probes have a response time"
    return {f"timing.{who}_p50": quantile(errors, 0.5), f"timing.{who}_p99": quantile(errors, 0.99)}


@contextmanager
def _open(folder: Path) -> Iterator[Measure]:
    path = program()

    def measure(number: int) -> Round:
        own = folder / str(number)
        own.mkdir()
        with delay_server() as port:
            both: list[tuple[str, Callable[[], list[float]]]] = [
                ("wms", lambda: _of_ours(own, port)),
                ("blackbox", lambda: _of_peer(own, port, path)),
            ]
            found: dict[str, float] = {}
            for who, errors in both if number % 2 == 0 else reversed(both):
                found |= _quantiles(who, errors())
        return found

    yield measure


def _p(percent: int, who: str, name: str, most_ms: float | None) -> Figure:
    return Figure(
        key=f"timing.{who}_p{percent}",
        name=f"{name}: error of the response time at 200 probes/s, {'median' if percent == 50 else 'p99'}",
        unit="ms",
        peer=None if most_ms is None else "blackbox_exporter",
        must=None if most_ms is None else at_most(most_ms),
    )


SUBJECT = Subject(
    name="probe worker: error of response times",
    figures=(
        _p(50, "wms", "probe worker", MOST_P50_MS),
        _p(99, "wms", "probe worker", MOST_P99_MS),
        _p(50, "blackbox", "blackbox_exporter", None),
        _p(99, "blackbox", "blackbox_exporter", None),
    ),
    open=_open,
    conditions=f"a server that answers in {SHORTEST_MS} to {LONGEST_MS} ms and notes on its own clock how long it was; "
    "the error is what was reported less that; one worker with 100 threads, 10 s a round after 3 s that do not count",
)
