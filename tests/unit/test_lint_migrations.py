"""scripts/lint_migrations.py: what locks, rewrites or takes away is refused, with the line and what to do instead."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "lint_migrations.py"
TIMEOUT = "SET LOCAL lock_timeout = '2s';\n"
ON_ITS_OWN = "-- transactional: false\n"


@pytest.fixture(scope="module")
def linter() -> ModuleType:
    """The script."""
    spec = importlib.util.spec_from_file_location("lint_migrations", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["lint_migrations"] = module
    spec.loader.exec_module(module)
    return module


# (SQL, the line of the fault, its rule, a piece of what to do); all but the first few after TIMEOUT.
BAD = [
    ("ALTER TABLE wms.results ADD COLUMN IF NOT EXISTS x text;", 1, "require-lock-timeout", "SET LOCAL lock_timeout"),
    (
        "SET LOCAL lock_timeout = '10s';\nALTER TABLE wms.results ADD COLUMN x text;",
        1,
        "lock-timeout-too-long",
        "at most 2s",
    ),
    ("SET lock_timeout TO 0;\nALTER TABLE wms.results ADD COLUMN x text;", 1, "lock-timeout-too-long", "at most 2s"),
    (f"{TIMEOUT}\nCREATE INDEX i ON wms.results (detail);", 3, "require-concurrent-index-creation", "CONCURRENTLY"),
    (
        f"{TIMEOUT}CREATE INDEX CONCURRENTLY i ON wms.results (detail);",
        2,
        "ban-concurrent-index-creation-in-transaction",
        "transactional: false",
    ),
    (f"{ON_ITS_OWN}DROP INDEX wms.i;", 2, "require-concurrent-index-deletion", "CONCURRENTLY"),
    (f"{TIMEOUT}REINDEX TABLE wms.results;", 2, "require-concurrent-reindex", "concurrently"),
    (
        f"{TIMEOUT}ALTER TABLE wms.results ADD CONSTRAINT c CHECK (detail <> '');",
        2,
        "constraint-missing-not-valid",
        "NOT VALID",
    ),
    (
        f"{TIMEOUT}ALTER TABLE wms.days ADD CONSTRAINT f FOREIGN KEY (site_id) REFERENCES wms.sites (site_id);",
        2,
        "adding-foreign-key-constraint",
        "NOT VALID",
    ),
    (f"{TIMEOUT}ALTER TABLE wms.words ADD CONSTRAINT u UNIQUE (heard_at);", 2, "disallowed-unique-constraint", "INDEX"),
    (f"{TIMEOUT}ALTER TABLE wms.results\n    ADD COLUMN x text NOT NULL;", 3, "adding-required-field", "default"),
    (f"{TIMEOUT}ALTER TABLE wms.results ADD COLUMN x float8 DEFAULT random();", 2, "adding-field-with-default", ""),
    (f"{TIMEOUT}ALTER TABLE wms.results ALTER COLUMN detail SET NOT NULL;", 2, "adding-not-nullable-field", ""),
    (f"{TIMEOUT}ALTER TABLE wms.results ALTER COLUMN attempt TYPE bigint;", 2, "changing-column-type", ""),
    (f"{TIMEOUT}ALTER TABLE wms.results RENAME COLUMN detail TO more;", 2, "renaming-column", ""),
    (f"{TIMEOUT}ALTER TABLE wms.results RENAME TO rows;", 2, "renaming-table", ""),
    (
        f"{TIMEOUT}ALTER TABLE wms.results DROP COLUMN IF EXISTS detail;",
        2,
        "ban-drop-column",
        "since when it is unused",
    ),
    (f"{TIMEOUT}DROP TABLE IF EXISTS wms.days;", 2, "ban-drop-table", "since when it is unused"),
    (f"{TIMEOUT}TRUNCATE wms.rejects;", 2, "stops-everybody", "leave it out"),
    (f"{TIMEOUT}LOCK TABLE wms.results IN SHARE MODE;", 2, "stops-everybody", "leave it out"),
    (f"{ON_ITS_OWN}VACUUM (FULL) wms.results;", 2, "stops-everybody", "leave it out"),
    (f"{TIMEOUT}CLUSTER wms.days USING days_pkey;", 2, "stops-everybody", "leave it out"),
    (f"{TIMEOUT}ALTER TABLE wms.days SET UNLOGGED;", 2, "rewrites-the-table", "a new table"),
    (f"{TIMEOUT}REFRESH MATERIALIZED VIEW wms.seen;", 2, "refresh-without-concurrently", "CONCURRENTLY"),
    (f"{TIMEOUT}ALTER TABLE wms.results DETACH PARTITION wms.p;", 2, "detach-without-concurrently", "CONCURRENTLY"),
    (
        f"{TIMEOUT}ALTER TABLE wms.results ATTACH PARTITION wms.p FOR VALUES FROM ('2026-01-01') TO ('2026-01-02');",
        2,
        "attach-in-a-migration",
        "housekeeping",
    ),
    (f"{TIMEOUT}UPDATE wms.results SET detail = '';", 2, "writes-many-rows", "some at a time"),
    (f"{TIMEOUT}WITH old AS (SELECT 1) DELETE FROM wms.rejects;", 2, "writes-many-rows", "some at a time"),
    (
        f"{TIMEOUT}DO $body$ BEGIN\n    ALTER TABLE wms.results ALTER COLUMN detail SET NOT NULL;\nEND $body$;",
        2,
        "hidden-in-do",
        "plain",
    ),
]

GOOD = [
    f"{TIMEOUT}ALTER TABLE wms.results ADD COLUMN IF NOT EXISTS x text, ADD COLUMN IF NOT EXISTS y int DEFAULT 0;",
    # Nobody uses yet what this file makes.
    f"{TIMEOUT}CREATE TABLE IF NOT EXISTS wms.x (a int);\nCREATE INDEX IF NOT EXISTS x_a ON wms.x (a);",
    f"{ON_ITS_OWN}CREATE INDEX CONCURRENTLY IF NOT EXISTS i ON wms.results (detail);",
    f"{TIMEOUT}ALTER TABLE wms.days ADD CONSTRAINT c CHECK (up >= 0) NOT VALID;",
    f"{TIMEOUT}ALTER TABLE wms.days VALIDATE CONSTRAINT c;",
    # What a function does is not done by the migration.
    (
        f"{TIMEOUT}CREATE OR REPLACE FUNCTION wms.f() RETURNS void LANGUAGE plpgsql AS $body$\n"
        "BEGIN\n    DELETE FROM wms.rejects;\n    LOCK TABLE wms.results;\nEND\n$body$;"
    ),
    "INSERT INTO wms.closing (closed_until) VALUES ('-infinity') ON CONFLICT DO NOTHING;",
    "-- UPDATE wms.results SET detail = ''; DROP TABLE wms.days;\nSET LOCAL lock_timeout = '500ms';",
]


def written(folder: Path, text: str, name: str = "0007.it.sql") -> Path:
    """A migration."""
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(("text", "line", "rule", "advice"), BAD, ids=[f"{n} {one[2]}" for n, one in enumerate(BAD)])
def test_refused_with_its_line_and_what_to_do(
    linter: ModuleType, tmp_path: Path, text: str, line: int, rule: str, advice: str
) -> None:
    found = [message for at, message in linter.lint(written(tmp_path, text)) if at == line]
    (said,) = [one for one in found if one.startswith(f"{rule}: ")]
    what, _, do = said.removeprefix(f"{rule}: ").rpartition("; ")
    assert what or do
    assert advice in said


@pytest.mark.parametrize("text", GOOD)
def test_passed(linter: ModuleType, tmp_path: Path, text: str) -> None:
    assert linter.lint(written(tmp_path, text)) == []


def test_a_rollback_may_take_away_and_must_not_wait_long(linter: ModuleType, tmp_path: Path) -> None:
    drop = "ALTER TABLE IF EXISTS wms.results DROP COLUMN IF EXISTS x;\nDROP TABLE IF EXISTS wms.y;"
    assert linter.lint(written(tmp_path, f"{TIMEOUT}{drop}", "0007.it.rollback.sql")) == []
    (fault,) = linter.lint(written(tmp_path, drop, "0007.it.rollback.sql"))
    assert fault[1].startswith("require-lock-timeout: ")


ADD_CHECK = "ALTER TABLE wms.words ADD CONSTRAINT c CHECK (generation > 0);"


def test_allowed_for_one_statement_with_a_reason(linter: ModuleType, tmp_path: Path) -> None:
    allow = "-- lint: allow constraint-missing-not-valid: a row for each beat\n"
    assert linter.lint(written(tmp_path, f"{TIMEOUT}{allow}{ADD_CHECK}")) == []
    again = ADD_CHECK.replace("ADD CONSTRAINT c", "ADD CONSTRAINT d")
    ((line, message),) = linter.lint(written(tmp_path, f"{TIMEOUT}{allow}{ADD_CHECK}\n{again}"))
    assert (line, message.split(":")[0]) == (4, "constraint-missing-not-valid")


@pytest.mark.parametrize("reason", ["", ":", ":  "])
def test_allowed_by_no_one_without_a_reason(linter: ModuleType, tmp_path: Path, reason: str) -> None:
    text = f"{TIMEOUT}-- lint: allow constraint-missing-not-valid{reason}\n{ADD_CHECK}"
    found = linter.lint(written(tmp_path, text))
    assert [(line, message.split(":")[0]) for line, message in found] == [
        (2, "allow"),
        (3, "constraint-missing-not-valid"),
    ]


def test_squawks_own_comments_allow_nothing(linter: ModuleType, tmp_path: Path) -> None:
    """They need no reason."""
    text = f"-- squawk-ignore-file\n{TIMEOUT}-- squawk-ignore constraint-missing-not-valid\n{ADD_CHECK}"
    ((line, _),) = linter.lint(written(tmp_path, text))
    assert line == 4


def test_what_allows_nothing_is_to_go(linter: ModuleType, tmp_path: Path) -> None:
    text = f"{TIMEOUT}-- lint: allow ban-drop-table: it was there once\n{ADD_CHECK.removesuffix(';')} NOT VALID;"
    ((line, message),) = linter.lint(written(tmp_path, text))
    assert (line, message.split(":")[0]) == (2, "allow")


def test_what_cannot_be_read_is_refused(linter: ModuleType, tmp_path: Path) -> None:
    found = linter.lint(written(tmp_path, f"{TIMEOUT}CREATE TABEL wms.x (a int);"))
    assert {(line, message.split(":")[0]) for line, message in found} == {(2, "syntax-error")}


def test_each_fault_is_a_line_with_its_file(
    linter: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = written(tmp_path, f"{TIMEOUT}TRUNCATE wms.rejects;\nDROP TABLE wms.days;", "0008.bad.sql")
    assert linter.main([str(bad), str(written(tmp_path, GOOD[0]))]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [re.sub(r": .*", "", one) for one in lines] == [f"{bad}:2", f"{bad}:3"]


def test_the_migrations_of_this_release(linter: ModuleType) -> None:
    """As `make lint` runs it."""
    assert linter.main([]) == 0
    assert "scripts/lint_migrations.py" in (ROOT / "Makefile").read_text(encoding="utf-8")
