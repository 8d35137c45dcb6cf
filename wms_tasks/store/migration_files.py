"""
The migrations this release carries: ``NNNN.name.sql`` with ``NNNN.name.rollback.sql`` beside it.

Found where the wheel puts them (``wms_tasks/migrations``) or, in a checkout and an editable install, beside the
package: there the mapped package ``wms_tasks.migrations`` cannot be imported.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from wms_tasks.errors import MigrationError

_PACKAGE = Path(__file__).resolve().parent.parent
_ROLLBACK = ".rollback.sql"
_NOT_TRANSACTIONAL = re.compile(r"^\s*--\s*transactional\s*:\s*false\s*$", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationFile:
    """One migration. ``transactional``: whether yoyo runs it, and its rollback, in a transaction."""

    migration_id: str
    path: Path
    rollback_sql: str
    transactional: bool

    @property
    def sha256(self) -> str:
        """Of the rollback."""
        return digest(self.rollback_sql)


def digest(rollback_sql: str) -> str:
    """sha256 in hex."""
    return hashlib.sha256(rollback_sql.encode()).hexdigest()


def folder() -> Path:
    """
    The folder with this release's migrations.

    Raises:
        MigrationError: the package was installed without them.
    """
    for candidate in (_PACKAGE / "migrations", _PACKAGE.parent / "migrations"):
        if any(candidate.glob("[0-9]*.sql")):
            return candidate
    raise MigrationError(f"no migrations in {_PACKAGE / 'migrations'}: this installation is incomplete")


def migration_files(where: Path) -> tuple[MigrationFile, ...]:
    """
    The migrations in a folder, oldest first.

    Raises:
        MigrationError: one lacks its rollback.
    """
    paths = sorted(p for p in where.glob("[0-9]*.sql") if not p.name.endswith(_ROLLBACK))
    return tuple(_read(path) for path in paths)


def _read(path: Path) -> MigrationFile:
    rollback = path.with_name(path.name.removesuffix(".sql") + _ROLLBACK)
    if not rollback.is_file():
        raise MigrationError(f"{path.name} has no {rollback.name} beside it")
    return MigrationFile(
        migration_id=path.name.removesuffix(".sql"),
        path=path,
        rollback_sql=rollback.read_text(encoding="utf-8"),
        transactional=not _NOT_TRANSACTIONAL.search(path.read_text(encoding="utf-8")),
    )
