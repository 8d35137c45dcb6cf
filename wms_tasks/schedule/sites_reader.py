"""
Reads the sites file in a thread of its own, a large one in a process, so that it hardly delays a slot. Logs a broken
one, once.

The scheduler asks for what came out; it never waits for it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import structlog

from wms_tasks import metrics
from wms_tasks.errors import SitesFileError
from wms_tasks.schedule.entries import Entry
from wms_tasks.shard import ALL_SITES, Shard
from wms_tasks.sites.apart import read_sites
from wms_tasks.sites.record import Site
from wms_tasks.sites.watch import FileWatcher

log = structlog.get_logger()

_LOOK_EVERY_SECONDS = 1.0


class SitesReader:
    """
    The file's newest valid state, as entries of the shard's sites. A broken edit changes nothing but the log.

    Args:
        to_entry: makes one; called in the thread.
    """

    def __init__(self, path: Path, to_entry: Callable[[Site], Entry], shard: Shard = ALL_SITES) -> None:
        self._shard = shard
        self._path = path
        self._to_entry = to_entry
        self._watcher = FileWatcher(path)
        self._newest: list[Entry] | None = None
        self._known: dict[UUID, tuple[Site, Entry]] = {}
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def read_first(self) -> list[Entry]:
        """
        The file as it is now.

        Raises:
            SitesFileError: with every problem in it.
        """
        return self._read()

    def start(self) -> None:
        """Watch the file from now on."""
        self._thread = threading.Thread(target=self._run, name="sites-file", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread; idempotent, does not wait for a file being read."""
        self._stopping.set()

    def take(self) -> list[Entry] | None:
        """The entries, if the file was changed to another valid state since the last call."""
        newest, self._newest = self._newest, None
        return newest

    def _read(self) -> list[Entry]:
        """Of a site that is as it was at the last reading, the entry is too: the very same."""
        found: dict[UUID, tuple[Site, Entry]] = {}
        for site in read_sites(self._path):
            if not self._shard.has(site.site_id):
                continue
            known = self._known.get(site.site_id)
            found[site.site_id] = known if known and known[0] == site else (site, self._to_entry(site))
        self._known = found
        return [entry for _, entry in found.values()]

    def _run(self) -> None:
        while not self._stopping.wait(_LOOK_EVERY_SECONDS):
            try:
                if self._watcher.changed():
                    self._newest = self._read()
            except SitesFileError as error:
                metrics.RELOADS.inc("refused")
                log.error("sites.file_refused", path=str(self._path), kept="the schedule as it was")
                for problem in error.problems:
                    log.error("sites.problem", problem=problem)
            except Exception:  # the thread must outlive whatever a file can do to the reader; beat goes on without it
                log.exception("sites.file_unreadable", path=str(self._path), kept="the schedule as it was")
