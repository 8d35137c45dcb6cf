"""
What is kept of an answer that was not as expected: headers, and the beginning of the body where the site asks for it.
Pure.

Bounded whatever a server sends, and where something was left out the evidence says so with a ``…``. Nothing that looks
like a credential is kept, nor the secrets that were sent; names of headers are scrubbed by whoever keeps them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Literal

import msgspec

from wms_tasks.net.redact import header_value, one_line
from wms_tasks.probe.charset import beginning_of
from wms_tasks.probe.seen import Seen
from wms_tasks.result import Evidence

Keep = Literal["none", "headers", "body"]

MAX_HEADERS = 50
MAX_NAME_CHARACTERS = 100
MAX_VALUE_CHARACTERS = 200
# Of all headers as JSON, whatever they are written in; common servers send at most 8 KiB.
MAX_HEADERS_BYTES = 12 * 1024
MAX_BODY_BYTES = 2 * 1024
LEFT_OUT = "…"

_NO_TEXT = re.compile("[\x00\ud800-\udfff]")


def evidence_of(seen: Seen, keep: Keep) -> Evidence | None:
    """The evidence; None where nothing is to be kept, or nothing came."""
    # Scrubbed first: what is left out after it may be a part of a secret, and the rest would not be known for one.
    scrub = seen.revealed.scrub
    headers = {} if keep == "none" else _headers(seen.headers, scrub)
    body = None
    if keep == "body" and seen.body is not None:
        body = _NO_TEXT.sub("\ufffd", scrub(beginning_of(seen.body, seen.charset, max_bytes=MAX_BODY_BYTES)))
    return Evidence(headers=headers, body=body) if headers or body is not None else None


def line_of(text: str, *, limit: int) -> str:
    """`one_line`, quick for what is a printable line already."""
    return text if len(text) <= limit and text.isprintable() else one_line(text, limit=limit)


def _headers(headers: Mapping[str, str], scrub: Callable[[str], str]) -> dict[str, str]:
    """A server may send thousands: no more of them are looked at than are kept."""
    kept: dict[str, str] = {}
    left_bytes = MAX_HEADERS_BYTES
    for position, (name, value) in enumerate(headers.items()):
        shown = header_value(name, scrub(value))
        if shown is None:
            continue
        line = line_of(name, limit=MAX_NAME_CHARACTERS), line_of(shown, limit=MAX_VALUE_CHARACTERS)
        left_bytes -= len(msgspec.json.encode(line))
        if len(kept) == MAX_HEADERS or left_bytes < 0:
            return kept | {LEFT_OUT: f"{len(headers) - position} more"}
        kept[line[0]] = line[1]
    return kept
