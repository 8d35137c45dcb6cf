"""What came of a request: the record between fetch.py and whoever asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from wms_tasks.errors import WmsError
from wms_tasks.net.hop import Hop
from wms_tasks.net.reasons import Failure


class Cancelled(WmsError):  # noqa: N818 - says what happened to the request
    """The request was cut short because this process is stopping."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """
    What came of a request.

    ``status_code`` and ``headers`` (names in lower case) are the last hop's, None and empty where none came. ``body``
    is decoded and None where it was not read; ``truncated``: there was more. ``elapsed_ms`` runs from the start of
    the first hop's name resolution to the last byte read, redirects included; None where ``failure`` says why there is
    no whole answer. ``url``, in which a secret may be, and ``redirects`` say how far it came. ``hops``: each request
    made, in order, the one that failed too. ``wire_bytes`` is the last hop's body as it came, before it was decoded and
    without its framing, as far as it was read; None where ``body`` is.
    """

    url: str = field(repr=False)
    redirects: int
    status_code: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    truncated: bool = False
    elapsed_ms: float | None = None
    failure: Failure | None = None
    hops: tuple[Hop, ...] = ()
    wire_bytes: int | None = None
