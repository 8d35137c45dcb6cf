"""
Brings the rights of the logins that the settings name to what the schema says (migrations/0007.rights.sql), after each
migration and under its lock. Whoever does not own the schema leaves them alone. Called by migrate.py.
"""

from __future__ import annotations

import json
from typing import Any

import structlog
from psycopg import Connection

from wms_tasks.settings import Settings
from wms_tasks.store.queries import query

_log = structlog.get_logger()


def apply_rights(connection: Connection[Any], settings: Settings) -> None:
    """All or nothing; nothing where nothing differs. A purpose for which no role is named keeps the one it had."""
    row = connection.execute(query("may_apply_rights")).fetchone()
    if not row or not row[0]:
        return
    named = {
        "persist": settings.database_role_persist,
        "housekeeping": settings.database_role_housekeeping,
        "reader": settings.database_role_reader,
    }
    with connection.transaction():
        done = [one for (one,) in connection.execute(query("apply_rights"), {"named": json.dumps(named)})]
    for statement in done:
        _log.debug("migrate.right_changed", statement=statement)
    if done:
        _log.info("migrate.rights_applied", statements=len(done))
    for purpose, role_name in connection.execute(query("holders_not_there")).fetchall():
        hint = f"make the role, or set WMS_DATABASE_ROLE_{purpose.upper()}; then wms migrate up"
        _log.warning("migrate.role_not_there", purpose=purpose, role=role_name, hint=hint)
