"""
A limit on the client's side for whatever is asked of Postgres, and the way to end such a wait.

No other limit helps where the peer's kernel answers and nobody behind it does, as behind a stuck middlebox: keepalives
are acknowledged, so the connection never fails, and the server's statement_timeout cannot reach us.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
from psycopg import Connection


class Deadline:
    """``passed``: the connection was cut."""

    def __init__(self) -> None:
        self.passed = False


@contextmanager
def deadline(connection: Connection[Any], seconds: float) -> Iterator[Deadline]:
    """
    Cut the connection if the block takes longer; whatever waits for it then raises `psycopg.OperationalError`.

    The block must not close the connection itself: its number might by then be another file's.
    """
    found = Deadline()
    lock = threading.Lock()
    over = False

    def cut() -> None:
        with lock:
            if not over:
                found.passed = True
                end_wait(connection)

    timer = threading.Timer(seconds, cut)
    timer.daemon = True
    timer.start()
    try:
        yield found
    finally:
        with lock:
            over = True
        timer.cancel()


def end_wait(connection: Connection[Any]) -> None:
    """End whatever the connection waits for, from another thread: the wait sees the socket's end at once."""
    if connection.closed:
        return
    # Where it fails, the wait has ended by itself at this moment, which is all we wanted.
    with suppress(OSError, psycopg.OperationalError), socket.socket(fileno=os.dup(connection.fileno())) as copy:
        copy.shutdown(socket.SHUT_RDWR)
