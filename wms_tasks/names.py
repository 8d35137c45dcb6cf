"""The names of queues and tasks: what beat writes on a message and a worker answers to."""

from __future__ import annotations

PROBE_QUEUE = "probe"
HOUSEKEEPING_QUEUE = "housekeeping"
PROBE_TASK = "wms.probe"
MAKE_PARTITIONS_TASK = "wms.make_partitions"
ANNOUNCE_SITES_TASK = "wms.announce_sites"
CLOSE_SLOTS_TASK = "wms.close_slots"
DROP_OLD_TASK = "wms.drop_old"

# Keys in Redis, after the environment's prefix: the ledger asks beat to announce its sites again; and what a worker
# could not tell Kafka, a list of results.
ANNOUNCE_KEY = "beat:announce"
UNPUBLISHED_KEY = "unpublished"
