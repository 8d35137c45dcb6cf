"""The frame of a binary COPY (PostgreSQL's documentation, COPY, File Formats), in blocks to send. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

# The signature, no flags, no extension; and after the rows, no more columns.
_BEGIN = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
_END = b"\xff\xff"
# Large enough to keep the calls few, small enough to keep the copy of a batch out of memory.
_BLOCK_BYTES = 128 * 1024


def blocks(rows: Iterable[bytes]) -> Iterator[bytes]:
    """All of a COPY of these rows, each as persist/copy_row.py makes it."""
    block, size = [_BEGIN], 0
    for row in rows:
        block.append(row)
        size += len(row)
        if size >= _BLOCK_BYTES:
            yield b"".join(block)
            block, size = [], 0
    block.append(_END)
    yield b"".join(block)
