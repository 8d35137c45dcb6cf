"""
Shards of beat: ``WMS_SHARD=2/4`` is the second of four, and each schedules its own sites, which follow from their ids
alone. Pure. Beat asks which sites are its own; the ledger, whose word it is that a site's slots were sent.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Self
from uuid import UUID

MAX_SHARDS = 1024
_FORM = re.compile(r"([1-9][0-9]{0,3})/([1-9][0-9]{0,3})")
# A site's id is a uuid5: these bytes are of a SHA-1. store/ledger.sql counts likewise.
_BYTES = 4


@dataclass(frozen=True, slots=True)
class Shard:
    """The ``number``-th of ``count``, from 1."""

    number: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """
        Of ``2/4``.

        Raises:
            ValueError: what is wrong, in one line that does not repeat the text.
        """
        match = _FORM.fullmatch(text.strip())
        if match is None:
            raise ValueError("is no shard; write 2/4 for the second of four, 1/1 for all sites")
        shard = cls(int(match[1]), int(match[2]))
        if shard.count > MAX_SHARDS:
            raise ValueError(f"there are at most {MAX_SHARDS} shards")
        if shard.number > shard.count:
            raise ValueError("is beyond the last shard; they are numbered from 1, so that the last of four is 4/4")
        return shard

    def has(self, site_id: UUID) -> bool:
        """Whether the site is this shard's; of all shards of one count, it is exactly one's."""
        return int.from_bytes(site_id.bytes[:_BYTES], "big") % self.count == self.number - 1

    def key(self, name: str) -> str:
        """A Redis key of this shard's own; where there is but one shard, the plain name."""
        return name if self.count == 1 else f"{name}:{self}"

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"


ALL_SITES = Shard(1, 1)


@lru_cache(maxsize=MAX_SHARDS)
def shard_named(text: str) -> Shard:
    """`Shard.parse`, of texts that were parsed before: what beat says and the database has."""
    return Shard.parse(text)
