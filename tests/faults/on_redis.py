"""Faults of Redis (Valkey here) and of the way to it."""

from __future__ import annotations

import signal

import redis

from tests.faults.lab import Lab
from tests.faults.scenario import HALF_OPEN_RECOVERY_SECONDS, OUTAGES, RESTARTS, Scenario
from tests.faults.stage import forget_data, kill, signal_tree, start_again


def _restart(lab: Lab) -> None:
    """kill -9, back after a moment with what its append-only file holds; messages are unacknowledged meanwhile."""
    lab.sites.delay_seconds = 0.5
    lab.wait(1.0 + lab.random.uniform(0.0, 1.0))
    kill(lab.stage.valkey)
    lab.sites.delay_seconds = 0.0
    lab.wait(lab.random.uniform(0.0, lab.seconds(3.0, 0.5)))
    start_again(lab.stage.valkey)


def _restart_empty(lab: Lab) -> None:
    lab.wait(lab.random.uniform(0.0, lab.seconds(1.0, 0.5)))
    kill(lab.stage.valkey)
    forget_data(lab.stage.valkey)
    lab.wait(lab.random.uniform(0.0, lab.seconds(3.0, 0.5)))
    start_again(lab.stage.valkey)


def _stopped(lab: Lab) -> None:
    """SIGSTOP: connections are taken by the kernel, and nobody answers."""
    signal_tree(lab.stage.valkey, signal.SIGSTOP)
    try:
        lab.wait(lab.seconds(60.0, 8.0))
    finally:
        signal_tree(lab.stage.valkey, signal.SIGCONT)


def _black_hole(lab: Lab) -> None:
    lab.stage.valkey_proxy.black_hole()
    lab.wait(lab.seconds(60.0, 8.0))
    lab.stage.valkey_proxy.heal("dead")


def _out_of_memory(lab: Lab) -> None:
    """Every write is refused, every read works."""
    with redis.Redis.from_url(lab.stage.broker_url) as client:
        client.config_set("maxmemory", "1")
        try:
            lab.wait(lab.seconds(60.0, 6.0))
        finally:
            client.config_set("maxmemory", "256mb")


def _reset_often(lab: Lab) -> None:
    for _ in range(10):
        lab.stage.valkey_proxy.reset()
        lab.wait(lab.random.uniform(0.1, lab.seconds(4.0, 0.8)))


SCENARIOS = (
    Scenario(name="Redis restart with its data", act=_restart, repetitions=RESTARTS),
    Scenario(name="Redis restart without its data", act=_restart_empty, repetitions=RESTARTS),
    Scenario(
        name="Redis stopped",
        act=_stopped,
        repetitions=OUTAGES,
        limit_seconds=HALF_OPEN_RECOVERY_SECONDS,
        about_seconds=80,
    ),
    Scenario(
        name="Redis black-holed",
        act=_black_hole,
        repetitions=OUTAGES,
        limit_seconds=HALF_OPEN_RECOVERY_SECONDS,
        about_seconds=80,
    ),
    Scenario(name="Redis out of memory", act=_out_of_memory, repetitions=OUTAGES, about_seconds=70),
    Scenario(name="Redis connections reset", act=_reset_often, repetitions=RESTARTS),
)
