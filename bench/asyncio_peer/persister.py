"""
AIOKafkaConsumer on the one hand, a pool of asyncpg's on the other: batches by time and number, as getmany() has them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from datetime import datetime
from typing import Any

import asyncpg  # type: ignore[import-not-found]  # of another Python
from aiokafka import AIOKafkaConsumer  # type: ignore[import-not-found]

_TIMEOUT_MS = 500
_INSTANTS = ("scheduled_at", "due_at", "started_at")
_TEXTS = ("site_id", "site_name", "location", "spec_digest", "outcome", "reason", "detail", "worker", "address")
_MORE_TEXTS = ("http_version", "tls_version", "tls_cipher", "content_type")
_COUNTS = ("schema_version", "attempt", "status_code", "redirects", "wire_bytes", "body_bytes")
_PHASES = ("resolve_ms", "connect_ms", "tls_ms", "processing_ms", "transfer_ms")
_AS_JSON = ("certificate", "evidence")
_TYPES = {
    **dict.fromkeys(_INSTANTS, "timestamptz"),
    **dict.fromkeys((*_TEXTS, *_MORE_TEXTS), "text"),
    **dict.fromkeys(_COUNTS, "bigint"),
    "response_time_ms": "float8",
    "matched": "boolean",
    **dict.fromkeys(_PHASES, "float8"),
    **dict.fromkeys(_AS_JSON, "text"),
}


def _row(value: bytes) -> tuple[Any, ...]:
    result = json.loads(value)
    phases = result["phases"] or {}
    return (
        *(datetime.fromisoformat(result[name]) if result[name] else None for name in _INSTANTS),
        *(result[name] for name in (*_TEXTS, *_MORE_TEXTS, *_COUNTS, "response_time_ms", "matched")),
        *(phases.get(name) for name in _PHASES),
        *(None if result[name] is None else json.dumps(result[name]) for name in _AS_JSON),
    )


async def _run(to: argparse.Namespace) -> None:
    consumer = AIOKafkaConsumer(
        to.topic,
        bootstrap_servers=to.servers,
        group_id=to.group,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    async with asyncpg.create_pool(to.url, min_size=1, max_size=2) as pool, consumer:
        columns = ", ".join(f"{name} {kind}" for name, kind in _TYPES.items())
        await pool.execute(f"CREATE TABLE IF NOT EXISTS public.{to.table} ({columns})")
        while True:
            found = await consumer.getmany(timeout_ms=_TIMEOUT_MS, max_records=to.max_records)
            rows = [_row(message.value) for messages in found.values() for message in messages]
            if rows:
                await pool.copy_records_to_table(to.table, schema_name="public", records=rows, columns=list(_TYPES))
                await consumer.commit()


def main() -> None:
    """Until it is killed."""
    parser = argparse.ArgumentParser()
    for name in ("servers", "topic", "group", "url", "table"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--max-records", type=int, required=True)
    asyncio.run(_run(parser.parse_args()))


if __name__ == "__main__":
    main()
