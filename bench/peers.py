"""Programs that ours are held against, where they are not packages of a system: built by `make bench-peers`."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.figure import PeerMissing

BIN = Path.home() / ".cache" / "wms" / "bench" / "bin"


# Has the packages of bench/asyncio_peer.
_ASYNCIO_PYTHON = BIN.parent / "asyncio" / "bin" / "python"


def asyncio_python() -> Path:
    """
    The Python that runs bench/asyncio_peer.

    Raises:
        PeerMissing: it was not made.
    """
    if not _ASYNCIO_PYTHON.exists():
        raise PeerMissing("aiohttp, aiokafka and asyncpg are not here: make bench-peers")
    return _ASYNCIO_PYTHON


def peer(name: str) -> Path:
    """
    Its program.

    Raises:
        PeerMissing: neither built nor installed.
    """
    found = shutil.which(name, path=str(BIN)) or shutil.which(name)
    if found is None:
        raise PeerMissing(f"{name} is not here: make bench-peers builds it, where Go is")
    return Path(found)


@contextmanager
def explained_by(log: Path) -> Iterator[None]:
    """A failure shows what the peer said last."""
    try:
        yield
    except AssertionError as error:
        error.add_note(log.read_text(errors="replace")[-4_000:])
        raise
