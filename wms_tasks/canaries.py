"""
What WMS_CANARIES may say: servers of other people's or one's own that show whether this machine is online. Pure.

Read by settings.py, which checks it at start, and by polite/network.py, which asks them.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

# Never looks; every failure is the site's.
OFF = "off"
# One server that does not answer says nothing about us.
MIN_HOSTS = 2
MAX_CANARIES = 10
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Canary:
    """Something that takes TCP connections; ``host`` in lower case, without brackets."""

    host: str
    port: int


def parse_canaries(text: str) -> tuple[Canary, ...]:
    """
    The canaries of ``https://example.com, 192.0.2.1:443``; none for an empty text and for ``off``.

    Raises:
        ValueError: what is wrong, in one line that repeats no credentials.
    """
    items = [item.strip() for item in text.split(",") if item.strip()]
    if not items or items == [OFF]:
        return ()
    found = tuple(dict.fromkeys(map(_parse, items)))
    if len({canary.host for canary in found}) < MIN_HOSTS:
        raise ValueError(
            f"at least {MIN_HOSTS} different hosts, since one that is down says nothing about us; or {OFF}"
        )
    if len(found) > MAX_CANARIES:
        raise ValueError(f"{len(found)} canaries, at most {MAX_CANARIES}")
    return found


def _parse(item: str) -> Canary:
    if "@" in item:
        raise ValueError("holds a user or password; a canary is only connected to, so write the host alone")
    try:
        parts = urlsplit(item if "://" in item else f"//{item}")
        canary = _canary(parts)
    except ValueError:
        canary = None
    if canary is None:
        raise ValueError(f"{item[:100]!r} is neither a url nor host:port, as in https://example.com or 192.0.2.1:443")
    return canary


def _canary(parts: SplitResult) -> Canary | None:
    port = parts.port or _PORTS.get(parts.scheme)
    known = parts.scheme in {"", *_PORTS}
    return Canary(parts.hostname, port) if parts.hostname and port and known else None
