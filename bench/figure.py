"""What is measured: a figure, its bounds and the peer it is held against. Pure; running it is __main__.py's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Literal

Round = Mapping[str, float]
"""One round's value of each figure of a subject, by the figure's key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """``at_most`` tells which side of the value is good."""

    value: float
    at_most: bool

    def met_by(self, value: float) -> bool:
        """Whether `value` is on the good side, or on the bound."""
        return value <= self.value if self.at_most else value >= self.value

    def __str__(self) -> str:
        return f"{'≤' if self.at_most else '≥'} {self.value:g}"


def at_most(value: float) -> Bound:
    """Less is better."""
    return Bound(value=value, at_most=True)


def at_least(value: float) -> Bound:
    """More is better."""
    return Bound(value=value, at_most=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """
    One line of the table.

    Args:
        key: what it is called in results.json and in a round.
        unit: "×" for a ratio to the peer, else ms, s, /s, MB.
        peer: what stands beside it in the same rounds; None where it stands alone.
        must: None for a figure that is only reported.
        over: how the rounds become one value; a maximum where one bad round is one too many.
    """

    key: str
    name: str
    unit: str
    peer: str | None = None
    must: Bound | None = None
    aim: Bound | None = None
    over: Literal["median", "worst"] = "median"


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A figure's rounds, in their order; none where it could not be measured, and `missing` says why."""

    figure: Figure
    rounds: tuple[float, ...]
    missing: str | None = None

    @property
    def value(self) -> float | None:
        """The median of the rounds, or their worst; None without any."""
        if not self.rounds:
            return None
        if self.figure.over == "median":
            return median(self.rounds)
        bound = self.figure.must or self.figure.aim
        return min(self.rounds) if bound is not None and not bound.at_most else max(self.rounds)

    def meets(self, bound: Bound | None) -> bool | None:
        """None where there is no bound or no value."""
        return bound.met_by(self.value) if bound is not None and self.value is not None else None


Measure = Callable[[int], Round]
"""Measures one round. Its number says who goes first: ours in even ones, the peer in odd ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """
    Figures that are measured in the same rounds.

    Args:
        open: with an empty folder → what measures a round; it stops by itself all that it started. Raises
            `PeerMissing` where what it is held against cannot be had.
        conditions: what is on while it is measured, as the table's note says it.
        on_request: measured only where it is named: a lever of our own, not a peer, and minutes of an hour.
    """

    name: str
    figures: Sequence[Figure]
    open: Callable[[Path], AbstractContextManager[Measure]]
    conditions: str
    rounds: int = 5
    on_request: bool = False


class PeerMissing(Exception):  # noqa: N818 - reads as what it says
    """A peer is not here and cannot be fetched; the message names it and says how it is had."""
