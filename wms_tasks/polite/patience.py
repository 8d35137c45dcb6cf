"""
What a server means by 429 or 503 with Retry-After (RFC 9110, 10.2.3; RFC 6585, 4). Pure; rate.py keeps it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from wms_tasks.sites.url import host_of

ASKING_STATUSES = (429, 503)
# A server that says next year, by mistake or to be left alone for good, is asked again after this.
MAX_PATIENCE_SECONDS = 3600.0
_SECONDS = re.compile(r"[0-9]{1,15}")
# The longest of HTTP's three forms of a date has 35 characters.
_MAX_DATE_CHARACTERS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """``hosts`` (in `host_of`'s form, one or two) are not to be asked for ``seconds``, because of ``status_code``."""

    hosts: tuple[str, ...]
    seconds: float
    status_code: int


def retry_after_seconds(value: str, now: datetime) -> float:
    """
    A Retry-After's delay from `now` (aware), at most MAX_PATIENCE_SECONDS; 0.0 where it names none that can be read.

    Both forms: seconds, and HTTP's three forms of a date, which are in GMT whatever they say.
    """
    text = value.strip()
    seconds = 0.0
    if _SECONDS.fullmatch(text):
        seconds = float(text)
    elif len(text) <= _MAX_DATE_CHARACTERS:
        with suppress(ValueError, OverflowError):
            seconds = (parsedate_to_datetime(text).replace(tzinfo=UTC) - now).total_seconds()
    return min(max(0.0, seconds), MAX_PATIENCE_SECONDS)


def asked(
    *, url: str, answered_url: str, status_code: int | None, headers: Mapping[str, str], now: datetime
) -> Patience | None:
    """
    What an answer asks for; None: nothing.

    Args:
        url: what was asked for. Where it redirected to another host, both are left alone: the one asked for patience,
            and asking the other would lead there again.
        answered_url: where the answer came from.
        headers: the answer's, with names in lower case.
    """
    if status_code not in ASKING_STATUSES:
        return None
    seconds = retry_after_seconds(headers.get("retry-after", ""), now)
    if seconds <= 0:
        return None
    hosts: dict[str, None] = {}
    for each in (url, answered_url):
        with suppress(ValueError):  # a stranger's redirect may name a host that no site could have
            hosts[host_of(each)] = None
    return Patience(hosts=tuple(hosts), seconds=seconds, status_code=status_code)
