"""
What stays the same for a site from result to result: who it is, how it answers, its certificate. Its columns are the
last of a row, so that they are made once and known from then on by the bytes that they came in. Pure.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from datetime import UTC
from uuid import UUID

import msgspec

from wms_tasks.errors import CodecError
from wms_tasks.persist.column import NULL, microseconds, text_of, texts_of
from wms_tasks.persist.fits import check_location
from wms_tasks.prepared import prepared
from wms_tasks.result import SCHEMA_VERSION, Certificate, Result

# Sites, and a little more where something of one changes; some 1.5 KB each.
SITES_MOST = 20_000
# As many refused, then all are forgotten, because sites may be gone, or have changed.
REFUSED_MOST = 20 * SITES_MOST
WORKERS_MOST = 1_000
# A certificate may have a hundred names; of such sites the columns are made each time, or memory would have no bound.
CAME_MOST_BYTES = 2_048

_version_and_id = struct.Struct(">ii i16s").pack
_instants = struct.Struct(">iq iq").pack


@prepared
class Kept(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """These fields of a `Result`, all of them there."""

    schema_version: int
    site_id: UUID
    site_name: str
    location: str
    spec_digest: str
    address: str | None
    http_version: str | None
    tls_version: str | None
    tls_cipher: str | None
    content_type: str | None
    certificate: Certificate | None


def check_kept(of: Kept) -> None:
    """
    What is looked at of a whole result too.

    Raises:
        CodecError, Unstorable: it is no part of one that can be stored.
    """
    if of.schema_version != SCHEMA_VERSION:
        raise CodecError(f"schema version {of.schema_version}")
    certificate = of.certificate
    if certificate and not certificate.expires_at.tzinfo is certificate.chain_expires_at.tzinfo is UTC:
        raise CodecError("an instant is not in UTC")
    check_location(of.location)


def kept_columns(of: Kept | Result) -> bytes:
    """
    From schema_version to certificate_names.

    Raises:
        Unstorable, UnicodeEncodeError: see `text_of`.
    """
    texts = (
        *(of.location, of.site_name, of.spec_digest, of.address),
        *(of.http_version, of.tls_version, of.tls_cipher, of.content_type),
    )
    certificate = of.certificate
    return b"".join(
        (
            _version_and_id(4, of.schema_version, 16, of.site_id.bytes),
            *map(text_of, texts),
            NULL * 5 if certificate is None else _certificate(certificate),
        )
    )


def _certificate(of: Certificate) -> bytes:
    ends = _instants(8, microseconds(of.expires_at), 8, microseconds(of.chain_expires_at))
    return b"".join((ends, text_of(of.subject), text_of(of.issuer), texts_of(of.names)))


class Columns(dict[bytes, bytes]):
    """
    Columns by the bytes that they came in. What is there stays when there is no more room: of more sites than that,
    which come in turn, none would be met again before it gave way to others.
    """

    def __init__(self) -> None:
        super().__init__()
        self._refused = 0

    def keep(self, came: bytes, columns: bytes) -> bytes:
        """These columns; there from now on, if there is room for them."""
        if len(came) <= CAME_MOST_BYTES and self._has_room():
            self[came] = columns
        return columns

    def _has_room(self) -> bool:
        if len(self) >= SITES_MOST:
            self._refused += 1
            if self._refused < REFUSED_MOST:
                return False
            self.clear()
        self._refused = 0
        return True


class Known(Columns):
    """A site's."""

    def __init__(self, decode: Callable[[bytes], Kept]) -> None:
        """
        Args:
            decode: what it raises of bytes that are none comes out of the lookup.
        """
        super().__init__()
        self._decode = decode

    def __missing__(self, came: bytes) -> bytes:
        kept = self._decode(came)
        check_kept(kept)
        return self.keep(came, kept_columns(kept))


class Workers(dict[str | bytes, bytes]):
    """
    Their names as COPY has them, by the text or its bytes.

    Raises:
        UnicodeDecodeError, Unstorable: it is no text, or none that can be stored.
    """

    def __missing__(self, name: str | bytes) -> bytes:
        if len(self) >= WORKERS_MOST:
            self.clear()
        self[name] = found = text_of(name if isinstance(name, str) else name.decode())
        return found
