"""Where the time of each hop went, as bars on one time scale: pure functions from hops to rich's renderables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import msgspec
from rich.bar import Bar
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.padding import Padding
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from wms_tasks.commands.columns import printable
from wms_tasks.net.hop import Hop

COLOURS = {
    "resolve": "cyan",
    "connect": "blue",
    "tls": "magenta",
    "processing": "yellow",
    "transfer": "green",
}
_LABEL_WIDTH = 12
_FIGURE_WIDTH = 12
_INDENT = 4
_EIGHTHS = 8  # of a character: rich's finest step
_LEAST_MS = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A phase of a hop; times in milliseconds from the beginning of the first. ``failed``: it was the last one."""

    name: str
    begin_ms: float
    end_ms: float
    failed: bool = False


@dataclass(frozen=True, slots=True)
class Line:
    """A span's bar, as wide as there is room, on a scale of ``total_ms``. However short it was, it is seen."""

    span: Span
    total_ms: float

    def __rich_console__(self, _: Console, options: ConsoleOptions) -> RenderResult:
        """The bar."""
        width = options.max_width
        if options.ascii_only:
            begin = min(int(width * self.span.begin_ms / self.total_ms), width - 1)
            end = min(round(width * self.span.end_ms / self.total_ms), width)
            yield Segment(" " * begin + "#" * max(1, end - begin))
            return
        least_ms = 1.01 * self.total_ms / width / _EIGHTHS
        begin_ms = max(0.0, min(self.span.begin_ms, self.total_ms - least_ms))
        end_ms = min(self.total_ms, max(self.span.end_ms, begin_ms + least_ms))
        colour = "red" if self.span.failed else COLOURS[self.span.name]
        yield Bar(self.total_ms, begin_ms, end_ms, width=width, color=colour)


def figure(value_ms: float) -> str:
    """A tenth of a millisecond is as exact as a probe is."""
    return f"{value_ms:,.1f} ms" if value_ms >= _LEAST_MS else "<0.1 ms"


def spans_of(hops: Iterable[Hop], *, failed: bool) -> Iterator[tuple[Span, ...]]:
    """
    The phases of each hop, one after the other.

    Args:
        failed: there was no whole answer, so the last phase of the last hop is where it ended.
    """
    hops, at_ms = tuple(hops), 0.0
    for number, hop in enumerate(hops, start=1):
        spans: list[Span] = []
        reached = [(name.removesuffix("_ms"), value) for name, value in _phases(hop) if value is not None]
        for position, (name, value) in enumerate(reached, start=1):
            is_last = number == len(hops) and position == len(reached)
            spans.append(Span(name=name, begin_ms=at_ms, end_ms=at_ms + value, failed=failed and is_last))
            at_ms += value
        yield tuple(spans)


def waterfall(hops: tuple[Hop, ...], *, failed: bool) -> RenderableType:
    """Each hop with its address and versions, and below it a bar a phase; all to one scale."""
    by_hop = tuple(spans_of(hops, failed=failed))
    total_ms = max([span.end_ms for spans in by_hop for span in spans], default=0.0)
    parts: list[RenderableType] = []
    for number, (hop, spans) in enumerate(zip(hops, by_hop, strict=True), start=1):
        parts.append(_heading(number, hop))
        if spans:
            parts.append(Padding(_bars(spans, total_ms or _LEAST_MS), (0, 0, 0, _INDENT)))
    if total_ms:
        parts.append(Padding(_scale(total_ms), (0, 0, 0, _INDENT)))
    return Group(*parts)


def _phases(hop: Hop) -> Iterator[tuple[str, float | None]]:
    yield from msgspec.structs.asdict(hop.phases).items()


def _heading(number: int, hop: Hop) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row(str(number), Text(str(hop.status_code or "-"), style="bold"), Text(printable(hop.url)))
    version = f"HTTP/{hop.http_version}" if hop.http_version else None
    how = "  ".join(filter(None, (hop.address, version, hop.tls_version, hop.tls_cipher)))
    if how:
        table.add_row("", "", Text(printable(how), style="dim"))
    return table


def _grid() -> Table:
    table = Table.grid(padding=(0, 1, 0, 0), expand=True)
    table.add_column(width=_LABEL_WIDTH, no_wrap=True)
    table.add_column(width=_FIGURE_WIDTH, no_wrap=True, justify="right")
    table.add_column(ratio=1, no_wrap=True)
    return table


def _bars(spans: Iterable[Span], total_ms: float) -> Table:
    table = _grid()
    for span in spans:
        name = Text(f"{span.name}{' !' if span.failed else ''}", style="bold red" if span.failed else "")
        table.add_row(name, figure(span.end_ms - span.begin_ms), Line(span, total_ms))
    return table


def _scale(total_ms: float) -> Table:
    ends = Table.grid(expand=True)
    ends.add_column()
    ends.add_column(justify="right")
    ends.add_row("0", figure(total_ms))
    table = _grid()
    table.add_row("", "", ends, style="dim")
    return table
