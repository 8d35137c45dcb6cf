"""
How far one hop has come, when, and what it met on the way; becomes its `Hop`. Filled by connection.py and journey.py.

Times are clock.monotonic()'s, so a wall clock that steps changes no phase.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from wms_tasks import clock
from wms_tasks.net.certificate import certificate_of
from wms_tasks.net.hop import Hop
from wms_tasks.net.redact import bare_url
from wms_tasks.result import Phases


class Phase(StrEnum):
    """How far a hop has come; blackbox_exporter's words. Processing ends, and transfer begins, with the whole head."""

    RESOLVE = "resolve"
    CONNECT = "connect"
    TLS = "tls"
    PROCESSING = "processing"
    TRANSFER = "transfer"


_FIELDS = {phase: f"{phase}_ms" for phase in Phase}


class Progress:
    """
    One hop under way. ``chain`` is what the peer sent as its certificates, DER, its own first; empty before that.

    ``tls_version`` is OpenSSL's name ("TLSv1.3"), None as long as it is not certain.
    """

    __slots__ = ("_came", "_entered", "_stopped", "address", "chain", "phase", "tls_cipher", "tls_version")

    def __init__(self) -> None:
        self.phase = Phase.RESOLVE
        self.address: str | None = None
        self.tls_version: str | None = None
        self.tls_cipher: str | None = None
        self.chain: Sequence[bytes] = ()
        self._entered: list[tuple[Phase, float]] = []
        self._came: float | None = None
        self._stopped: float | None = None

    @property
    def since(self) -> float:
        """When the phase under way began."""
        return self._entered[-1][1]

    def enter(self, phase: Phase) -> None:
        """`phase` begins now, and the one before it ends."""
        self._begin(phase, clock.monotonic())

    def _begin(self, phase: Phase, at: float) -> None:
        self.phase = phase
        self._entered.append((phase, at))

    def begin_again(self) -> None:
        """What was done in this phase so far was our own work: it begins now."""
        self._entered[-1] = (self.phase, clock.monotonic())

    def came(self, at: float) -> None:
        """Some more of the answer, at this moment; it may have been read later."""
        self._came = at

    def head_read(self) -> None:
        """The transfer began when the last bytes of the head came."""
        self._begin(Phase.TRANSFER, self._last_came())

    def all_read(self) -> None:
        """The hop was over when the last bytes that were read came."""
        if self._stopped is None:
            self._stopped = self._last_came()

    def _last_came(self) -> float:
        """Never before the phase that is under way."""
        at = clock.monotonic() if self._came is None else self._came
        return max(at, self._entered[-1][1]) if self._entered else at

    def stop(self) -> float:
        """The hop is over, or its failure is known; when that was. Only the first call counts, also of `all_read`."""
        if self._stopped is None:
            self._stopped = clock.monotonic()
        return self._stopped

    def phases(self) -> Phases:
        """The time of each phase that was entered; the last one's until `stop`."""
        ends = [*(at for _, at in self._entered[1:]), self.stop()]
        spent = zip(self._entered, ends, strict=False)  # nothing was entered: one end too many
        return Phases(**{_FIELDS[phase]: 1000 * (end - began) for (phase, began), end in spent})

    def hop(self, url: str, *, status_code: int | None, http_version: str | None) -> Hop:
        """What there is to say of the hop to `url`."""
        return Hop(
            url=bare_url(url),
            phases=self.phases(),
            status_code=status_code,
            address=self.address,
            http_version=http_version,
            tls_version=self.tls_version,
            tls_cipher=self.tls_cipher,
            certificate=certificate_of(self.chain) if self.chain else None,
        )
