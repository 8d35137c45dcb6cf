"""What each role and command begins with: its settings, with what Aiven knows of them, and TLS that verifies."""

from __future__ import annotations

from collections.abc import Collection

from wms_tasks.aiven import obtain
from wms_tasks.aiven.facts import Need, Role
from wms_tasks.names import HOUSEKEEPING_QUEUE, PROBE_QUEUE
from wms_tasks.settings import Settings, get_settings
from wms_tasks.tls_check import require


def settings_of(role: Role, *needs: Need) -> Settings:
    """
    The process's settings, ready for the use of these services.

    Raises:
        WmsError: in one line, or one for each fault, none of which holds a secret.
    """
    return require(obtain(get_settings(), role, *needs), *needs)


def worker_uses(queues: Collection[str], *, persist: bool) -> tuple[Role, tuple[Need, ...]]:
    """As whom a worker with these queues works, and what it uses beside Redis, which was seen to when Celery began."""
    needs: list[Need] = ["kafka"] if persist or {PROBE_QUEUE, HOUSEKEEPING_QUEUE} & set(queues) else []
    needs += ["postgres"] if persist else []
    needs += ["housekeeping"] if HOUSEKEEPING_QUEUE in queues else []
    return ("persist" if persist or HOUSEKEEPING_QUEUE in queues else "worker"), tuple(needs)


def own_queue(*, persist: bool) -> str:
    """What a worker takes from where -Q names nothing."""
    return HOUSEKEEPING_QUEUE if persist else PROBE_QUEUE
