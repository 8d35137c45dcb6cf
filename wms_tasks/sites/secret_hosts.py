"""
The hosts a secret may be sent to, as written beside it: ``api.example.com, *.example.org``. Pure.

``WMS_SECRET_X_HOSTS`` holds them for ``${WMS_SECRET_X}``, the file ``path.hosts`` for ``${file:path}``.
"""

from __future__ import annotations

import re

from wms_tasks.sites.url import normal_host
from wms_tasks.sites.wording import shown

_BETWEEN = re.compile(r"[,\s]+")
_ANY_BELOW = "*."


def read_hosts(text: str) -> tuple[str, ...]:
    """
    Hosts in `host_of`'s form, some with ``*.`` before them, from a list with commas, spaces or line ends between.

    Raises:
        ValueError: one is no host, or there is none: an empty list allows nothing, and nobody means that.
    """
    words = [word for word in _BETWEEN.split(text) if word]
    if not words:
        raise ValueError("names no host (name the hosts, as in api.example.com, *.example.org)")
    return tuple(map(_pattern, words))


def hosts_hold(patterns: tuple[str, ...], host: str) -> bool:
    """Whether `host`, in `host_of`'s form, is one of them; ``*.example.org`` is any name below that one."""
    return any(
        host.endswith(pattern[1:]) and host != pattern[2:] if pattern.startswith(_ANY_BELOW) else host == pattern
        for pattern in patterns
    )


def _pattern(word: str) -> str:
    below = word.startswith(_ANY_BELOW)
    host = normal_host(word.removeprefix(_ANY_BELOW) if below else word)
    if below and (":" in host or host.replace(".", "").isdigit()):
        raise ValueError(f"{shown(word)} is no name with others below it")
    return _ANY_BELOW + host if below else host
