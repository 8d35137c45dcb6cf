"""
What the text of a request's own keys may be: ``body``, ``auth``, ``tls``. Every function returns what to keep, or says
in one line what is wrong and what to write instead; no value is repeated that may be a secret. Pure; used by spec.py.
"""

from __future__ import annotations

import ssl
from functools import lru_cache

from wms_tasks.sites.references import check_is_reference, check_references, references
from wms_tasks.sites.text_rules import refuse_control
from wms_tasks.sites.url import normal_host

MAX_BODY_BYTES = 64 * 1024
MAX_CA_BYTES = 256 * 1024  # some hundred authorities; it travels in every message of the site
MAX_USERNAME_CHARACTERS = 255


def check_body(text: str) -> str:
    """
    A body to send, as UTF-8; references in it are those of references.py.

    Raises:
        ValueError: too long, no Unicode text, or a bad reference.
    """
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise ValueError("holds half a character, which UTF-8 cannot carry") from None
    if size > MAX_BODY_BYTES:
        raise ValueError(f"is {size:,} bytes long (at most {MAX_BODY_BYTES // 1024} KiB)")
    return check_references(text)


@lru_cache(maxsize=1024)
def check_username(text: str) -> str:
    """
    A user name for basic authentication.

    Raises:
        ValueError: empty, too long, a colon (RFC 7617), a control character, or a reference, which is for secrets.
    """
    if "${" in text:
        raise ValueError("holds ${…}: only the password is a reference (write the username as it is)")
    if ":" in refuse_control(text):
        raise ValueError("holds a colon, which ends a username (RFC 7617)")
    if not 1 <= len(text) <= MAX_USERNAME_CHARACTERS:
        raise ValueError(f"has 1 to {MAX_USERNAME_CHARACTERS} characters, not {len(text)}")
    return text


@lru_cache(maxsize=1024)
def check_server_name(text: str) -> str:
    """
    A host name, in `host_of`'s form, for SNI and for the certificate.

    Raises:
        ValueError: not a host name alone.
    """
    return normal_host(text)


@lru_cache(maxsize=64)
def check_ca(text: str) -> str:
    """
    Certificates in PEM, or a reference to them.

    Raises:
        ValueError: neither, or a certificate that OpenSSL does not read.
    """
    if references(text):
        return check_is_reference(text)
    if "-----BEGIN " not in text:
        raise ValueError("is no certificate (write its PEM text, or ${file:name} to have it read)")
    if "PRIVATE KEY" in text:
        raise ValueError("holds a private key, which would show in queues and dashboards (take it out, and change it)")
    if len(text) > MAX_CA_BYTES:
        raise ValueError(f"is {len(text):,} bytes long (at most {MAX_CA_BYTES // 1024} KiB)")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=text)
    except (ssl.SSLError, ValueError) as error:
        raise ValueError("is no certificate that OpenSSL reads (is its PEM text whole?)") from error
    return text
