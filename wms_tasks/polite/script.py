"""
A script in Redis, without what redis-py does around each command. Used by rate.py.

redis-py asks a connection of its pool whether it has died idle, counts it for OpenTelemetry, and times the command.
Here a connection that has died is noticed by the command, which is then tried once more on a new one; so a script may
be run twice, as with redis-py's own retry.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Sequence
from typing import Any

import redis

_Argument = str | int


class Script:
    """Thread-safe: each caller has a connection of its own, kept for the next one. ``client`` says how to connect."""

    def __init__(self, client: redis.Redis, text: str) -> None:
        self._pool = client.connection_pool
        self._text = text
        self._sha = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
        self._idle: deque[Any] = deque()

    def __call__(self, keys: Sequence[str], arguments: Sequence[_Argument]) -> Any:
        """
        Its answer.

        Raises:
            redis.RedisError: Redis does not answer, or refuses.
        """
        try:
            connection = self._idle.pop()
        except IndexError:
            # Not the pool's own: nobody would give it back.
            connection = self._pool.connection_class(**self._pool.connection_kwargs)
        try:
            return connection.retry.call_with_retry(
                lambda: self._run(connection, len(keys), *keys, *arguments), lambda _: connection.disconnect()
            )
        finally:
            self._idle.append(connection)

    def _run(self, connection: Any, *arguments: _Argument) -> Any:
        try:
            return _ask(connection, "EVALSHA", self._sha, *arguments)
        except redis.exceptions.NoScriptError:
            _ask(connection, "SCRIPT", "LOAD", self._text)
            return _ask(connection, "EVALSHA", self._sha, *arguments)


def _ask(connection: Any, *command: _Argument) -> Any:
    connection.connect()
    connection.send_packed_command(connection.pack_command(*command), check_health=False)
    return connection.read_response()
