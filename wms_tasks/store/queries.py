"""
The statements of ``queries.sql`` and ``ledger.sql`` by name. Statements are files, values are parameters: no SQL is put
together here.
"""

from __future__ import annotations

import re
from functools import lru_cache
from importlib import resources

_HEADING = re.compile(r"^-- ([a-z_]+) --$", re.MULTILINE)


@lru_cache(maxsize=1)
def _queries() -> dict[str, bytes]:
    folder = resources.files("wms_tasks.store")
    text = "\n".join(folder.joinpath(name).read_text(encoding="utf-8") for name in ("queries.sql", "ledger.sql"))
    _, *parts = _HEADING.split(text)
    return {name: body.strip().encode() for name, body in zip(parts[::2], parts[1::2], strict=True)}


def query(name: str) -> bytes:
    """The statement under ``-- name --``; bytes, which psycopg takes as written."""
    return _queries()[name]
