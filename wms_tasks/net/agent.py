"""How we introduce ourselves to site owners."""

from __future__ import annotations

from functools import lru_cache
from importlib.metadata import version

from wms_tasks.errors import SettingsError

# What robots.txt files call us (RFC 9309, section 2.2.1).
PRODUCT_TOKEN = "wms"


@lru_cache(maxsize=8)
def user_agent(contact: str) -> str:
    """
    The User-Agent header, as in ``wms/0.1.0 (+https://example.org/about-our-probes)``.

    Raises:
        SettingsError: the contact holds characters that no header may.
    """
    if not contact.isascii() or not contact.isprintable():
        raise SettingsError("WMS_USER_AGENT_CONTACT: only printable ASCII can be sent in User-Agent")
    return f"{PRODUCT_TOKEN}/{version('wms-tasks')} (+{contact})"
