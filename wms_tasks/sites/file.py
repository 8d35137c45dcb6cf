"""
``sites.yaml``, or a folder of such files: read, checked whole, and turned into `Site` records. The only module that
opens them.

Every problem is found in one go. Called by beat at start and on every change, and by ``wms sites validate``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path

from wms_tasks.errors import SitesFileError
from wms_tasks.sites.check import Check
from wms_tasks.sites.folder import ENDINGS, files_of
from wms_tasks.sites.problems import Broken, Problem, Problems
from wms_tasks.sites.record import Site
from wms_tasks.sites.url import host_of
from wms_tasks.sites.watch import signature
from wms_tasks.sites.whole import Whole
from wms_tasks.sites.yaml_reader import YamlReader

MAX_FILE_BYTES = 256 * 1024**2  # ten times what 100,000 sites with headers and patterns take
# What YAML 1.1 calls not printable; looked for here because libyaml tells no line.
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class SitesFile:
    """
    A file, or all files of a folder, without a problem. Both lists in the order of the files, by name, and in theirs;
    ``spacings_seconds`` is ``hosts:``, by `host_of`.
    """

    sites: tuple[Site, ...]
    disabled: tuple[Site, ...]
    spacings_seconds: dict[str, float]

    @property
    def hosts(self) -> int:
        """How many hosts the enabled sites are on."""
        return len({host_of(site.url) for site in self.sites})

    @property
    def probes_per_second(self) -> float:
        """What the enabled sites ask for, without retries."""
        return sum(1 / site.interval_seconds for site in self.sites)


def load_sites(path: Path) -> tuple[Site, ...]:
    """
    The enabled sites, in the order of `SitesFile`.

    Raises:
        SitesFileError: with every problem, each ``file:line: what is wrong (what to do)``, by line.
    """
    return load_file(path).sites


def load_file(path: Path) -> SitesFile:
    """
    All of the file, or of the folder's files.

    Raises:
        SitesFileError: as `load_sites`.
    """
    found, problems = examine(path)
    if found is None:
        raise SitesFileError(tuple(problem.at(path) for problem in problems))
    return found


def examine(path: Path) -> tuple[SitesFile | None, tuple[Problem, ...]]:
    """What is written, or what is wrong with it. Read again if somebody wrote meanwhile: half a file may look whole."""
    for _ in range(3):
        before = signature(path)
        answer = _examine_once(path)
        is_pipe = not path.is_file() and not path.is_dir()
        if signature(path) == before or is_pipe:  # a pipe changes by being read, and has nothing twice
            return answer
    return None, (Problem(line=0, text="is being written to (try again when that is done)"),)


def _examine_once(path: Path) -> tuple[SitesFile | None, tuple[Problem, ...]]:
    try:
        files = files_of(path)
    except OSError as error:
        return None, (Problem(line=0, text=f"cannot be read: {error.strerror}"),)
    if not files:
        return None, (Problem(line=0, text=f"is a folder without a sites file (*{' or *'.join(ENDINGS)})"),)
    is_folder = path.is_dir()
    return _examine_all([(file if is_folder else None, partial(read_bytes, file)) for file in files])


def examine_text(text: str) -> tuple[SitesFile | None, tuple[Problem, ...]]:
    """As `examine`, of a file with this text."""
    return _examine_all([(None, text.encode)])


def _examine_all(
    files: Sequence[tuple[Path | None, Callable[[], bytes]]],
) -> tuple[SitesFile | None, tuple[Problem, ...]]:
    """Each file by its path, as in `Problem`, and what reads it."""
    whole = Whole()
    problems = [Problems(path) for path, _ in files]
    checks = [_read_one(read, found, whole) for (_, read), found in zip(files, problems, strict=True)]
    if None not in checks:  # else what seems to be missing may stand in what could not be read
        for check in filter(None, checks):
            check.build()
        whole.finish()
    told = tuple(chain.from_iterable(found.in_order() for found in problems))
    if not told and not whole.enabled and not whole.disabled:
        told = (Problem(line=0, text="there are no sites in its files"),)
    return (None, told) if told else (_outcome(whole), ())


def _read_one(read: Callable[[], bytes], problems: Problems, whole: Whole) -> Check | None:
    """The file, read; None where it could not be read to its end."""
    check = Check(problems, whole, may_lack_sites=problems.path is not None)
    try:
        reader = YamlReader(read(), problems, stream_key="sites", on_item=check.site)
        check.finish(reader.read())
    except Broken as broken:
        problems.end(broken)
        return None
    return check


def _outcome(whole: Whole) -> SitesFile:
    return SitesFile(
        sites=tuple(whole.enabled), disabled=tuple(whole.disabled), spacings_seconds=whole.spacings_seconds
    )


def read_bytes(path: Path) -> bytes:
    """
    The text of one file, which is UTF-8.

    Raises:
        Broken: it cannot be read, or is no text.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        raise Broken(0, "there is no such file") from None
    except (OSError, ValueError) as error:
        raise Broken(0, f"cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if len(data) > MAX_FILE_BYTES:
        raise Broken(0, f"is larger than {MAX_FILE_BYTES // 1024**2} MiB")
    _refuse_other_text(data)
    return data


def _refuse_other_text(data: bytes) -> None:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise Broken(line, f"is not UTF-8: byte 0x{data[error.start]:02x} (save the file as UTF-8)") from None
    found = _UNPRINTABLE.search(text.removeprefix("\ufeff"))
    if found:
        line = text.count("\n", 0, found.start()) + 1
        raise Broken(line, f"holds the control character U+{ord(found[0]):04X} (take it out)")
