"""
Rows as text for `wms status`, `wms results` and `wms migrate`: a rich table on a terminal, aligned columns elsewhere.

What came from a stranger's server is made printable here, so that it cannot steer the reader's terminal.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import chain, islice

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from wms_tasks.commands.picture import STYLES

# Widths of plain columns are taken from this many rows; later rows that are wider stick out, and nothing waits.
_LOOK_AHEAD_ROWS = 500
_WORDS = frozenset({"site", "location", "reason", "detail", "note"})


def printable(text: str) -> str:
    """Without control characters: each becomes its escape."""
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def instant(at: datetime | None) -> str:
    """UTC to the second, as ISO 8601 with a Z; empty for None."""
    return "" if at is None else f"{at:%Y-%m-%dT%H:%M:%SZ}"


def milliseconds(value: float | None) -> str:
    """Whole milliseconds where that is exact enough."""
    return "" if value is None else f"{value:.0f} ms" if value >= 10 else f"{value:.1f} ms"


def show(header: Sequence[str], rows: Iterable[Sequence[str]], *, console: Console | None = None) -> None:
    """
    Print them.

    Rows are printed as they come, a few hundred at a time on a terminal too, so that a long answer fills no memory.
    """
    console = console or Console(highlight=False)
    clean = ([printable(cell) for cell in row] for row in rows)
    first = list(islice(clean, _LOOK_AHEAD_ROWS))
    if console.is_terminal:
        while first:
            console.print(_table(header, first))
            first = list(islice(clean, _LOOK_AHEAD_ROWS))
        return
    widths = [max(map(len, column)) for column in zip(header, *first, strict=True)]
    for line in chain([header], first, clean):
        click.echo(_line(line, widths))


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name, *cells in zip(header, *rows, strict=True):
        # Where the terminal is narrow, words give way, never numbers and instants.
        width = None if name in _WORDS else max(map(len, (name, *cells)))
        table.add_column(name, no_wrap=True, overflow="ellipsis", min_width=width)
    for row in rows:
        table.add_row(*(Text(cell, style=STYLES.get(cell, "")) for cell in row))
    return table


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()
