"""
Which files a path stands for: itself, or the sites files of a folder.
"""

from __future__ import annotations

from pathlib import Path

ENDINGS = (".yaml", ".yml")


def files_of(path: Path) -> tuple[Path, ...]:
    """
    `path`, or where it is a folder what in it ends in ``.yaml`` or ``.yml`` and is not hidden, by name.

    Not the folders in it, and not what begins with a dot: editors' copies, and where a ConfigMap keeps its versions.
    A link that leads nowhere is one of them: that is a mistake to be told.

    Raises:
        OSError: the folder cannot be read.
    """
    if not path.is_dir():
        return (path,)
    named = (file for file in path.iterdir() if file.suffix in ENDINGS and not file.name.startswith("."))
    return tuple(sorted(file for file in named if not file.is_dir()))
