"""How far a download is: a bar where stderr is a terminal, else a line now and then. Used by jars.py."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from wms_tasks.errors import EmbeddedError

STEPS = 4
MEGABYTE = 10**6


class Meter:
    """A context in which `add` may be called from any thread, with the bytes that have come since the last call."""

    def __init__(self, title: str, total_bytes: int, report: Callable[[str], object]) -> None:
        self._title = title
        self._total_bytes = total_bytes
        self._report = report
        self._done_bytes = 0
        self._lock = threading.Lock()
        self._cancelled = threading.Event()
        self._bar: Progress | None = None

    def __enter__(self) -> Self:
        console = Console(stderr=True)
        if console.is_terminal:
            columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
            self._bar = Progress(*columns, TransferSpeedColumn(), TimeRemainingColumn(), console=console)
            self._task = self._bar.add_task(self._title, total=self._total_bytes)
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def cancel(self) -> None:
        """End every download at its next `add`."""
        self._cancelled.set()

    def add(self, count: int) -> None:
        """
        `count` more bytes are there.

        Raises:
            EmbeddedError: the download has been cancelled.
        """
        if self._cancelled.is_set():
            raise EmbeddedError(f"{self._title}: download cancelled")
        with self._lock:
            before, self._done_bytes = self._done_bytes, self._done_bytes + count
            if self._bar is not None:
                self._bar.advance(self._task, count)
            elif before * STEPS // self._total_bytes != self._done_bytes * STEPS // self._total_bytes:
                done, total = self._done_bytes / MEGABYTE, self._total_bytes / MEGABYTE
                self._report(f"{self._title}: {done:.0f} of {total:.0f} MB")
