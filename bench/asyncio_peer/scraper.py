"""
An endless asynchronous iterator for each website, one queue, and one producer that takes from it.

Its standard input is one line of JSON: the urls.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import aiohttp  # type: ignore[import-not-found]  # of another Python
from aiokafka import AIOKafkaProducer  # type: ignore[import-not-found]

_TIMEOUT_SECONDS = 10.0


async def _ticks(first_seconds: float, every_seconds: float) -> AsyncIterator[datetime]:
    """When it is time; never sooner than it should be, and as often."""
    at = time.monotonic() + first_seconds
    while True:
        await asyncio.sleep(max(0.0, at - time.monotonic()))
        yield datetime.now(UTC)
        at += every_seconds


async def _probe(session: Any, url: str, at: datetime) -> dict[str, Any]:
    began = time.perf_counter()
    status, size_bytes, error = None, None, None
    try:
        async with session.get(url) as response:
            size_bytes, status = len(await response.read()), response.status
    except (aiohttp.ClientError, TimeoutError) as failure:
        error = repr(failure)
    return {
        "url": url,
        "scheduled_at": at.isoformat(),
        "status_code": status,
        "response_time_ms": (time.perf_counter() - began) * 1000,
        "body_bytes": size_bytes,
        "error": error,
    }


async def _watch(session: Any, url: str, first_seconds: float, every_seconds: float, queue: asyncio.Queue[Any]) -> None:
    async for at in _ticks(first_seconds, every_seconds):
        await queue.put(await _probe(session, url, at))


async def _publish(producer: Any, topic: str, queue: asyncio.Queue[Any]) -> None:
    while True:
        result = await queue.get()
        await producer.send(topic, json.dumps(result).encode(), key=result["url"].encode())


async def _run(servers: str, topic: str, every_seconds: float, urls: list[str]) -> None:
    queue: asyncio.Queue[Any] = asyncio.Queue()
    # A new connection for each probe, as ours.
    connector = aiohttp.TCPConnector(force_close=True, limit=0)
    timeout = aiohttp.ClientTimeout(total=_TIMEOUT_SECONDS)
    async with (
        AIOKafkaProducer(bootstrap_servers=servers, acks="all", linger_ms=5) as producer,
        aiohttp.ClientSession(connector=connector, timeout=timeout) as session,
        asyncio.TaskGroup() as group,
    ):
        group.create_task(_publish(producer, topic, queue))
        for number, url in enumerate(urls):
            group.create_task(_watch(session, url, number * every_seconds / len(urls), every_seconds, queue))


def main() -> None:
    """Until it is killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--servers", required=True)
    parser.add_argument("--topic", required=True)
    parser.add_argument("--every-seconds", type=float, required=True)
    arguments = parser.parse_args()
    urls = json.loads(sys.stdin.readline())
    asyncio.run(_run(arguments.servers, arguments.topic, arguments.every_seconds, urls))


if __name__ == "__main__":
    main()
