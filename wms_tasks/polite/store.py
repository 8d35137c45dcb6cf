"""
Where robots.py keeps what it learned: Redis, shared by all workers, or memory for one command. Same tests for both.
"""

from __future__ import annotations

import threading
from typing import Any, Protocol

from wms_tasks import clock


class RobotsStore(Protocol):
    """Texts by key, each for a while."""

    def get(self, key: str) -> bytes | None:
        """What `put` was given, until its time is over."""

    def put(self, key: str, value: bytes, *, ttl_seconds: float) -> None:
        """Keep `value`; replaces what was there, its time too."""


class RedisRobotsStore:
    """
    In Redis. ``redis_client`` is a redis.Redis that returns bytes.

    Redis' own errors are raised as they are: the caller retries its slot.
    """

    def __init__(self, redis_client: Any, key_prefix: str) -> None:
        self._client = redis_client
        self._prefix = f"{key_prefix}robots:"

    def get(self, key: str) -> bytes | None:
        """One GET."""
        value: bytes | None = self._client.get(self._prefix + key)
        return value

    def put(self, key: str, value: bytes, *, ttl_seconds: float) -> None:
        """One SET with expiry, at least a millisecond."""
        self._client.set(self._prefix + key, value, px=max(1, round(ttl_seconds * 1000)))


class MemoryRobotsStore:
    """In this process only. Thread-safe; what is over goes when it is asked for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: dict[str, tuple[float, bytes]] = {}

    def get(self, key: str) -> bytes | None:
        """The value, if its time is not over."""
        with self._lock:
            until, value = self._kept.get(key, (0.0, b""))
            if until > clock.monotonic():
                return value
            self._kept.pop(key, None)
            return None

    def put(self, key: str, value: bytes, *, ttl_seconds: float) -> None:
        """Keep `value`."""
        with self._lock:
            self._kept[key] = (clock.monotonic() + ttl_seconds, value)
