"""
Whether the sites file, or one of a folder of them, was edited: in place, by a rename over it, or by swapping a symlink
as a ConfigMap does.

One ``stat`` a file and look, no inotify: it works on every file system and in containers. Beat looks once a second.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from wms_tasks.sites.folder import files_of

FileSignature = tuple[int, int, int, int, int]
# By name; None: a link that leads nowhere.
FolderSignature = tuple[tuple[str, FileSignature | None], ...]
Signature = FileSignature | FolderSignature


def signature(path: Path) -> Signature | None:
    """
    What differs after any edit of the file that `path` leads to, or of the files of a folder; None while there is none.

    The inode tells a rename and a symlink swap, ctime an edit that kept size and mtime (``rsync --times``, ``cp -p``).
    """
    try:
        found = path.stat()
        if stat.S_ISDIR(found.st_mode):
            return tuple((file.name, _of_file(file)) for file in files_of(path))
    except OSError:
        return None
    return _stamp(found)


def _of_file(path: Path) -> FileSignature | None:
    try:
        return _stamp(path.stat())
    except OSError:
        return None


def _stamp(found: os.stat_result) -> FileSignature:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _names(of: Signature) -> frozenset[str]:
    """The files that are there; none of a single file."""
    return frozenset(part[0] for part in of if isinstance(part, tuple) and part[1] is not None)


class FileWatcher:
    """
    Make it before the first load, so that an edit in between is seen.

    A file that is gone, even for a moment between unlink and rename, is no change: ``missing`` is True until it is
    back, and then it counts as changed only if it is another one. In a folder, a file may be gone for good; that
    counts once it was so for two looks in a row. Not thread-safe; one thread looks.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._last = signature(path)
        self._doubtful: Signature | None = None
        self.missing = self._last is None

    def changed(self) -> bool:
        """True once for each edit since the last look."""
        now = signature(self.path)
        self.missing = now is None
        if now is None or now == self._last:
            self._doubtful = None
            return False
        if self._last is not None and _names(self._last) - _names(now) and now != self._doubtful:
            self._doubtful = now
            return False
        self._last, self._doubtful = now, None
        return True
