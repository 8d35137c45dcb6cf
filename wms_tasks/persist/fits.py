"""
Whether a result fits the columns of results: every range and every text, before Postgres sees them. Pure.
"""

from __future__ import annotations

import math
import re

from wms_tasks.result import Evidence, Outcome, Phases, Reason, Result

_INT4_MAX = 2**31 - 1
_INT8_MAX = 2**63 - 1
# A key part is held in an index page, a third of which (2,704 bytes) is all that a row of it may take.
_LOCATION_MAX_CHARACTERS = 255
_OUTCOMES = frozenset(Outcome)
_KNOWN_REASONS = frozenset(Reason)
_REASON = re.compile(r"[a-z][a-z0-9_]{0,62}")
_NO_PHASES = Phases()

NUL = "a text holds the character NUL, which Postgres cannot store"


class Unstorable(Exception):  # noqa: N818 - reads as what it says
    """A value does not fit its column."""


def check(result: Result) -> None:
    """
    Everything but its texts' characters.

    Raises:
        Unstorable: the first that does not fit.
    """
    if not _usual(result):
        _name_misfit(result)


def _usual(result: Result) -> bool:
    """Whether all of it fits, in a third of the time that `_name_misfit` takes; may say no of what does."""
    phases = result.phases or _NO_PHASES
    return (
        result.outcome in _OUTCOMES
        and result.reason in _KNOWN_REASONS
        and 0 <= result.attempt <= _INT4_MAX
        and 0 <= (result.status_code or 0) <= _INT4_MAX
        and 0 <= result.schema_version <= _INT4_MAX
        and 0 <= (result.redirects or 0) <= _INT4_MAX
        and 0 <= (result.wire_bytes or 0) <= _INT8_MAX
        and 0 <= (result.body_bytes or 0) <= _INT8_MAX
        and 0 < len(result.location) <= _LOCATION_MAX_CHARACTERS
        # What is no number, or has no end, makes the sum so too.
        and math.isfinite(
            (result.response_time_ms or 0.0)
            + (phases.resolve_ms or 0.0)
            + (phases.connect_ms or 0.0)
            + (phases.tls_ms or 0.0)
            + (phases.processing_ms or 0.0)
            + (phases.transfer_ms or 0.0)
        )
    )


def _name_misfit(result: Result) -> None:
    if result.outcome not in _OUTCOMES:
        raise Unstorable(f"outcome {result.outcome!r} is none of {', '.join(Outcome)}")
    if not _REASON.fullmatch(result.reason):
        raise Unstorable(f"reason {result.reason!r} is not one lower-case word of at most 63 characters")
    for name, number, largest in (
        ("attempt", result.attempt, _INT4_MAX),
        ("status_code", result.status_code, _INT4_MAX),
        ("schema_version", result.schema_version, _INT4_MAX),
        ("redirects", result.redirects, _INT4_MAX),
        ("wire_bytes", result.wire_bytes, _INT8_MAX),
        ("body_bytes", result.body_bytes, _INT8_MAX),
    ):
        if number is not None and not 0 <= number <= largest:
            raise Unstorable(f"{name} {number} is outside 0…{largest}")
    check_location(result.location)
    phases = result.phases or _NO_PHASES
    for name, time_ms in (
        ("response_time_ms", result.response_time_ms),
        ("resolve_ms", phases.resolve_ms),
        ("connect_ms", phases.connect_ms),
        ("tls_ms", phases.tls_ms),
        ("processing_ms", phases.processing_ms),
        ("transfer_ms", phases.transfer_ms),
    ):
        if time_ms is not None and not math.isfinite(time_ms):
            raise Unstorable(f"{name} is {time_ms}")


def check_location(location: str) -> None:
    """
    Part of the key.

    Raises:
        Unstorable: it is empty, or too long.
    """
    if not 0 < len(location) <= _LOCATION_MAX_CHARACTERS:
        raise Unstorable(f"location has {len(location)} characters, outside 1…{_LOCATION_MAX_CHARACTERS}")


def refuse_nul(evidence: Evidence) -> None:
    """
    Postgres would store NUL in JSON, and fail whoever reads the text of it.

    Raises:
        Unstorable: one of its texts holds that character.
    """
    if any("\x00" in text for text in (*evidence.headers, *evidence.headers.values(), evidence.body or "")):
        raise Unstorable(NUL)
