"""The outcomes as a table: on the terminal, as JSON, and between markers in docs/reliability.md."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from rich.table import Table

from tests.faults.judge import UNKNOWN
from tests.faults.run import Outcome

DOCUMENT = Path(__file__).parents[2] / "docs" / "reliability.md"
BEGIN = "<!-- faults: written by `make faults` -->"
END = "<!-- faults: end -->"
# Of the missed slots of a whole run, at most so many may be without a reason.
UNKNOWN_MAX_SHARE = 0.01
_HEADINGS = (
    "fault",
    "runs",
    "recovery, worst",
    "messages",
    "rows",
    "rejects",
    "again",
    "missed",
    "unknown",
    "open",
    "verdict",
)


def _cells(one: Outcome) -> tuple[str, ...]:
    worst = f"{max(one.recoveries_seconds):.1f} s of {one.limit_seconds:g}" if one.recoveries_seconds else ""
    seen = one.verdict
    counts: tuple[object, ...] = ("",) * 7
    if seen is not None:
        missed = (sum(seen.missed.values()), seen.missed.get(UNKNOWN, 0))
        counts = (seen.messages, seen.rows, seen.rejects, seen.redeliveries, *missed, seen.open_slots)
    verdict = "; ".join(one.problems) if one.problems else "holds"
    return (one.name, str(one.repetitions), worst, *(str(count) for count in counts), verdict)


def missed_by_reason(outcomes: Sequence[Outcome]) -> Counter[str]:
    """Of all scenarios."""
    found: Counter[str] = Counter()
    for one in outcomes:
        found.update(one.verdict.missed if one.verdict else {})
    return found


def too_vague(outcomes: Sequence[Outcome]) -> bool:
    """Whether too many slots were missed for no reason that anybody wrote down."""
    found = missed_by_reason(outcomes)
    return found[UNKNOWN] > UNKNOWN_MAX_SHARE * found.total()


def reasons_line(outcomes: Sequence[Outcome]) -> str:
    """For people: why slots were missed, the most frequent first."""
    found = missed_by_reason(outcomes)
    reasons = ", ".join(f"{reason} {count:,}" for reason, count in found.most_common())
    share = found[UNKNOWN] / found.total() if found else 0.0
    verdict = "more than the 1 % that may be" if too_vague(outcomes) else "at most 1 % may be"
    return f"{found.total():,} slots were missed: {reasons or 'none'}. Unknown are {share:.2%}; {verdict}."


def terminal_table(outcomes: Sequence[Outcome]) -> Table:
    """For people."""
    table = Table(*_HEADINGS, title="Every slot accounted for")
    for one in outcomes:
        table.add_row(*_cells(one), style="red" if one.problems else "")
    return table


def write_json(outcomes: Sequence[Outcome], path: Path) -> None:
    """For programs."""
    path.write_text(json.dumps([asdict(one) for one in outcomes], indent=2) + "\n", encoding="utf-8")


def read_json(path: Path) -> list[Outcome]:
    """The inverse of `write_json`."""
    return msgspec.json.decode(path.read_bytes(), type=list[Outcome])


def write_document(outcomes: Sequence[Outcome], seed: int, minutes: float, path: Path = DOCUMENT) -> None:
    """Replace what stands between the markers."""
    write_between(path, BEGIN, END, _markdown(outcomes, seed, minutes))


def write_between(path: Path, begin: str, end: str, content: str) -> None:
    """Replace what stands between two markers of a file."""
    before, rest = path.read_text(encoding="utf-8").split(begin, 1)
    after = rest.split(end, 1)[1]
    path.write_text(before + begin + "\n" + content + end + after, encoding="utf-8")


def markdown_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Its lines."""
    lines = ["| " + " | ".join(headings) + " |", "|" + " --- |" * len(headings)]
    return lines + ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]


def _markdown(outcomes: Sequence[Outcome], seed: int, minutes: float) -> str:
    day = datetime.now(UTC).date().isoformat()
    runs = sum(one.repetitions for one in outcomes)
    lines = [
        f"Run on {day}, seed {seed}: {len(outcomes)} faults, {runs} runs, {minutes:.0f} minutes.",
        reasons_line(outcomes),
        "",
    ]
    lines += markdown_table(_HEADINGS, map(_cells, outcomes))
    return "\n".join([*lines, ""])
