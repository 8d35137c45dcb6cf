"""Two beats, as processes, with the default lease: how long nobody leads when the leader is killed."""

from __future__ import annotations

import base64
import json
import signal
import time
from pathlib import Path

import pytest
import redis

from tests.acceptance.processes import roles
from tests.waiting import wait_until
from wms_tasks.names import PROBE_QUEUE
from wms_tasks.order import ProbeOrder
from wms_tasks.settings import Settings

TAKE_OVER_SECONDS = 10.0


@pytest.mark.slow
def test_a_killed_leader_is_replaced_within_ten_seconds(redis_url: str, tmp_path: Path) -> None:
    """kill -9: the other sends within the lease and a second; no slot twice but what was sent after the last mark."""
    sites = tmp_path / "sites.yaml"
    sites.write_text("sites:\n  - {name: a, url: 'http://127.0.0.1:1/', interval: 1s, timeout: 500ms, jitter: 0s}\n")
    settings = Settings(env="test", broker_url=redis_url)
    slots: list[str] = []

    def taken() -> int:
        """Slots that came since the last look."""
        before = len(slots)
        while (raw := client.rpop(f"{settings.key_prefix}{PROBE_QUEUE}")) is not None:
            order = ProbeOrder.from_message(json.loads(base64.b64decode(json.loads(raw)["body"]))[1]["order"])
            slots.append(order.scheduled_at.isoformat())
        return len(slots) - before

    environ = {"WMS_ENV": "test", "WMS_BROKER_URL": redis_url, "WMS_SITES": str(sites)}
    with redis.Redis.from_url(redis_url) as client, roles(environ, tmp_path) as started:
        leader = started.start("beat")
        leader.until_said("beat.leading")
        other = started.start("beat")
        other.until_said("beat.standing_by")
        wait_until(taken, 5, "a slot of the first")
        leader.send_signal(signal.SIGKILL)
        killed_at = time.monotonic()
        leader.wait()
        taken()
        wait_until(taken, TAKE_OVER_SECONDS + 5, "a slot of the second")
        assert time.monotonic() - killed_at <= TAKE_OVER_SECONDS
        wait_until(lambda: (taken(), len(slots) >= 4)[1], 5, "more slots")
        assert other.stop()[0] == 0
    assert len(slots) - len(set(slots)) <= 1
