"""The live view's picture: what a person reads off it."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console

from wms_tasks.commands.picture import Pipeline, SiteLine, Snapshot, changes, frame, history_bar, pipeline_line, span

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
DOWN = SiteLine(
    name="shop [eu]",
    outcome="down",
    since=NOW - timedelta(seconds=83),
    reason="status",
    detail="503 is not one of 2xx",
    status_code=503,
    response_time_ms=12.34,
    history=("up", "down", "missed", "skipped"),
)


def snapshot(*sites: SiteLine, pipeline: Pipeline | None = None, notice: str = "") -> Snapshot:
    """A snapshot with little in it."""
    return Snapshot(taken_at=NOW, sites=sites, pipeline=pipeline or Pipeline(), notice=notice)


def drawn(shown: Snapshot) -> str:
    """The frame as text on a wide terminal."""
    console = Console(file=io.StringIO(), width=140, force_terminal=False)
    console.print(frame(shown, footer="Ctrl-C stops"))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert isinstance(text, str)
    return text


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(-3, "0s"), (0, "0s"), (59.9, "59s"), (83, "1m 23s"), (3600, "1h 00m"), (7500, "2h 05m"), (360000, "4d 4h")],
)
def test_spans_read_as_a_person_says_them(seconds: float, said: str) -> None:
    """The two largest units, never a negative."""
    assert span(timedelta(seconds=seconds)) == said


def test_a_site_shows_outcome_since_reason_code_time_and_history() -> None:
    """Everything the issue lists stands in the row, and brackets in a name are no markup."""
    text = drawn(snapshot(DOWN))
    for part in ("shop [eu]", "down", "1m 23s", "status: 503 is not one of 2xx", "503", "12 ms", "▇▇·▂", "1 down"):
        assert part in text


def test_a_healthy_site_shows_no_reason() -> None:
    """`ok` is no news."""
    assert "ok" not in drawn(snapshot(SiteLine(name="a", outcome="up", since=NOW, reason="ok"))).replace("wms", "")


def test_the_history_bar_has_one_glyph_a_slot() -> None:
    """Unknown outcomes of a newer writer are shown, not hidden."""
    assert history_bar(("up", "paused")).plain == "▇?"


def test_the_pipeline_line_says_what_is_unknown() -> None:
    """A dash is not a zero."""
    line = pipeline_line(Pipeline(rows_last_minute=0, lag=7), NOW)
    assert "rows last minute 0" in line
    assert "lag 7" in line
    assert "lateness p99 –" in line
    assert "last batch none yet" in line


def test_changes_say_each_news_once() -> None:
    """First sight, then only a new outcome or reason; a site still waiting is no news."""
    up = SiteLine(name="a", outcome="up", reason="ok", status_code=200, response_time_ms=3.21)
    first = snapshot(up, SiteLine(name="b", outcome="waiting"))
    assert changes(None, first) == ["a is up 200 in 3.2 ms"]
    assert changes(first, first) == []
    down = SiteLine(name="a", outcome="down", reason="dns", detail="no such name")
    assert changes(first, snapshot(down)) == ["a is down dns: no such name"]
