"""
The live view as a picture of values: pure functions from a `Snapshot` to rich tables and to plain lines.

No clock, no database, no terminal here: commands/live.py asks those and calls this.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

# One glyph a slot, oldest first; a gap in time is not drawn, since a missed slot is a row of its own.
GLYPHS = {"up": ("▇", "green"), "down": ("▇", "red"), "skipped": ("▂", "yellow"), "missed": ("·", "magenta")}
STYLES = {"up": "bold green", "down": "bold red", "skipped": "yellow", "missed": "magenta", "waiting": "dim"}


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteLine:
    """One site as shown. ``history`` is outcomes, oldest first; a site with no row yet has outcome ``waiting``."""

    name: str
    outcome: str
    since: datetime | None = None
    reason: str = ""
    detail: str = ""
    status_code: int | None = None
    response_time_ms: float | None = None
    history: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipeline:
    """Health of the way from beat to Postgres. None: not known yet."""

    rows_last_minute: int | None = None
    lateness_p99_seconds: float | None = None
    queue_length: int | None = None
    lag: int | None = None
    last_batch_records: int | None = None
    last_batch_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """All that one frame shows."""

    taken_at: datetime
    sites: tuple[SiteLine, ...]
    pipeline: Pipeline
    notice: str = ""


def span(elapsed: timedelta) -> str:
    """A duration as a person says it: ``8s``, ``3m 20s``, ``2h 5m``, ``4d 6h``."""
    seconds = max(0, int(elapsed.total_seconds()))
    if seconds < 60:
        return f"{seconds}s"
    if seconds < 3600:
        return f"{seconds // 60}m {seconds % 60:02d}s"
    if seconds < 86400:
        return f"{seconds // 3600}h {seconds % 3600 // 60:02d}m"
    return f"{seconds // 86400}d {seconds % 86400 // 3600}h"


def history_bar(history: tuple[str, ...]) -> Text:
    """The last outcomes as a bar of glyphs."""
    bar = Text()
    for outcome in history:
        glyph, style = GLYPHS.get(outcome, ("?", "dim"))
        bar.append(glyph, style=style)
    return bar


def _milliseconds(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f} ms" if value >= 10 else f"{value:.1f} ms"


def _style(site: SiteLine) -> str:
    """A robots.txt that answers with an error is a problem of the site, not a decision of ours."""
    return STYLES["down" if site.reason == "robots_unreachable" else site.outcome] if site.outcome in STYLES else ""


def sites_table(snapshot: Snapshot) -> Table:
    """One row a site, in the order given."""
    table = Table(box=None, pad_edge=False, header_style="dim", expand=True)
    table.add_column("site", ratio=3, no_wrap=True, overflow="ellipsis")
    table.add_column("is", no_wrap=True)
    table.add_column("since", justify="right", no_wrap=True)
    table.add_column("reason", ratio=3, no_wrap=True, overflow="ellipsis")
    table.add_column("code", justify="right", no_wrap=True)
    table.add_column("time", justify="right", no_wrap=True)
    table.add_column("history", no_wrap=True, min_width=20)
    for site in snapshot.sites:
        why = site.reason if site.reason != "ok" else ""
        table.add_row(
            Text(site.name),
            Text(site.outcome, style=_style(site)),
            span(snapshot.taken_at - site.since) if site.since else "",
            Text(f"{why}: {site.detail}" if site.detail and why else why),
            str(site.status_code or ""),
            _milliseconds(site.response_time_ms),
            history_bar(site.history),
        )
    return table


def _shown(value: float | None, form: str) -> str:
    return "–" if value is None else form.format(value)


def pipeline_line(pipeline: Pipeline, now: datetime) -> str:
    """The pipeline's health in one line."""
    batch = "none yet"
    if pipeline.last_batch_at is not None:
        batch = f"{pipeline.last_batch_records} rows {span(now - pipeline.last_batch_at)} ago"
    return "   ".join(
        (
            f"rows last minute {_shown(pipeline.rows_last_minute, '{:,}')}",
            f"lateness p99 {_shown(pipeline.lateness_p99_seconds, '{:.2f} s')}",
            f"queue {_shown(pipeline.queue_length, '{:,}')}",
            f"lag {_shown(pipeline.lag, '{:,}')}",
            f"last batch {batch}",
        )
    )


def frame(snapshot: Snapshot, *, footer: str) -> RenderableType:
    """The whole live view."""
    counts: dict[str, int] = {}
    for site in snapshot.sites:
        counts[site.outcome] = counts.get(site.outcome, 0) + 1
    head = Text("wms  ", style="bold")
    for outcome in ("down", "missed", "skipped", "up", "waiting"):
        if counts.get(outcome):
            head.append(f"{counts[outcome]} {outcome}  ", style=STYLES[outcome])
    parts: list[RenderableType] = [head, Text(), sites_table(snapshot), Text()]
    parts.append(Text(pipeline_line(snapshot.pipeline, snapshot.taken_at), style="cyan"))
    if snapshot.notice:
        parts.append(Text(snapshot.notice, style="yellow"))
    parts.append(Text(footer, style="dim"))
    return Group(*parts)


def changes(before: Snapshot | None, after: Snapshot) -> list[str]:
    """What a log without a terminal should say: one line for each site whose outcome or reason is new."""
    known = {site.name: (site.outcome, site.reason) for site in before.sites} if before else {}
    lines = []
    for site in after.sites:
        if site.outcome == "waiting" or known.get(site.name) == (site.outcome, site.reason):
            continue
        code = f" {site.status_code}" if site.status_code else ""
        why = f" {site.reason}" if site.reason != "ok" else ""
        detail = f": {site.detail}" if site.detail and site.reason != "ok" else ""
        time = f" in {_milliseconds(site.response_time_ms)}" if site.response_time_ms is not None else ""
        lines.append(f"{site.name} is {site.outcome}{why}{code}{time}{detail}")
    return lines
