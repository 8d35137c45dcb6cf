"""
Refuses migrations that would lock or rewrite a table under everybody's feet, or take away what the release before uses.

squawk reads the SQL; beside it a few rules for what squawk lets pass. What has to be done all the same is allowed for
one statement, with its reason, in a comment before it or in it:

    -- lint: allow constraint-missing-not-valid: wms.words has a row for each beat

Run by `make lint`, over migrations/*.sql from the first that it can look at; or over the files that are named.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import sysconfig
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# Those before it were applied before there was this linter, and stay as they are.
FIRST = "0007"
# The oldest Postgres that ops/terraform takes.
PG_VERSION = "15.0"
LONGEST_LOCK_TIMEOUT_MS = 2_000

# Of taste, or seen to elsewhere: IF EXISTS by tests/migration; no statement's time is limited.
_NOT_OURS = (
    "prefer-bigint-over-int",
    "prefer-bigint-over-smallint",
    "prefer-identity",
    "prefer-robust-stmts",
    "prefer-text-field",
    "prefer-timestamp-tz",
    "require-statement-timeout",
)
# What a rollback is for.
_OF_ROLLBACKS = (
    "ban-drop-column",
    "ban-drop-constraint",
    "ban-drop-default",
    "ban-drop-function",
    "ban-drop-not-null",
    "ban-drop-schema",
    "ban-drop-table",
    "ban-drop-trigger",
    "ban-drop-type",
    "ban-drop-view",
)
# Where squawk does not say it.
_WHAT_TO_DO = {
    "adding-required-field": "let it be null, or give it a default: the release before does not write it",
    "constraint-missing-not-valid": "NOT VALID here, VALIDATE CONSTRAINT in the next migration",
    "disallowed-unique-constraint": "CREATE UNIQUE INDEX CONCURRENTLY in a migration of its own, then USING INDEX",
    "require-concurrent-index-creation": "CONCURRENTLY, in a migration of its own with -- transactional: false",
    "require-concurrent-index-deletion": "CONCURRENTLY, in a migration of its own with -- transactional: false",
    "ban-concurrent-index-creation-in-transaction": "a migration of its own with -- transactional: false",
    "require-lock-timeout": "SET LOCAL lock_timeout = '2s'; first: who waits for a lock stops everybody behind it",
}
_CONTRACT = "only in a release after the one that stopped using it; then allow it, and say since when it is unused"
_ALLOW_IT = "if it must be: -- lint: allow {rule}: why it does no harm here"

_TOKEN = re.compile(
    r"(?P<comment>--[^\n]*|/\*.*?\*/)|(?P<quoted>'(?:[^']|'')*'|\"[^\"]*\"|\$(?P<tag>\w*)\$.*?\$(?P=tag)\$)"
    r"|(?P<end>;)|[^;'\"$/-]+|.",
    re.DOTALL,
)
_NOT_TRANSACTIONAL = re.compile(r"^\s*--\s*transactional\s*:\s*false\s*$", re.IGNORECASE | re.MULTILINE)
_ALLOW = re.compile(r"--\s*lint:\s*allow\b[ \t]*(?P<rule>[\w-]*)(?::[ \t]*(?P<why>[^\n]*))?")
_LOCK_TIMEOUT = re.compile(r"\block_timeout\s*(?:=|TO)\s*'?\s*(?P<number>\d+)\s*(?P<unit>ms|s|min)?", re.IGNORECASE)
_UNIT_MS = {"ms": 1, "s": 1_000, "min": 60_000}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """``at``: offset in the file."""

    at: int
    rule: str
    what: str
    do: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """From the end of the one before to its semicolon. ``text`` is without comments, ``bare`` also without quotes."""

    start: int
    end: int
    text: str
    bare: str

    @property
    def at(self) -> int:
        """Where its first word is."""
        return self.start + len(self.text) - len(self.text.lstrip())


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowed:
    """An override."""

    at: int
    rule: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What squawk does not look at; ``pattern`` is searched for in a statement's bare text."""

    name: str
    pattern: re.Pattern[str]
    what: str
    do: str


def _rule(name: str, pattern: str, what: str, do: str) -> Rule:
    return Rule(name=name, pattern=re.compile(pattern, re.IGNORECASE), what=what, do=do)


RULES = (
    _rule(
        "stops-everybody",
        r"^\s*(CLUSTER|VACUUM\b.*\bFULL|LOCK|TRUNCATE)\b",
        "takes a lock that stops every read and write until it is done",
        "leave it out: lock_timeout does not limit how long it is held",
    ),
    _rule(
        "rewrites-the-table",
        r"\bSET\s+(UNLOGGED|LOGGED|TABLESPACE|ACCESS\s+METHOD)\b",
        "writes the whole table anew, and stops every read and write meanwhile",
        "make a new table, and let the roles write to it",
    ),
    _rule(
        "refresh-without-concurrently",
        r"^\s*REFRESH\s+MATERIALIZED\s+VIEW\s+(?!CONCURRENTLY)",
        "stops whoever reads the view",
        "REFRESH MATERIALIZED VIEW CONCURRENTLY",
    ),
    _rule(
        "detach-without-concurrently",
        r"\bDETACH\s+PARTITION\b(?!.*\b(CONCURRENTLY|FINALIZE)\b)",
        "stops every read and write of the whole table",
        "DETACH PARTITION … CONCURRENTLY, in a migration of its own with -- transactional: false",
    ),
    _rule(
        "attach-in-a-migration",
        r"\bATTACH\s+PARTITION\b",
        "reads the whole partition under a lock, unless a constraint proves its range",
        "let housekeeping make partitions while they are empty",
    ),
    _rule(
        "writes-many-rows",
        r"^\s*(WITH\b.*\b)?(UPDATE|DELETE|MERGE)\b",
        "changes rows in the migration's one transaction: their locks last until its end",
        "let the roles change them, some at a time; or a script of its own",
    ),
)


def statements(text: str) -> list[Statement]:
    """All that is between semicolons, with the offsets that it has in the file."""
    found: list[Statement] = []
    start, plain, bare = 0, "", ""
    for token in _TOKEN.finditer(text):
        blank = re.sub(r"[^\n]", " ", token.group())
        plain += blank if token.group("comment") else token.group()
        bare += blank if token.group("comment") or token.group("quoted") else token.group()
        if token.group("end") or token.end() == len(text):
            found.append(Statement(start=start, end=token.end(), text=plain, bare=bare))
            start, plain, bare = token.end(), "", ""
    return found


def lint(path: Path) -> list[tuple[int, str]]:
    """Line and message of each fault that nothing allows, in the order of the file."""
    text = path.read_text(encoding="utf-8")
    parts = statements(text)
    ours = [finding for one in parts for finding in _by_ours(one)]
    allowed = [Allowed(at=m.start(), rule=m["rule"], why=(m["why"] or "").strip()) for m in _ALLOW.finditer(text)]
    found = _judge([*_by_squawk(path, text), *ours], allowed, parts)
    return sorted({(text.count("\n", 0, one.at) + 1, f"{one.rule}: {one.what}; {one.do}") for one in found})


def _judge(found: Sequence[Finding], allowed: Sequence[Allowed], parts: Sequence[Statement]) -> Iterator[Finding]:
    starts = [one.start for one in parts]

    def part(at: int) -> int:
        return bisect_right(starts, at) - 1

    may = {(part(one.at), one.rule) for one in allowed if one.why}
    yield from (one for one in found if (part(one.at), one.rule) not in may)
    for one in allowed:
        if not one.why:
            yield Finding(at=one.at, rule="allow", what="allows without a reason", do="-- lint: allow RULE: why")
        elif (part(one.at), one.rule) not in {(part(each.at), each.rule) for each in found}:
            what = f"there is no {one.rule or 'rule'} in the statement after it"
            yield Finding(at=one.at, rule="allow", what=what, do="take it away")


def _by_squawk(path: Path, text: str) -> Iterator[Finding]:
    rollback, transactional = path.name.endswith(".rollback.sql"), not _NOT_TRANSACTIONAL.search(text)
    left_out = [*_NOT_OURS, *(_OF_ROLLBACKS if rollback else ())]
    # Where there is no transaction to set it for, the connection's own lock_timeout counts (store/connect.py).
    left_out += [] if transactional else ["require-lock-timeout"]
    command = [
        *(str(Path(sysconfig.get_path("scripts"), "squawk")), "--reporter=json", f"--pg-version={PG_VERSION}"),
        f"--exclude={','.join(left_out)}",
        *(["--assume-in-transaction"] if transactional else []),
        # Its own comments would allow without a reason.
        f"--stdin-filepath={path.name}",
    ]
    told = re.sub(r"squawk-ignore", "squawk_ignore", text)
    done = subprocess.run(command, input=told, capture_output=True, text=True, timeout=60, check=False)
    if not done.stdout.strip():
        raise SystemExit(f"squawk: {done.stderr.strip() or done.returncode}")
    begins = [0, *accumulate(len(line) for line in text.splitlines(keepends=True))]
    for one in json.loads(done.stdout):
        at = begins[min(one["line"], len(begins) - 1)] + one["column"]
        rule = one["rule_name"]
        advice = _WHAT_TO_DO.get(rule) or (_CONTRACT if rule in _OF_ROLLBACKS else one["help"])
        yield Finding(
            at=min(at, max(0, len(text) - 1)),
            rule=rule,
            what=one["message"].strip().rstrip("."),
            do=(advice or _ALLOW_IT.format(rule=rule)).rstrip("."),
        )


def _by_ours(one: Statement) -> Iterator[Finding]:
    bare = " ".join(one.bare.split())
    for rule in RULES:
        if rule.pattern.search(bare):
            yield Finding(at=one.at, rule=rule.name, what=rule.what, do=rule.do)
    if re.match(r"DO\b", bare, re.IGNORECASE):
        what, do = "what a DO block does is not looked at", "write plain statements, each of which may run twice"
        yield Finding(at=one.at, rule="hidden-in-do", what=what, do=do)
    timeout = re.match(r"SET\b", bare, re.IGNORECASE) and _LOCK_TIMEOUT.search(one.text)
    if timeout:
        waits_ms = int(timeout["number"]) * _UNIT_MS[(timeout["unit"] or "ms").lower()]
        if not 0 < waits_ms <= LONGEST_LOCK_TIMEOUT_MS:
            what = "everybody waits behind it for so long, and persist gives up after 5 s"
            yield Finding(at=one.at, rule="lock-timeout-too-long", what=what, do="at most 2s; the migrator tries again")


def main(arguments: Sequence[str]) -> int:
    """Exit code; faults on stdout."""
    named = [Path(one) for one in arguments]
    paths = named or sorted(one for one in (ROOT / "migrations").glob("*.sql") if one.name >= FIRST)
    faults = [f"{path}:{line}: {message}" for path in paths for line, message in lint(path)]
    print("\n".join(faults) if faults else f"migrations: {len(paths)} files from {FIRST} on, nothing found")  # noqa: T201
    return 1 if faults else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
