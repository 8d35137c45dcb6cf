"""
The message from beat to a worker: probe this site for this slot. One `ProbeOrder` is one slot's whole state.

It is re-sent with more in it while the slot is worked on: ``turn_at`` once the host's politeness gave us an instant,
``last`` after a transient failure, ``result`` once only publishing is left, so that a fault of ours never probes a
stranger's site twice.

A worker that does not know all of an order must not fill it: it would leave out an expectation and report up. Such an
order is read as a `NewerOrder`, which goes back to the queue untouched, for a newer worker.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from wms_tasks.prepared import prepared
from wms_tasks.result import Result
from wms_tasks.sites.record import Site, digest_of, plain

# The newest that this release knows; sites/known_since.py says what is new in which.
ORDER_VERSION = 3


@prepared
class ProbeOrder(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """
    A slot to fill. Instants are aware UTC; after ``expires_at`` nobody may begin anything for this slot.

    ``version``: the least that a worker must know, `wms_tasks.sites.known_since.version_of` the site. ``turn_at``: one
    request to the host may be made at that instant without asking for another turn. ``last``: what the attempt before
    saw; it ends the slot where no further attempt can begin. ``result``: the slot's end, to publish.
    """

    version: int = 1
    site: Site
    scheduled_at: datetime
    due_at: datetime
    expires_at: datetime
    turn_at: datetime | None = None
    last: Result | None = None
    result: Result | None = None

    @property
    def in_hand(self) -> Result | None:
        """What ends the slot where nothing more can be done for it."""
        return self.result or self.last

    @property
    def spec_digest(self) -> str:
        """Of its site."""
        return self.site.digest()

    def shown(self) -> str:
        """The order in a line for logs and Flower: site and slot, nothing that could be secret."""
        return _shown(self.site.name, self.scheduled_at)

    def to_message(self) -> dict[str, Any]:
        """Plain JSON types, as Celery's kwargs want them."""
        message: dict[str, Any] = msgspec.to_builtins(self)
        return message | {"site": plain(self.site)}

    @classmethod
    def from_message(cls, message: dict[str, Any]) -> ProbeOrder:
        """
        The inverse of `to_message`, of an order that this release knows; see `read_order` for any.

        Raises:
            msgspec.ValidationError: it is none.
        """
        return msgspec.convert(message, cls)


@prepared
class NamedSite(msgspec.Struct, frozen=True, kw_only=True):
    """What every release's site has."""

    site_id: UUID
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NewerOrder:
    """An order that a worker is too old for, as far as it knows it: whose slot it is, and until when. ``why`` it is."""

    site: NamedSite
    scheduled_at: datetime
    due_at: datetime
    expires_at: datetime
    in_hand: Result | None
    spec_digest: str
    why: str
    message: dict[str, Any] = field(repr=False)

    def shown(self) -> str:
        """As `ProbeOrder.shown`."""
        return _shown(self.site.name, self.scheduled_at)

    def to_message(self) -> dict[str, Any]:
        """The very message that it came in, with all that is unknown here."""
        return self.message


Order = ProbeOrder | NewerOrder


@prepared
class _Head(msgspec.Struct, frozen=True, kw_only=True):
    """What every release's order has."""

    version: int = 1
    site: NamedSite
    scheduled_at: datetime
    due_at: datetime
    expires_at: datetime
    last: Result | None = None
    result: Result | None = None


def read_order(message: dict[str, Any]) -> Order:
    """
    The order, or as much of it as is known of one with a higher version or with a field that this release has not.

    Raises:
        msgspec.ValidationError: neither.
    """
    try:
        order = ProbeOrder.from_message(message)
    except msgspec.ValidationError as error:
        head = msgspec.convert(message, _Head)
        if head.version <= ORDER_VERSION and "unknown field" not in str(error):
            raise
        why = str(error)
    else:
        if order.version <= ORDER_VERSION:
            return order
        head = msgspec.convert(message, _Head)
        why = "all of its fields are known"
    return _newer(head, message, why=f"its version is {head.version}, and this release's is {ORDER_VERSION}; {why}")


def _newer(head: _Head, message: dict[str, Any], *, why: str) -> NewerOrder:
    return NewerOrder(
        site=head.site,
        scheduled_at=head.scheduled_at,
        due_at=head.due_at,
        expires_at=head.expires_at,
        in_hand=head.result or head.last,
        spec_digest=digest_of(message["site"]),
        why=why,
        message=message,
    )


def _shown(name: str, scheduled_at: datetime) -> str:
    return f"({name!r}, {scheduled_at.isoformat()!r})"
