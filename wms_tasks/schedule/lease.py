"""
The lease that makes one beat the leader, and the marks it leaves for whoever leads next. I/O on Redis, no decisions.

Every method may raise ``redis.RedisError``. Whether the lease still holds is judged on the monotonic clock, counted
from before Redis was asked: a beat that was stopped for longer than the lease knows it before it sends.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import redis
from redis.exceptions import LockError
from redis.lock import Lock

from wms_tasks import clock
from wms_tasks.names import ANNOUNCE_KEY
from wms_tasks.shard import ALL_SITES, Shard

# A share of the lease: renewed each quarter, and no longer trusted in the last eighth, so that a send that is under
# way when the lease ends has ended too.
_RENEW_SHARE = 0.25
_TRUSTED_SHARE = 0.875


@dataclass(frozen=True, slots=True)
class Marks:
    """What the leader before us wrote down: all slots due until then are dealt with, for these entries."""

    sent_until_us: int
    known: frozenset[str]


class Lease:
    """A lock in Redis with an owner's token, and the marks beside it; each shard has its own."""

    def __init__(self, client: redis.Redis, *, key_prefix: str, lease_seconds: float, shard: Shard = ALL_SITES) -> None:
        self._client = client
        self._lease_seconds = lease_seconds
        self._lock = Lock(client, f"{key_prefix}{shard.key('beat:lease')}", timeout=lease_seconds, thread_local=False)
        self._asked_at = float("-inf")
        self._sent_until_key = f"{key_prefix}{shard.key('beat:sent_until')}"
        self._known_key = f"{key_prefix}{shard.key('beat:known')}"
        self._announce_key = f"{key_prefix}{shard.key(ANNOUNCE_KEY)}"

    @property
    def age_seconds(self) -> float:
        """Since Redis was last asked for it, successfully."""
        return clock.monotonic() - self._asked_at

    def holds(self) -> bool:
        """Whether it is certainly still ours, without asking Redis."""
        return self.age_seconds < self._lease_seconds * _TRUSTED_SHARE

    def due_for_renewal(self) -> bool:
        """Whether it is time to ask again."""
        return self.age_seconds >= self._lease_seconds * _RENEW_SHARE

    def acquire(self) -> bool:
        """Take it if it is free or its owner let it run out; at once."""
        asked_at = clock.monotonic()
        if not self._lock.acquire(blocking=False):
            return False
        self._asked_at = asked_at
        return True

    def renew(self) -> bool:
        """Have it from now for its whole length; False if it is another's by now."""
        asked_at = clock.monotonic()
        try:
            self._lock.reacquire()
        except LockError:
            self.drop()
            return False
        self._asked_at = asked_at
        return True

    def drop(self) -> None:
        """Forget that it is ours, without telling Redis."""
        self._asked_at = float("-inf")
        self._lock.local.token = None

    def release(self) -> None:
        """Give it back, so that the other beat need not wait; nothing happens if it is not ours."""
        if self._lock.local.token is None:
            return
        try:
            self._lock.release()
        except LockError:
            pass  # It ran out, and may be another's: not ours to give back.
        finally:
            self.drop()

    def marks(self) -> Marks:
        """What was written down last; from a fresh Redis, nothing is known."""
        with self._client.pipeline(transaction=True) as pipe:
            pipe.get(self._sent_until_key)
            pipe.smembers(self._known_key)
            sent_until, known = pipe.execute()
        return Marks(int(sent_until or 0), frozenset(member.decode() for member in known))

    def mark(self, sent_until_us: int, newly_known: Iterable[str]) -> bool:
        """
        Write down how far we are; entries sent for the first time become known in the same step.

        Returns whether the ledger has asked for the sites since the last time.
        """
        with self._client.pipeline(transaction=True) as pipe:
            pipe.set(self._sent_until_key, sent_until_us)
            members = tuple(newly_known)
            if members:
                pipe.sadd(self._known_key, *members)
            pipe.getdel(self._announce_key)
            return pipe.execute()[-1] is not None

    def forget(self, gone: Iterable[str]) -> None:
        """Entries that left the schedule: should they come back, they are new."""
        members = tuple(gone)
        if members:
            self._client.srem(self._known_key, *members)
