"""What one request of a fetch met beside its answer: address, phases, TLS. Filled by fetch.py, read by those above."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from wms_tasks.result import Certificate, Phases


@dataclass(frozen=True, slots=True, kw_only=True)
class Hop:
    """
    One request and its answer's head; the last one's body too.

    ``url`` is without credentials, query and fragment. ``address`` is the one connected to, None before that. TLS and
    ``certificate`` are reported also where verification failed. ``http_version`` is "1.0" or "1.1".
    """

    url: str
    phases: Phases
    status_code: int | None = None
    address: str | None = None
    http_version: str | None = None
    tls_version: str | None = None
    tls_cipher: str | None = None
    certificate: Certificate | None = None


def sum_of(hops: tuple[Hop, ...]) -> Phases:
    """Each phase over all hops; None where no hop had it."""
    return Phases(**{name: _sum(hops, name) for name in Phases.__struct_fields__})


def total_ms(hops: Sequence[Hop]) -> float:
    """All phases of all hops. Our own work before, between and after them is no part of it."""
    times = (getattr(hop.phases, name) for hop in hops for name in Phases.__struct_fields__)
    return float(sum(time for time in times if time is not None))


def _sum(hops: tuple[Hop, ...], name: str) -> float | None:
    found = [value for hop in hops if (value := getattr(hop.phases, name)) is not None]
    return sum(found) if found else None
