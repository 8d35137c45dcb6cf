"""
What to apply and what to roll back: decided from names alone. Pure; ``migrate.py`` carries it out.

Ids are ``NNNN.name`` and sort by their number. A target may be written as its number alone; ``0000`` is before the
first.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from wms_tasks.errors import MigrationError

NOTHING = "0000"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """In the order of doing. ``newer``: applied, and unknown to this release, and to be left alone."""

    apply: tuple[str, ...] = ()
    roll_back: tuple[str, ...] = ()
    newer: tuple[str, ...] = ()


def resolve(target: str, known: Collection[str]) -> str:
    """
    The full id a target means.

    Raises:
        MigrationError: none, with those that are known.
    """
    if target.strip("0") == "" and target:
        return NOTHING
    found = sorted(i for i in known if i == target or i.split(".")[0] == target)
    if len(found) != 1:
        raise MigrationError(
            f"no migration {target!r}; known are {', '.join(sorted(known)) or 'none'}",
            hint="WMS_SCHEMA_TARGET and --to take one of these ids, or its number; 0000 is before the first",
        )
    return found[0]


def plan(*, files: Collection[str], applied: Collection[str], target: str | None) -> Plan:
    """
    With a target: bring the schema exactly there. Without: apply what is missing, never roll back.

    Args:
        files: ids this release carries.
        applied: ids the database has.
    Raises:
        MigrationError: the target is unknown.
    """
    missing = sorted(set(files) - set(applied))
    if target is None:
        return Plan(apply=tuple(missing), newer=tuple(sorted(set(applied) - set(files))))
    goal = resolve(target, {*files, *applied})
    return Plan(
        apply=tuple(i for i in missing if i <= goal),
        roll_back=tuple(sorted((i for i in applied if i > goal), reverse=True)),
        newer=tuple(sorted(i for i in set(applied) - set(files) if i <= goal)),
    )


def plan_up(files: Collection[str], applied: Collection[str], target: str | None) -> Plan:
    """Only apply: what is missing up to the target, by default all."""
    whole = plan(files=files, applied=applied, target=target)
    return Plan(apply=whole.apply, newer=whole.newer)


def plan_down(files: Collection[str], applied: Collection[str], target: str | None) -> Plan:
    """Only roll back: what is newer than the target, by default the newest alone."""
    if target is None:
        return Plan(roll_back=tuple(sorted(applied)[-1:]))
    return Plan(roll_back=plan(files=files, applied=applied, target=target).roll_back)
