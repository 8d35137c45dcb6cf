"""Canaries: logins that hold one, and what is kept and shown as text, to look for them in."""

from __future__ import annotations

import base64
import http.client
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import redis
from psycopg import sql

_BASE64 = re.compile(rb"(?:[A-Za-z0-9+/]{4}){4,}(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")


def readable(data: bytes) -> str:
    """`data`, and what kombu hides in base64."""
    return "\n".join(text.decode("utf-8", "replace") for text in [data, *map(base64.b64decode, _BASE64.findall(data))])


@contextmanager
def redis_user(url: str, password: str) -> Iterator[str]:
    """A user of all rights with this password; its url."""
    with redis.Redis.from_url(url) as client:
        client.execute_command("ACL", "SETUSER", "watcher", "on", f">{password}", "~*", "&*", "+@all")
        try:
            yield with_password(url, "watcher", password)
        finally:
            client.execute_command("ACL", "DELUSER", "watcher")


@contextmanager
def postgres_user(url: str, password: str, user: str = "watcher") -> Iterator[str]:
    """A superuser with this password; the database's url as that user."""
    name = sql.Identifier(user)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN SUPERUSER PASSWORD {}").format(name, sql.Literal(password)))
        try:
            yield with_password(url, user, password)
        finally:
            connection.execute(sql.SQL("REASSIGN OWNED BY {} TO CURRENT_USER").format(name))
            connection.execute(sql.SQL("DROP OWNED BY {}").format(name))
            connection.execute(sql.SQL("DROP ROLE {}").format(name))


def with_password(url: str, user: str, password: str) -> str:
    """`url` with these instead of its own."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=f"{user}:{password}@{parts.netloc.rpartition('@')[2]}"))


def with_port(url: str, port: int) -> str:
    """`url` with another port."""
    parts = urlsplit(url)
    user = parts.netloc.rpartition("@")[0]
    return urlunsplit(parts._replace(netloc=f"{user}@127.0.0.1:{port}" if user else f"127.0.0.1:{port}"))


def everything_in_redis(url: str) -> str:
    """Every key with its value, whatever its kind."""
    readers: dict[bytes, Any] = {
        b"string": lambda client, key: client.get(key),
        b"list": lambda client, key: client.lrange(key, 0, -1),
        b"hash": lambda client, key: client.hgetall(key),
        b"set": lambda client, key: client.smembers(key),
        b"zset": lambda client, key: client.zrange(key, 0, -1, withscores=True),
    }
    with redis.Redis.from_url(url) as client:
        found = [(key, readers[client.type(key)](client, key)) for key in client.scan_iter() if client.exists(key)]
    return readable(repr(found).encode())


def page(port: int, path: str, *, login: str = "", status: int | None = 200) -> str:
    """What an HTTP server of ours says there, with this status; None: with any."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    headers = {"Authorization": f"Basic {base64.b64encode(login.encode()).decode()}"} if login else {}
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        said = answer.read().decode("utf-8")
        assert status in {answer.status, None}, (path, answer.status, said)
        return said
    finally:
        connection.close()
