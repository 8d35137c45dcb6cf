"""Certificates of a test authority (trustme), good and bad, and the contexts that show them."""

from __future__ import annotations

import ssl
import warnings
from datetime import UTC, datetime, timedelta
from typing import Any

import trustme
from cryptography.hazmat.primitives import serialization

NOW = datetime.now(UTC).replace(microsecond=0)
PAST = NOW - timedelta(days=2)
SOON = NOW + timedelta(days=5)
AUTHORITY = trustme.CA()
CA = AUTHORITY.cert_pem.bytes().decode()


def key_of(leaf: trustme.LeafCert) -> str:
    """Its private key, PEM."""
    return leaf.private_key_pem.bytes().decode()


def chain_of(leaf: trustme.LeafCert) -> str:
    """Its certificates, PEM."""
    return "".join(blob.bytes().decode() for blob in leaf.cert_chain_pems)


def in_front(leaf: trustme.LeafCert, **settings: Any) -> ssl.SSLContext:
    """A server's context with `leaf`; `settings` are attributes of it."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    leaf.configure_cert(context)
    for name, value in settings.items():
        setattr(context, name, value)
    return context


def only_tls_1_1(leaf: trustme.LeafCert) -> ssl.SSLContext:
    """A server that was not updated for ten years."""
    context = in_front(leaf)
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1_1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    return context


def self_signed() -> trustme.LeafCert:
    """An authority's own certificate, shown as a server's."""
    own = trustme.CA(organization_name="Self")
    key = own._private_key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return trustme.LeafCert(key, own.cert_pem.bytes(), [])


def without_intermediate() -> trustme.LeafCert:
    """The chain that a server shows when whoever set it up forgot the middle."""
    leaf = AUTHORITY.create_child_ca().issue_cert("127.0.0.1", not_after=SOON)
    return trustme.LeafCert(leaf.private_key_pem.bytes(), leaf.cert_chain_pems[0].bytes(), [])
