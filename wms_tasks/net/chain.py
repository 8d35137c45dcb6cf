"""
A chain of certificates, read: DER in, `Certificate` out. Imported by certificate.py when the first one comes, since
cryptography is 8 MB, which whoever has no https does without.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Sequence

from cryptography import x509

from wms_tasks.net.redact import one_line
from wms_tasks.result import Certificate

# Big providers put 100 names and more into one certificate; this many are kept.
MAX_NAMES = 50
# What cryptography raises for what no authority would sign, but a server may show.
_UNREADABLE = (ValueError, TypeError, x509.InvalidVersion)
_warnings_lock = threading.Lock()


def _names(leaf: x509.Certificate) -> tuple[str, ...]:
    try:
        found = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, x509.DuplicateExtension, x509.UnsupportedGeneralNameType, *_UNREADABLE):
        return ()  # it has none, or none that can be read; whether that matters is for the verification to say
    names = [name.value for name in found if isinstance(name, x509.DNSName | x509.IPAddress)]
    return tuple(one_line(str(name)) for name in names[:MAX_NAMES])


def _name(read: Callable[[], x509.Name]) -> str:
    try:
        return one_line(read().rfc4514_string())
    except _UNREADABLE:
        return "(not readable)"


def read_chain(chain: Sequence[bytes]) -> Certificate | None:
    """
    What `chain` says; None where it is no certificate that can be read.

    Args:
        chain: DER, the peer's own first, at least one.
    """
    with _warnings_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of numbers and names that no certificate should have; not ours to mend
        return _read(chain)


def _read(chain: Sequence[bytes]) -> Certificate | None:
    try:
        certificates = [x509.load_der_x509_certificate(der) for der in chain]
        ends = [certificate.not_valid_after_utc for certificate in certificates]
    except _UNREADABLE:
        return None
    leaf = certificates[0]
    return Certificate(
        subject=_name(lambda: leaf.subject),
        issuer=_name(lambda: leaf.issuer),
        names=_names(leaf),
        expires_at=ends[0],
        chain_expires_at=min(ends),
    )
