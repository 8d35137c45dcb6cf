"""
A host's turns, over all workers: one Redis call gives the next instant at which the host may be asked.

Every request reserves its own instant, `spacing` after the one before, so waiters never meet and need not ask again.
A host that asked for patience has no turn before that is over. Redis' clock decides, so that workers' clocks need not
agree. Called by the probe task; holds nothing back itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from wms_tasks.polite.script import Script

# KEYS: the host's next free instant in microseconds of Redis' clock; the host's back-off, which lives as long as that
# lasts. ARGV, in microseconds: spacing; latest wait; how long ago the caller had a turn that it did not use, 0: it had
# none. That one is taken back where no other was given since: then the next free instant was a spacing after it, else
# two. Answers the wait (-1: none in time) and what the back-off has left.
# The first key lives until the instant has passed and a second more: then a missing key and a passed instant mean the
# same. Lua's numbers are doubles, exact up to 2^53 (the year 2255 here), and Redis writes all their digits.
_RESERVE = """
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local patience = math.max(0, redis.call('PTTL', KEYS[2])) * 1000
local free = tonumber(redis.call('GET', KEYS[1]) or 0)
local lapsed = tonumber(ARGV[3])
if lapsed > 0 and free < now - lapsed + 1.5 * ARGV[1] then
  free = 0
end
local turn = math.max(now + patience, free)
if turn - now > tonumber(ARGV[2]) then
  return {-1, patience}
end
free = turn + tonumber(ARGV[1])
local ttl = math.ceil((free - now) / 1000) + 1000
redis.call('SET', KEYS[1], free, 'PX', ttl)
return {turn - now, patience}
"""

# KEYS: back-offs. ARGV: milliseconds, a word on why. A longer one that is there already stays.
_BACK_OFF = """
for _, key in ipairs(KEYS) do
  if redis.call('PTTL', key) < tonumber(ARGV[1]) then
    redis.call('SET', key, ARGV[2], 'PX', ARGV[1])
  end
end
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """
    What a reservation came to. ``wait_seconds`` until the turn, 0.0 for now; None: it would come too late, and nothing
    was taken. ``patience_seconds``: how long the host asked to be left alone from now on; 0.0: it did not.
    """

    wait_seconds: float | None
    patience_seconds: float = 0.0


class HostTurns:
    """
    Turns by host. ``redis_client`` is a redis.Redis (thread-safe); ``key_prefix`` separates environments.

    Redis' own errors are raised as they are (redis.ConnectionError, redis.TimeoutError): without Redis nobody can
    know whose turn it is, so the caller retries its slot instead of asking a stranger too often.
    """

    def __init__(self, redis_client: Any, key_prefix: str) -> None:
        self._client = redis_client
        self._turn_prefix = f"{key_prefix}turn:"
        self._back_off_prefix = f"{key_prefix}backoff:"
        self._reserve = Script(redis_client, _RESERVE)
        self._back_off = Script(redis_client, _BACK_OFF)

    def reserve(
        self, host: str, *, spacing_seconds: float, latest_in_seconds: float, lapsed_seconds: float = 0.0
    ) -> Turn:
        """
        Take the host's next free instant, if it is not too late. One call.

        Args:
            host: as ``sites.url.host_of`` writes it.
            spacing_seconds: least time to the turn after this one; microseconds count.
            latest_in_seconds: the longest wait that is still of use; below 0 nobody is asked.
            lapsed_seconds: how long ago the caller had a turn that it did not use. It has the next one at once where
                nobody got one since, instead of a spacing later, when a busy worker would be late again.

        Raises:
            redis.RedisError: Redis does not answer.
        """
        if latest_in_seconds < 0:
            return Turn(wait_seconds=None)
        wait, patience = self._reserve(
            keys=[self._turn_prefix + host, self._back_off_prefix + host],
            arguments=[round(spacing_seconds * 1e6), int(latest_in_seconds * 1e6), round(lapsed_seconds * 1e6)],
        )
        return Turn(wait_seconds=None if int(wait) < 0 else int(wait) / 1e6, patience_seconds=int(patience) / 1e6)

    def patience_seconds(self, host: str) -> float:
        """
        How long the host is still to be left alone; 0.0: not. For a turn that was reserved before it asked. One call.

        Raises:
            redis.RedisError: Redis does not answer.
        """
        return max(0, int(self._client.pttl(self._back_off_prefix + host))) / 1000

    def back_off(self, hosts: Sequence[str], *, seconds: float, why: str) -> None:
        """
        Give these hosts no turn for so long, whichever worker asks; a longer back-off that is on already stays.

        Raises:
            redis.RedisError: Redis does not answer.
        """
        milliseconds = round(seconds * 1000)
        if hosts and milliseconds > 0:
            self._back_off(keys=[self._back_off_prefix + host for host in hosts], arguments=[milliseconds, why])
