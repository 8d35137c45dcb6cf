"""Faults of persist workers: killed at each point of a batch's transaction, stopped, shuffled, away."""

from __future__ import annotations

import signal

from tests.faults.lab import Lab
from tests.faults.scenario import (
    CONSUMER_PROTOCOL_SESSION_SECONDS,
    KILLS,
    OUTAGES,
    PROTOCOL,
    Act,
    Scenario,
    under_the_consumer_protocol,
)
from tests.faults.trip import Trip, trip
from tests.waiting import wait_until

_COPY = rb"COPY wms\.results[^\x00]*\x00"
_COMMIT = rb"COMMIT\x00"
_POINT_SECONDS = 20.0
# What goes before the first byte of a row: CopyData's type and length, and the signature of a binary COPY.
_COPY_HEADER_BYTES = 5 + 19
# Shorter than the shortest row, so that it is always the middle of one.
_PART_OF_A_ROW_BYTES = 150
# Kafka's session time-out of the persist worker under the classic protocol.
_SESSION_SECONDS = 10.0


def _caught(lab: Lab, wire: Trip, name: str = "persist-0") -> None:
    """Wait until a transaction stands at that point, then kill."""
    lab.stage.postgres_proxy.arm(wire)
    wait_until(wire.fired.is_set, _POINT_SECONDS, "a batch")
    lab.member(name).signal(signal.SIGKILL)


def _before_copy(lab: Lab) -> None:
    """The offsets are moved in the transaction, no row is sent."""
    _caught(lab, trip(_COPY, hold="before"))


def _mid_copy_wire(lab: Lab) -> Trip:
    return trip(_COPY, hold="after", extra_bytes=_COPY_HEADER_BYTES + lab.random.randint(1, _PART_OF_A_ROW_BYTES))


def _mid_copy(lab: Lab) -> None:
    """Postgres has the beginning of a row."""
    _caught(lab, _mid_copy_wire(lab))


def _after_copy(lab: Lab) -> None:
    """Postgres has all rows, and waits for the COMMIT."""
    _caught(lab, trip(_COPY, _COMMIT, hold="before"))


def _after_commit(lab: Lab) -> None:
    """Postgres has committed; the worker does not know it, and Kafka has not been told."""
    _caught(lab, trip(_COPY, _COMMIT, hold="answer"))


def _at_any_moment(lab: Lab) -> None:
    lab.wait(lab.random.uniform(0.0, 2.0))
    lab.member("persist-0").signal(signal.SIGKILL)


def _session_seconds(lab: Lab) -> float:
    return CONSUMER_PROTOCOL_SESSION_SECONDS if PROTOCOL in lab.system.environ else _SESSION_SECONDS


def _zombie(lab: Lab) -> None:
    """Stopped until others have its partitions and have written to them; then it goes on where it was."""
    lab.wait(lab.random.uniform(0.0, 2.0))
    sleeper = lab.member("persist-0")
    sleeper.signal(signal.SIGSTOP)
    try:
        lab.wait(_session_seconds(lab) + lab.random.uniform(4.0, 8.0))
    finally:
        sleeper.signal(signal.SIGCONT)


def _zombie_in_copy(lab: Lab) -> None:
    """Stopped in the middle of a COPY, with the offsets' lock in its hand."""
    wire = lab.stage.postgres_proxy.arm(_mid_copy_wire(lab))
    wait_until(wire.fired.is_set, _POINT_SECONDS, "a batch")
    sleeper = lab.member("persist-0")
    sleeper.signal(signal.SIGSTOP)
    successor = lab.system.start_persist(1)
    try:
        lab.system.until_started(successor)
        lab.wait(_SESSION_SECONDS + 15.0)
    finally:
        lab.stage.postgres_proxy.release()
        sleeper.signal(signal.SIGCONT)
        lab.system.end(successor)


def _rebalances(lab: Lab) -> None:
    """A second worker comes and goes."""
    pause_seconds = lab.seconds(10.0, 3.0)
    for _ in range(3):
        second = lab.system.start_persist(1)
        lab.system.until_started(second)
        lab.wait(pause_seconds)
        lab.system.end(second)
        lab.wait(pause_seconds)


def _away(lab: Lab) -> None:
    """Nobody writes; Kafka keeps it."""
    lab.member("persist-0").signal(signal.SIGKILL)
    lab.wait(lab.seconds(60.0, 8.0))


def _kill(name: str, act: Act) -> Scenario:
    return Scenario(name=f"persist killed {name}", act=act, repetitions=KILLS, may_miss=False)


_ZOMBIE = Scenario(
    name="persist stopped past its session",
    act=_zombie,
    repetitions=OUTAGES,
    may_miss=False,
    persists=2,
    about_seconds=30,
)
_REBALANCES = Scenario(
    name="rebalance every 10 s", act=_rebalances, repetitions=OUTAGES, may_miss=False, about_seconds=80
)

SCENARIOS = (
    _kill("before COPY", _before_copy),
    _kill("mid-COPY", _mid_copy),
    _kill("after COPY", _after_copy),
    _kill("after COMMIT, before Kafka's commit", _after_commit),
    _kill("at any moment", _at_any_moment),
    _ZOMBIE,
    Scenario(
        name="persist stopped in mid-COPY", act=_zombie_in_copy, repetitions=OUTAGES, may_miss=False, about_seconds=40
    ),
    _REBALANCES,
    Scenario(name="persist down while slots end", act=_away, repetitions=OUTAGES, may_miss=False, about_seconds=75),
    *map(under_the_consumer_protocol, (_kill("at any moment", _at_any_moment), _ZOMBIE, _REBALANCES)),
)
