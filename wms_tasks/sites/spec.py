"""
The file's shape: what may stand under ``sites:``, ``defaults:``, ``groups:`` and ``hosts:``. None means "not written".

Every scalar arrives as the text in the file. Times leave as whole milliseconds. What needs more than one key, or more
than one site, is looked at by times.py, pairs.py and together.py.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from wms_tasks.sites import text_rules
from wms_tasks.sites.expect_spec import ExpectSpec
from wms_tasks.sites.fields import ONE_OR_MORE, WRITTEN, Strict, distinct, duration, size, text
from wms_tasks.sites.request_rules import check_body
from wms_tasks.sites.request_spec import (
    AuthSpec,
    Encodings,
    Family,
    Headers,
    Networks,
    PortRanges,
    Redirects,
    TlsSpec,
)
from wms_tasks.sites.url import check_url

INTERVAL_MS = (1_000, 86_400_000)
# Above 30 s a message could outlast Redis' visibility timeout (50 s with retries and publishing) and be probed twice.
TIMEOUT_MS = (100, 30_000)
JITTER_MS = (0, 86_400_000)
SPACING_MS = (1, 3_600_000)
MAX_TAGS = 50
MAX_RETRIES = 10
BODY_BYTES = (1, 8 * 1024**2)  # of an answer; each probe under way may hold as much

Tag = Annotated[str, text(text_rules.check_tag)]
Tags = Annotated[tuple[Tag, ...], Field(max_length=MAX_TAGS), AfterValidator(distinct)]
Retries = Annotated[int, Field(ge=0, le=MAX_RETRIES)]


class DefaultsSpec(Strict):
    """
    ``defaults:``, and each of ``groups:``: what sites share. A site's own key wins; ``headers``, ``tls`` and ``expect``
    are merged key by key.

    What holds other keys may stand empty, because its last line may have been commented out.
    """

    method: Annotated[str | None, text(text_rules.check_method)] = None
    headers: Headers | None = None
    body: Annotated[str | None, text(check_body)] = None
    auth: AuthSpec | None = None
    tls: TlsSpec | None = None
    compression: Annotated[Encodings | None, ONE_OR_MORE] = None
    follow_redirects: Annotated[bool | None, WRITTEN] = None
    max_redirects: Annotated[Redirects | None, WRITTEN] = None
    ip: Annotated[Family | None, WRITTEN] = None
    max_body: Annotated[int | None, size(BODY_BYTES)] = None
    evidence: Annotated[Literal["none", "headers", "body"] | None, WRITTEN] = None
    interval: Annotated[int | None, duration(INTERVAL_MS)] = None
    jitter: Annotated[int | None, duration(JITTER_MS)] = None
    timeout: Annotated[int | None, duration(TIMEOUT_MS)] = None
    retries: Annotated[Retries | None, WRITTEN] = None
    robots: Annotated[Literal["respect", "ignore"] | None, WRITTEN] = None
    tags: Tags | None = None
    allow_networks: Annotated[Networks | None, ONE_OR_MORE] = None
    allow_ports: Annotated[PortRanges | None, ONE_OR_MORE] = None
    expect: ExpectSpec | None = None


class SiteSpec(DefaultsSpec):
    """One of ``sites:``. What it lacks is its group's, then the defaults'."""

    name: Annotated[str, text(text_rules.check_name)]
    id: Annotated[str | None, text(text_rules.check_name)] = None
    enabled: bool = True
    url: Annotated[str, text(check_url)]
    group: Annotated[str | None, text(text_rules.check_name)] = None


class HostSpec(Strict):
    """One of ``hosts:``: how often all workers together may ask this host."""

    spacing: Annotated[int, duration(SPACING_MS)]
