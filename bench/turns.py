"""Who is measured first."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

Ours = TypeVar("Ours")
Theirs = TypeVar("Theirs")


def both(number: int, ours: Callable[[], Ours], theirs: Callable[[], Theirs]) -> tuple[Ours, Theirs]:
    """One after the other, theirs first in every other round."""
    if number % 2:
        other = theirs()
        return ours(), other
    own = ours()
    return own, theirs()
