"""
What is wrong with files of certificates and keys (PEM), one line each. Reads them; knows nothing of who uses them.

A key that others may read is refused; its group may, as Kubernetes' fsGroup wants it.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import load_pem_private_key


class _Unusable(Exception):  # noqa: N818 - reads as what it says
    """Nothing can be done with a file; the message is the line."""


def authority_faults(path: Path, now: datetime) -> Iterator[str]:
    """Of a file of authorities. One that is valid is enough: while they change, the old stands beside the new."""
    try:
        ages = [_age(certificate, now) for certificate in _certificates(path)]
    except _Unusable as error:
        yield str(error)
        return
    if None not in ages:
        yield f"{path}: {ages[0]}"


def identity_faults(certificate: Path, key: Path, now: datetime, *, password: str | None = None) -> Iterator[str]:
    """Of our certificate, whose first is ours and any others its issuers, and of its key; the two may be one file."""
    leaf, private = None, None
    try:
        leaf = _certificates(certificate)[0]
        if (age := _age(leaf, now)) is not None:
            yield f"{certificate}: {age}"
    except _Unusable as error:
        yield str(error)
    try:
        if (mode := stat.S_IMODE(key.stat().st_mode)) & 0o007:
            yield f"{key}: may be read by others (mode {mode:04o}): chmod 600"
        private = _key(key, password)
    except OSError as error:
        yield _unread(key, error)
    except _Unusable as error:
        yield str(error)
    if leaf is not None and private is not None and leaf.public_key() != private.public_key():
        yield f"{key}: is not the key of {certificate}"


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise _Unusable(_unread(path, error)) from error


def _unread(path: Path, error: OSError) -> str:
    return f"{path}: {'is not there' if isinstance(error, FileNotFoundError) else f'cannot be read: {error.strerror}'}"


def _certificates(path: Path) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(_read(path))
    except ValueError:
        raise _Unusable(f"{path}: holds no certificate in PEM") from None


def _key(path: Path, password: str | None) -> PrivateKeyTypes:
    pem = _read(path)
    try:
        return load_pem_private_key(pem, password.encode() if password and b"ENCRYPTED" in pem else None)
    except TypeError:
        raise _Unusable(f"{path}: is encrypted, and no password is set") from None
    except (ValueError, UnsupportedAlgorithm):
        raise _Unusable(f"{path}: holds no key in PEM, or its password is another") from None


def _age(certificate: x509.Certificate, now: datetime) -> str | None:
    """Why it is not valid now, if so."""
    if now > certificate.not_valid_after_utc:
        return f"expired at {certificate.not_valid_after_utc:%Y-%m-%d %H:%MZ}"
    if now < certificate.not_valid_before_utc:
        return f"is not valid before {certificate.not_valid_before_utc:%Y-%m-%d %H:%MZ}"
    return None
