"""
What tells one site's way to an origin from another's. Pure.

A copy of a robots.txt, or a trouble with it, is of a way and not of an origin alone: without an authority of its own,
the next site may fail where this one does not, and another address family may lead to another server.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

import msgspec

from wms_tasks.net.redirect import IpChoice
from wms_tasks.sites.record import Site, TlsOptions

_USUAL_TLS = TlsOptions()


def way_of(site: Site) -> str:
    """``""`` for the usual way, else a digest of the site's ``tls`` and ``ip``."""
    return "" if site.tls == _USUAL_TLS and site.ip == "any" else _digest(site.tls, site.ip)


@lru_cache(maxsize=1024)
def _digest(tls: TlsOptions, ip: IpChoice) -> str:
    # Of the references, as written: a store must not hold what could be compared with a secret.
    return hashlib.sha256(msgspec.json.encode((tls, ip), order="sorted")).hexdigest()[:16]
