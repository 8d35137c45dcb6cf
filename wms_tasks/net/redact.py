"""
One printable line out of anything: what may be logged, stored and shown. Pure.

Called wherever text that a stranger or a url wrote enters a detail or a log line.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from urllib.parse import urlsplit

MAX_DETAIL_CHARACTERS = 200
_MAX_KEPT_CHARACTERS = 1024
_CREDENTIAL = re.compile(
    r"cookie|authoriz|authentic|\bauth\b|token|secret|session|passw|api-?key|\bkey\b|credential|signature|[cx]srf"
)
_NAME_CHARACTERS = 200  # as much of a header's name is looked at; a stranger may send one of 64 KiB
_WITH_URL = frozenset({"location", "content-location", "refresh", "link"})
_USER = re.compile(r"//[^/?#\s]*@")
_QUERY = re.compile(r"[?#][^\s>;,\"']*")


def one_line(text: str, *, limit: int = MAX_DETAIL_CHARACTERS) -> str:
    """`text` on one line of at most `limit` characters, without control, format (bidi) and surrogate characters."""
    printable = "".join(" " if unicodedata.category(c)[0] in "CZ" else c for c in text[: 4 * limit])
    line = " ".join(printable.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def bare_url(url: str) -> str:
    """Scheme, host, port and path: without credentials, query and fragment, which may hold secrets."""
    # Long ones are not kept: a stranger may write another one for each redirect.
    return _bare_url(url) if len(url) <= _MAX_KEPT_CHARACTERS else _bare_url.__wrapped__(url)


@lru_cache(maxsize=8192)  # a site is asked at the same url every time
def _bare_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "an invalid url"
    return one_line(f"{parts.scheme}://{f'[{host}]' if ':' in host else host}{port}{parts.path}")


def header_value(name: str, value: str) -> str | None:
    """
    What may be shown of an answer's header: no user and no query of a url in it, where a token may be; None where its
    name says that it carries credentials. Not shortened, and not made one line.
    """
    lower = name[:_NAME_CHARACTERS].lower()
    if _CREDENTIAL.search(lower):
        return None
    return _QUERY.sub("?…", _USER.sub("//", value)) if lower in _WITH_URL or "://" in value else value
