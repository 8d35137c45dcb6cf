"""All faults, in the order of a full run."""

from __future__ import annotations

from tests.faults import on_bad_input, on_clock, on_kafka, on_persist, on_postgres, on_redis, on_schema, on_worker
from tests.faults.scenario import Scenario

SCENARIOS: tuple[Scenario, ...] = (
    *on_worker.SCENARIOS,
    *on_persist.SCENARIOS,
    *on_postgres.SCENARIOS,
    *on_redis.SCENARIOS,
    *on_kafka.SCENARIOS,
    *on_clock.SCENARIOS,
    *on_bad_input.SCENARIOS,
    *on_schema.SCENARIOS,
)
