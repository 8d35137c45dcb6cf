"""Faults of Kafka and of the way to it."""

from __future__ import annotations

import signal

from tests.faults.lab import Lab
from tests.faults.scenario import HALF_OPEN_RECOVERY_SECONDS, OUTAGES, RESTARTS, Scenario, under_the_consumer_protocol
from tests.faults.stage import kill, start_again
from wms_tasks.topic import ensure_topic


def _restart(lab: Lab) -> None:
    """By TERM or by kill -9, as the seed says."""
    lab.wait(lab.random.uniform(0.0, lab.seconds(1.0, 0.5)))
    kill(lab.stage.kafka, lab.random.choice([signal.SIGTERM, signal.SIGKILL]))
    lab.wait(lab.random.uniform(0.0, lab.seconds(2.0, 0.5)))
    start_again(lab.stage.kafka)


def _long_outage(lab: Lab) -> None:
    """Longer than slots last: their results wait for nobody."""
    kill(lab.stage.kafka)
    lab.wait(lab.seconds(300.0, 15.0))
    start_again(lab.stage.kafka)


def _black_hole(lab: Lab) -> None:
    lab.stage.kafka_proxy.black_hole()
    lab.wait(lab.seconds(60.0, 12.0))
    lab.stage.kafka_proxy.heal("dead")


def _reset_often(lab: Lab) -> None:
    for _ in range(10):
        lab.stage.kafka_proxy.reset()
        lab.wait(lab.random.uniform(0.1, lab.seconds(4.0, 0.8)))


def _made_again(lab: Lab) -> None:
    """
    The topic is deleted and made again while the persist worker sleeps, so that the end of the old one is lost.

    Workers sleep too until the harness's own consumer has read what will be gone.
    """
    persist, worker = lab.member("persist-0"), lab.member("worker-0")
    persist.signal(signal.SIGSTOP)
    lab.wait(lab.seconds(5.0, 3.0))
    worker.signal(signal.SIGSTOP)
    lab.wait(0.5)
    lab.topic.read_all()
    lab.topic.delete()
    ensure_topic(lab.system.settings)
    worker.signal(signal.SIGCONT)
    lab.wait(lab.random.uniform(0.0, 5.0))
    persist.signal(signal.SIGCONT)


SCENARIOS = (
    Scenario(name="Kafka restart", act=_restart, repetitions=RESTARTS),
    Scenario(
        name="Kafka black-holed",
        act=_black_hole,
        repetitions=OUTAGES,
        limit_seconds=HALF_OPEN_RECOVERY_SECONDS,
        about_seconds=75,
    ),
    Scenario(name="Kafka away for five minutes", act=_long_outage, repetitions=OUTAGES, about_seconds=330),
    Scenario(name="Kafka connections reset", act=_reset_often, repetitions=RESTARTS),
    Scenario(name="topic deleted and made again", act=_made_again, repetitions=OUTAGES),
    under_the_consumer_protocol(Scenario(name="topic deleted and made again", act=_made_again, repetitions=OUTAGES)),
)
