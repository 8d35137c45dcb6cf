"""A fault as a value: what is done, on how many processes, how often, and what is promised while it lasts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from tests.faults.lab import Lab

RECOVERY_SECONDS = 60.0
HALF_OPEN_RECOVERY_SECONDS = 90.0
PROTOCOL = "WMS_KAFKA_GROUP_PROTOCOL"
# The broker's `group.consumer.session.timeout.ms`, which it lets nobody make shorter.
CONSUMER_PROTOCOL_SESSION_SECONDS = 45.0
CONSUMER_PROTOCOL_RECOVERY_SECONDS = 60.0
# Issued for each kind of fault: a kill at one point of the code needs many tries, an outage takes its time.
KILLS = 20
RESTARTS = 5
OUTAGES = 3

Act = Callable[[Lab], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """
    ``act`` begins the fault and ends it; what it killed the runner starts again, as a supervisor would.

    ``may_miss``: slots that the fault touched may end without a result. ``may_reject``: good messages may be rejected.
    ``bare``: no role is started and nothing is judged; the act is the whole check, and says what is wrong itself.
    ``environ``: for every process; ``{member}`` is its name, ``{folder}`` the run's folder.
    ``about_seconds``: of one repetition, only to share the faults out among lanes.
    """

    name: str
    act: Act
    repetitions: int
    limit_seconds: float = RECOVERY_SECONDS
    may_miss: bool = True
    may_reject: bool = False
    with_visits: bool = True
    bare: bool = False
    workers: int = 1
    persists: int = 1
    beats: int = 1
    environ: Mapping[str, str] = field(default_factory=dict)
    about_seconds: float = 15.0


def under_the_consumer_protocol(scenario: Scenario) -> Scenario:
    """
    The same with persist workers that share partitions by KIP-848, where the broker leads the group.

    It gives a member that is silent 45 s, its least, where ours set 10 s under the classic protocol.
    """
    return replace(
        scenario,
        name=f"{scenario.name} (consumer protocol)",
        environ={**scenario.environ, PROTOCOL: "consumer"},
        limit_seconds=max(scenario.limit_seconds, CONSUMER_PROTOCOL_RECOVERY_SECONDS),
        about_seconds=scenario.about_seconds + CONSUMER_PROTOCOL_SESSION_SECONDS,
    )
