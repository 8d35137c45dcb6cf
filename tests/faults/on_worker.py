"""Faults of probe workers and beats."""

from __future__ import annotations

import signal

from tests.faults.lab import Lab, now
from tests.faults.scenario import KILLS, OUTAGES, Scenario
from tests.faults.system import LEASE_SECONDS, Member
from tests.faults.trip import trip
from tests.waiting import wait_until

# A Kafka request: api key 0 is Produce; the client's id follows version, correlation id and its own length.
_PRODUCE = rb"\x00\x00\x00[\x03-\x1f].{4}\x00.wms-probe-"
# kombu's acknowledgement takes the message out of these two.
_ACKNOWLEDGE = rb"ZREM\r\n\$\d+\r\nwms:test:unacked_index\r\n"
_POINT_SECONDS = 20.0


def _killed_mid_fetch(lab: Lab) -> None:
    """While a page is being asked for."""
    lab.sites.delay_seconds = 0.7
    try:
        wait_until(lambda: lab.sites.being_fetched > 0, _POINT_SECONDS, "a request under way")
        lab.wait(lab.random.uniform(0.0, 0.4))
        lab.member("worker-0").signal(signal.SIGKILL)
    finally:
        lab.sites.delay_seconds = 0.0


def _killed_before_report(lab: Lab) -> None:
    """Kafka has the message, and the worker never hears of it."""
    wire = lab.stage.kafka_proxy.arm(trip(_PRODUCE, hold="answer"))
    wait_until(wire.fired.is_set, _POINT_SECONDS, "a produce request")
    lab.wait(lab.random.uniform(0.0, 0.3))
    lab.member("worker-0").signal(signal.SIGKILL)


def _killed_before_acknowledging(lab: Lab) -> None:
    """The worker knows that Kafka has the message; Redis still holds it as unacknowledged."""
    wire = lab.stage.valkey_proxy.arm(trip(_ACKNOWLEDGE, hold="before"))
    wait_until(wire.fired.is_set, _POINT_SECONDS, "an acknowledgement")
    lab.member("worker-0").signal(signal.SIGKILL)


def _leader(lab: Lab) -> Member:
    """The beat that took the lease last, by the instants in their logs."""
    return max(lab.beats, key=_led_at)


def _led_at(beat: Member) -> str:
    lines = [line for line in beat.role.said().splitlines() if "beat.leading" in line]
    return lines[-1] if lines else ""


def _leader_killed(lab: Lab) -> None:
    lab.wait(lab.random.uniform(0.0, 2.0))
    _leader(lab).signal(signal.SIGKILL)
    # Before the killed one is back: the other one must take over by itself.
    lab.wait_recovered(now(), 10.0 + LEASE_SECONDS)


def _leader_stopped(lab: Lab) -> None:
    """A beat that sleeps past its lease, and wakes up beside the one that took over."""
    leader = _leader(lab)
    leader.signal(signal.SIGSTOP)
    try:
        lab.wait(lab.seconds(60.0, 2.0 * LEASE_SECONDS))
    finally:
        leader.signal(signal.SIGCONT)


SCENARIOS = (
    Scenario(name="worker killed mid-fetch", act=_killed_mid_fetch, repetitions=KILLS),
    Scenario(name="worker killed between produce and report", act=_killed_before_report, repetitions=KILLS),
    Scenario(name="worker killed between report and ack", act=_killed_before_acknowledging, repetitions=KILLS),
    Scenario(name="leading beat killed, another stands by", act=_leader_killed, repetitions=KILLS, beats=2),
    Scenario(
        name="leading beat stopped past its lease", act=_leader_stopped, repetitions=OUTAGES, beats=2, about_seconds=70
    ),
)
