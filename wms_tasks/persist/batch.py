"""
When a batch ends: at so many records or bytes, or so long after its first one, whichever comes first. Pure: told the
time and the sizes.

Keeps what it is given in the order given and gives all of it back.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, TypeVar

Record = TypeVar("Record")

# Before one was seen, and so that a batch of tiny records is not read in tiny steps.
_LEAST_BYTES = 1024


class Batch(Generic[Record]):
    """The records since the last batch. ``now`` is a monotonic clock in seconds."""

    def __init__(self, *, max_records: int, max_bytes: int, timeout_seconds: float) -> None:
        self._max_records = max_records
        self._max_bytes = max_bytes
        self._bytes = 0
        self._largest = _LEAST_BYTES
        self._timeout_seconds = timeout_seconds
        self._records: list[Record] = []
        self._ends_at: float | None = None

    def __len__(self) -> int:
        return len(self._records)

    @property
    def room(self) -> int:
        """
        How many records it still takes.

        By size as many as the largest so far suggests: a batch may end up larger than it should be by what one read
        brings, if records grow suddenly.
        """
        return self.room_beside(0)

    def room_beside(self, other_bytes: int) -> int:
        """The same, where so many bytes of other records have to fit in beside it."""
        bytes_left = self._max_bytes - self._bytes - other_bytes
        by_size = max(1, bytes_left // self._largest) if bytes_left > 0 else 0
        return min(self._max_records - len(self._records), by_size)

    @property
    def size_bytes(self) -> int:
        """Of all its records."""
        return self._bytes

    def add(self, records: list[Record], sizes_bytes: Sequence[int], now: float) -> None:
        """
        Append at the end.

        Args:
            sizes_bytes: of each record.
        Raises:
            ValueError: more records than it may have.
        """
        left = self._max_records - len(self._records)
        if len(records) > left:
            raise ValueError(f"{len(records)} records for a batch with room for {left}")
        if records and self._ends_at is None:
            self._ends_at = now + self._timeout_seconds
        self._records += records
        self._bytes += sum(sizes_bytes)
        self._largest = max(self._largest, max(sizes_bytes, default=0))

    def due(self, now: float) -> bool:
        """Whether it has ended. An empty batch never has."""
        return self._ends_at is not None and (self.room == 0 or now >= self._ends_at)

    def seconds_left(self, now: float) -> float | None:
        """Until it ends by time; None while it is empty."""
        return None if self._ends_at is None else max(0.0, self._ends_at - now)

    def give(self) -> list[Record]:
        """Its records, oldest first; it begins the next one."""
        records = self._records
        self.clear()
        return records

    def clear(self) -> None:
        """Drop them, and begin the next one."""
        self._bytes, self._largest = 0, _LEAST_BYTES
        self._records = []
        self._ends_at = None
