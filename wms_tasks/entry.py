"""What each role and command begins with: its settings, with what Aiven knows of them, and TLS that verifies."""

from __future__ import annotations

from wms_tasks.aiven import obtain
from wms_tasks.aiven.facts import Need, Role
from wms_tasks.settings import Settings, get_settings
from wms_tasks.tls_check import require


def settings_of(role: Role, *needs: Need) -> Settings:
    """
    The process's settings, ready for the use of these services.

    Raises:
        WmsError: in one line, or one for each fault, none of which holds a secret.
    """
    settings = obtain(get_settings(), role, *needs)
    return require(settings, *(need for need in needs if need != "registry"))
