"""telegraf as a peer of the persist role: kafka_consumer → postgresql, into a table that it makes itself."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from bench.peers import explained_by
from wms_tasks.settings import Settings

TABLE = "telegraf_results"
_STOP_SECONDS = 20.0
# A certificate's names and evidence are left out: arrays become several rows there. Its own table has no key.
_CONFIG = """
[agent]
  interval = "1s"
  metric_batch_size = 5000
  metric_buffer_limit = 100000
  flush_interval = "1s"
  omit_hostname = true
  quiet = true

[[outputs.postgresql]]
  connection = "{database_url}"
  schema = "public"

[[inputs.kafka_consumer]]
  brokers = ["{servers}"]
  kafka_version = "4.0.0"
  topics = ["{topic}"]
  consumer_group = "{group}"
  offset = "oldest"
  max_undelivered_messages = 20000
  data_format = "json_v2"
  [[inputs.kafka_consumer.json_v2]]
    measurement_name = "{table}"
    timestamp_path = "scheduled_at"
    timestamp_format = "rfc3339"
    [[inputs.kafka_consumer.json_v2.object]]
      path = "@this"
      tags = ["site_id", "site_name", "location"]
      excluded_keys = ["certificate_names", "evidence"]
"""


@contextmanager
def telegraf(program: Path, settings: Settings, folder: Path) -> Iterator[None]:
    """Running, from the beginning of the topic on, as a new consumer group."""
    group = uuid4().hex
    config, log = folder / f"telegraf-{group}.conf", folder / f"telegraf-{group}.log"
    config.write_text(
        _CONFIG.format(
            database_url=settings.database_url,
            servers=settings.kafka_bootstrap_servers,
            topic=settings.topic,
            group=group,
            table=TABLE,
        ),
        encoding="utf-8",
    )
    with (
        log.open("wb") as output,
        subprocess.Popen([program, "--config", config], stdout=output, stderr=subprocess.STDOUT) as process,
        explained_by(log),
    ):
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
