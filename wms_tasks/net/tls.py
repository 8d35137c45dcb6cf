"""
How https is spoken: a context for a site's options, and the handshake, which notes what the peer showed.

A context holds all authorities and takes some 30 ms and 1 MB to make, so each is made once. Used by connection.py and
fetch.py.
"""

from __future__ import annotations

import os
import socket
import ssl
import tempfile
import threading
import warnings
from _ssl import ENCODING_DER
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from typing import Any

import certifi
import msgspec

from wms_tasks.net.progress import Progress
from wms_tasks.sites.record import TlsOptions

# Of distinct options; sites without any share one context beside these.
MAX_CONTEXTS = 64

_VERSIONS = {
    "1.0": ssl.TLSVersion.TLSv1,
    "1.1": ssl.TLSVersion.TLSv1_1,
    "1.2": ssl.TLSVersion.TLSv1_2,
    "1.3": ssl.TLSVersion.TLSv1_3,
}
# Before 1.2, signatures are made with SHA-1, which OpenSSL refuses above this level.
_OLD_CIPHERS = "DEFAULT:@SECLEVEL=0"
# Ciphers that exist in one version only, so that they tell it also before the handshake is done.
_TELLING_CIPHERS = frozenset({"TLSv1.2", "TLSv1.3"})
_warnings_lock = threading.Lock()


class BadTlsOptions(ValueError):  # noqa: N818 - mapped to a reason
    """A site's TLS options are of no use; the message is one line that names the key and holds no secret."""


def _base(ca: str | None) -> ssl.SSLContext:
    if ca is not None and not ca.strip():
        raise BadTlsOptions("tls.ca is empty")
    try:
        context = ssl.create_default_context(cadata=ca)
    except (ssl.SSLError, ValueError, TypeError) as error:
        raise BadTlsOptions("tls.ca holds no certificates in PEM") from error
    if ca is None:
        context.load_verify_locations(certifi.where())
    # Python 3.13 began to set both. A verdict must not depend on the worker's Python, and visitors' browsers are not
    # strict; a partial chain lets an intermediate, or the certificate itself, be the authority.
    context.verify_flags &= ~ssl.VerifyFlags.VERIFY_X509_STRICT
    context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    context.set_alpn_protocols(["http/1.1"])
    return context


@lru_cache(maxsize=1)
def default_ssl_context() -> ssl.SSLContext:
    """The system's certificate authorities (SSL_CERT_FILE and SSL_CERT_DIR name others) and certifi's."""
    return _base(None)


@contextmanager
def _as_file(pem: str) -> Iterator[str]:
    """A path to read `pem` from, which OpenSSL wants; in memory where the system can, so that no key meets a disk."""
    with ExitStack() as stack:
        if hasattr(os, "memfd_create"):
            file: Any = stack.enter_context(os.fdopen(os.memfd_create("wms"), "w", encoding="utf-8"))
            path = f"/proc/self/fd/{file.fileno()}"
        else:
            file = stack.enter_context(tempfile.NamedTemporaryFile("w", encoding="utf-8"))
            path = file.name
        file.write(pem)
        file.flush()
        yield path


def _no_password() -> bytes:
    """OpenSSL would ask on the terminal for the password of an encrypted key, and wait for ever."""
    raise ValueError("the key is encrypted")


def _identify(context: ssl.SSLContext, options: TlsOptions) -> None:
    if options.certificate is None:
        if options.key is not None:
            raise BadTlsOptions("tls.key is of no use without tls.certificate")
        return
    with ExitStack() as stack:
        certificate = stack.enter_context(_as_file(options.certificate))
        key = None if options.key is None else stack.enter_context(_as_file(options.key))
        try:
            context.load_cert_chain(certificate, key, password=_no_password)
        except ssl.SSLError as error:
            raise BadTlsOptions("tls.certificate and tls.key are no pair in PEM") from error
        except ValueError as error:  # _no_password's
            raise BadTlsOptions("tls.key is encrypted") from error


def _limit(context: ssl.SSLContext, options: TlsOptions) -> None:
    # Python warns of versions before 1.2; whoever names one in a site's options knows.
    with _warnings_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        if options.min_version is not None:
            context.minimum_version = _VERSIONS[options.min_version]
        if options.max_version is not None:
            context.maximum_version = _VERSIONS[options.max_version]
    if {"1.0", "1.1"} & {options.min_version, options.max_version}:
        context.set_ciphers(_OLD_CIPHERS)


@lru_cache(maxsize=MAX_CONTEXTS)
def _context(options: TlsOptions) -> ssl.SSLContext:
    context = _base(options.ca)
    _limit(context, options)
    _identify(context, options)
    if not options.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def context_for(options: TlsOptions) -> ssl.SSLContext:
    """
    The context for `options`, references resolved; made once for each, whatever its server name.

    Raises:
        BadTlsOptions: an authority, certificate or key is not what it should be.
    """
    return _context(msgspec.structs.replace(options, server_name=None))


def _note(wrapped: ssl.SSLSocket, progress: Progress) -> None:
    """What the peer showed, as far as the handshake came. OpenSSL keeps certificates also where it trusts none."""
    session: Any = wrapped._sslobj  # type: ignore[attr-defined]
    if session is None:  # the connection was over before there was anything to shake
        return
    shown = session.get_unverified_chain() or ()
    progress.chain = tuple(certificate.public_bytes(ENCODING_DER) for certificate in shown)
    cipher = wrapped.cipher()
    if cipher is not None:
        progress.tls_cipher = cipher[0]
        certain = cipher[1] if cipher[1] in _TELLING_CIPHERS else None
        progress.tls_version = wrapped.version() or certain


def handshake(live: socket.socket, context: ssl.SSLContext, server_name: str, progress: Progress) -> ssl.SSLSocket:
    """
    TLS over `live`, which it takes over, as a client that wants `server_name`; progress gets what the peer showed,
    also where this fails.

    Raises:
        ssl.SSLError: it failed; SSLCertVerificationError where the certificate is not good.
        OSError: the connection failed, or its timeout passed.
        BadTlsOptions: the server name cannot be one.
    """
    try:
        server_name.encode("idna")  # as wrap_socket does it, which leaves the connection open when it fails there
        wrapped = context.wrap_socket(live, server_hostname=server_name, do_handshake_on_connect=False)
    except ValueError as error:  # UnicodeError is one
        live.close()
        raise BadTlsOptions("tls.server_name cannot be a name") from error
    try:
        try:
            wrapped.do_handshake()
        finally:
            _note(wrapped, progress)
    except BaseException:
        wrapped.close()
        raise
    return wrapped
