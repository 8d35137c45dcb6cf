"""
Rows as text for `wms status`, `wms results` and `wms migrate`: a rich table on a terminal, aligned columns elsewhere.

What came from a stranger's server is made printable here, so that it cannot steer the reader's terminal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from itertools import islice

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
    return "" if at is None else f"{at.isoformat()[:19]}Z"


def milliseconds(value: float | None) -> str:
    """Whole milliseconds where that is exact enough."""
    return "" if value is None else f"{value:.0f} ms" if value >= 10 else f"{value:.1f} ms"


def show(header: Sequence[str], rows: Iterable[Sequence[str]], *, console: Console | None = None) -> None:
    """
    Print them.

    Rows are printed as they come, a few hundred at a time on a terminal too, so that a long answer fills no memory.
    """
    console = console or Console(highlight=False)
    clean = map(_printable_row, rows)
    some = list(islice(clean, _LOOK_AHEAD_ROWS))
    if console.is_terminal:
        while some:
            console.print(_table(header, some))
            some = list(islice(clean, _LOOK_AHEAD_ROWS))
        return
    line = _columns(header, some)
    click.echo(line(*header).rstrip())
    while some:
        # Together, since each echo is a write of its own.
        click.echo("\n".join([line(*row).rstrip() for row in some]))
        some = list(islice(clean, _LOOK_AHEAD_ROWS))


def _printable_row(row: Sequence[str]) -> Sequence[str]:
    return row if "".join(row).isprintable() else [printable(cell) for cell in row]


def _columns(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Callable[..., str]:
    """Makes a line of as many cells, each as wide as the widest of these."""
    widths = (max(map(len, column)) for column in zip(header, *rows, strict=True))
    return "  ".join(f"{{:<{width}}}" for width in widths).format


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name, *cells in zip(header, *rows, strict=True):
        # Where the terminal is narrow, words give way, never numbers and instants.
        width = None if name in _WORDS else max(map(len, (name, *cells)))
        table.add_column(name, no_wrap=True, overflow="ellipsis", min_width=width)
    for row in rows:
        table.add_row(*(Text(cell, style=STYLES.get(cell, "")) for cell in row))
    return table
