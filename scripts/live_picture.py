"""
Draw docs/live-view.svg from a running `wms up`: the same picture a terminal shows, from the same rows.

    wms up &                                     # in one terminal
    . .wms/env && python scripts/live_picture.py
"""

from __future__ import annotations

import io
from pathlib import Path

import msgspec
from rich.console import Console

from wms_tasks.app import app
from wms_tasks.commands.live import SnapshotSource
from wms_tasks.commands.picture import frame
from wms_tasks.persist.stats import PersistStats
from wms_tasks.settings import get_settings
from wms_tasks.sites.file import load_sites

PICTURE = Path(__file__).parent.parent / "docs" / "live-view.svg"


def persist_stats() -> PersistStats | None:
    """The figures of the first worker that persists, asked as `celery inspect persist_stats` does."""
    replies = app.control.inspect(timeout=3)._request("persist_stats") or {}
    figures = [reply for reply in replies.values() if reply]
    return msgspec.convert(figures[0], PersistStats) if figures else None


def main() -> None:
    """Take one snapshot and draw it."""
    settings = get_settings()
    names = [site.name for site in load_sites(settings.sites)]
    source = SnapshotSource(settings, names, persist_stats)
    console = Console(record=True, width=120, file=io.StringIO())
    console.print(frame(source.take(), footer="Ctrl-C stops · flower http://127.0.0.1:15555 · log .wms/wms.log"))
    source.close()
    console.save_svg(str(PICTURE), title="wms up")


if __name__ == "__main__":
    main()
