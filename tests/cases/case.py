"""One row of the table: what is written of a site, and how its slot ends."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from wms_tasks.result import Outcome, Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """
    ``name`` is the site's. ``at``: one of world.py's servers and a path on it, as in ``plain/slow``, or a whole url.
    ``keys`` are a site's keys as sites.yaml has them, beside those that every case has.

    ``shows_certificate``: one is reported, however the probe ended. ``row``: the beginning of a left cell in docs'
    table of blackbox_exporter's options, which this case shows the right cell of.
    """

    name: str
    at: str
    outcome: Outcome
    reason: Reason
    status_code: int | None = None
    keys: dict[str, Any] = field(default_factory=dict)
    shows_certificate: bool = False
    row: str | None = None


def up(
    name: str, at: str, *, reason: Reason = Reason.OK, status_code: int = 200, row: str | None = None, **keys: Any
) -> Case:
    """The site is up."""
    shown = at.startswith("tls")
    return Case(
        name=name,
        at=at,
        outcome=Outcome.UP,
        reason=reason,
        status_code=status_code,
        keys=keys,
        shows_certificate=shown,
        row=row,
    )


def down(
    name: str,
    at: str,
    reason: Reason,
    *,
    status_code: int | None = None,
    shown: bool = False,
    row: str | None = None,
    **keys: Any,
) -> Case:
    """The site is down for that."""
    return Case(
        name=name,
        at=at,
        outcome=Outcome.DOWN,
        reason=reason,
        status_code=status_code,
        keys=keys,
        shows_certificate=shown,
        row=row,
    )


def skipped(name: str, at: str, reason: Reason, **keys: Any) -> Case:
    """Nothing was asked of the page."""
    return Case(name=name, at=at, outcome=Outcome.SKIPPED, reason=reason, keys=keys)
