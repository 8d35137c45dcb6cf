"""
Reads a large sites file in a process of its own, for beat: 100,000 sites are four seconds of pure computing and 240 MB,
which would hold its interpreter while slots fall due, and its memory for ever.

The process writes the sites as msgpack, a few at a time, or the problems; it ends by itself, also where nobody listens.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import IO

import msgspec

from wms_tasks.errors import SitesFileError
from wms_tasks.sites.file import load_sites
from wms_tasks.sites.folder import files_of
from wms_tasks.sites.record import Site

# Some 10,000 sites: below that, half a second for a Python to start is more than reading takes.
LARGE_BYTES = 1024 * 1024
# Decoded at a time: a few milliseconds.
_PART_SITES = 500
_LENGTH_BYTES = 4


class _Part(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Of what was read. The ``last`` part says that it is all."""

    sites: tuple[Site, ...] = ()
    problems: tuple[str, ...] = ()
    last: bool = False


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Part).decode


def read_sites(path: Path) -> Iterator[Site]:
    """
    As `load_sites`, here or apart.

    Raises:
        SitesFileError: likewise; maybe after some of the sites.
    """
    return _read_apart(path) if _size_bytes(path) >= LARGE_BYTES else iter(load_sites(path))


def _size_bytes(path: Path) -> int:
    """Of the file, or of a folder's; 0 where it cannot be had: reading says why."""
    with suppress(OSError):
        return sum(file.stat().st_size for file in files_of(path))
    return 0


def _read_apart(path: Path) -> Iterator[Site]:
    # Not in our process group: a Ctrl-C is for us.
    command = [sys.executable, "-m", __name__, str(path)]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout is not None
        try:
            yield from _sites_of(process.stdout, path)
        finally:
            process.kill()  # whoever stopped asking wants no more of it


def _sites_of(stream: IO[bytes], path: Path) -> Iterator[Site]:
    while head := stream.read(_LENGTH_BYTES):
        try:
            part = _decode(stream.read(int.from_bytes(head, "big")))
        except msgspec.MsgspecError:
            break
        if part.problems:
            raise SitesFileError(part.problems)
        yield from part.sites
        if part.last:
            return
    raise SitesFileError((f"{path}: the process that reads it ended before it had (out of memory?)",))


def _parts(path: Path) -> Iterator[_Part]:
    try:
        sites: Iterable[Site] = iter(load_sites(path))
    except SitesFileError as error:
        yield _Part(problems=error.problems)
        return
    while part := tuple(islice(sites, _PART_SITES)):
        yield _Part(sites=part)
    yield _Part(last=True)


def main(argv: list[str]) -> None:
    """The process: read the file that is named, write parts, each after its length."""
    with suppress(BrokenPipeError):
        for part in _parts(Path(argv[1])):
            encoded = _encode(part)
            sys.stdout.buffer.write(len(encoded).to_bytes(_LENGTH_BYTES, "big") + encoded)
            sys.stdout.buffer.flush()


if __name__ == "__main__":
    main(sys.argv)
