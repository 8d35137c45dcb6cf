"""The guard as tests need it: their servers are on loopback, which it refuses otherwise."""

from __future__ import annotations

from wms_tasks.net.guard import Guard

LOOPBACK = "127.0.0.0/8,::1/128"
"""For WMS_ALLOW_NETWORKS."""

ON_LOOPBACK = Guard(tuple(LOOPBACK.split(",")))
