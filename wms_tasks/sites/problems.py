"""
Everything wrong with a sites file, each with its line. Collected, not raised: a person mends a file once.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

MAX_PROBLEMS = 500_000  # five for each of 100,000 sites; told in under half a minute


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Problem:
    """
    One thing to mend. ``line`` counts from 1; 0 means the file as a whole. ``path`` is that of a file in a folder,
    None where there is only one file.
    """

    line: int
    text: str
    path: Path | None = None

    def at(self, path: Path) -> str:
        """``file:line: text``, which editors and terminals turn into a link; `path` is what was asked for."""
        file = self.path or path
        return f"{file}:{self.line}: {self.text}" if self.line else f"{file}: {self.text}"


class Broken(Exception):  # noqa: N818 - not an error of ours but of the text; never leaves this package
    """Reading cannot go on from here."""

    def __init__(self, line: int, text: str) -> None:
        self.line = line
        self.text = text
        super().__init__(text)


class Problems:
    """
    Those of one file; the same problem at the same line counts once (an alias may repeat it for every site).

    Args:
        path: as in `Problem`.
    """

    def __init__(self, path: Path | None = None, *, at_most: int = MAX_PROBLEMS) -> None:
        self.path = path
        self._found: dict[Problem, None] = {}
        self._left = at_most

    def __bool__(self) -> bool:
        return bool(self._found)

    def add(self, line: int, text: str) -> None:
        """
        One more.

        Raises:
            Broken: nobody reads so many; an anchor full of mistakes could otherwise keep us busy for minutes.
        """
        if self._left == 0:
            raise Broken(line, "has too many problems (what follows was not looked at)")
        self._left -= 1
        self._found[Problem(line=line, text=text, path=self.path)] = None

    def end(self, broken: Broken) -> None:
        """The last one: why nothing after it was looked at."""
        self._found[Problem(line=broken.line, text=broken.text, path=self.path)] = None

    def in_order(self) -> tuple[Problem, ...]:
        """By line; at one line in the order found."""
        return tuple(sorted(self._found, key=lambda problem: problem.line))


class Place(NamedTuple):
    """A line of a file, of which something may be said later."""

    problems: Problems
    line: int

    def add(self, text: str) -> None:
        """A problem there."""
        self.problems.add(self.line, text)

    def seen_from(self, other: Place) -> str:
        """``line 12``, or ``shop.yaml:12`` from another file."""
        path = None if self.problems is other.problems else self.problems.path
        return f"{path.name}:{self.line}" if path else f"line {self.line}"
