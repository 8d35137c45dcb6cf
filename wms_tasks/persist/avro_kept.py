"""What a site keeps (kept.py), of a datum of Avro: from the schema version to its end. Pure; for avro_row.py."""

from __future__ import annotations

from uuid import UUID

from wms_tasks.persist.avro_value import THERE, Unusual, instant, number, text, text_or_none
from wms_tasks.persist.kept import Kept
from wms_tasks.result import Certificate


def kept_of(value: bytes) -> Kept:
    """
    All of these bytes, with the fields in the order of `Kept`; a third of the time that fastavro takes for them.

    Raises:
        Unusual, IndexError, ValueError, OverflowError: rows.py says whether it is none, or only rare.
    """
    schema_version, at = number(value, 0)
    site_id, at = text(value, at)
    site_name, at = text(value, at)
    location, at = text(value, at)
    spec_digest, at = text(value, at)
    address, at = text_or_none(value, at)
    http_version, at = text_or_none(value, at)
    tls_version, at = text_or_none(value, at)
    tls_cipher, at = text_or_none(value, at)
    content_type, at = text_or_none(value, at)
    certificate, at = _certificate(value, at)
    if at != len(value):
        raise Unusual
    return Kept(
        schema_version=schema_version,
        site_id=UUID(site_id),
        site_name=site_name,
        location=location,
        spec_digest=spec_digest,
        address=address,
        http_version=http_version,
        tls_version=tls_version,
        tls_cipher=tls_cipher,
        content_type=content_type,
        certificate=certificate,
    )


def _certificate(value: bytes, at: int) -> tuple[Certificate | None, int]:
    if not value[at]:
        return None, at + 1
    if value[at] != THERE:
        raise Unusual
    subject, at = text(value, at + 1)
    issuer, at = text(value, at)
    names, at = _texts(value, at)
    expires_at, at = instant(value, at)
    chain_expires_at, at = instant(value, at)
    found = Certificate(
        subject=subject, issuer=issuer, names=names, expires_at=expires_at, chain_expires_at=chain_expires_at
    )
    return found, at


def _texts(value: bytes, at: int) -> tuple[tuple[str, ...], int]:
    """An array of one block, as fastavro writes it."""
    count, at = number(value, at)
    if not count:
        return (), at
    found = []
    for _ in range(count):
        one, at = text(value, at)
        found.append(one)
    if value[at]:
        raise Unusual
    return tuple(found), at + 1
