"""What a probe saw: the record between http.py, which asks, and judge.py, which decides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from wms_tasks.net.hop import Hop
from wms_tasks.net.reasons import Failure
from wms_tasks.probe.secrets import NOTHING_REVEALED, Revealed


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """
    One probe's raw findings.

    ``status_code`` is the last hop's, None where none came. ``body`` holds at most what the site allows, decoded from
    its Content-Encoding; ``truncated``: there was more; ``charset`` as Content-Type names it. ``response_time_ms`` runs
    from the start of the first hop's name resolution (the first byte that leaves us) to the last byte read, redirects
    included; it is None where ``failure`` says why there is no whole answer. ``url`` is where the answer came from,
    without query. ``retry_after``: the server said when to come back. ``hops``: each request, in order. ``headers``:
    the last hop's, names in lower case, several values as one text with ", " between. ``wire_bytes``: the body as it
    came, before it was decoded. ``seen_at``: when all of it was there, aware UTC; the days that a certificate has left
    count from it. ``revealed``: the secrets that were sent, which the answer may repeat: whatever is kept of it goes
    through ``revealed.scrub``.
    """

    url: str = ""
    redirects: int = 0
    status_code: int | None = None
    body: bytes | None = field(default=None, repr=False)
    truncated: bool = False
    charset: str | None = None
    retry_after: bool = False
    response_time_ms: float | None = None
    failure: Failure | None = None
    hops: tuple[Hop, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    wire_bytes: int | None = None
    seen_at: datetime | None = None
    revealed: Revealed = field(default=NOTHING_REVEALED, repr=False)
