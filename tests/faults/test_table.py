"""What a run comes to: how vague it may be, and what is written into the document."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults import soak
from tests.faults.judge import Verdict
from tests.faults.run import Outcome
from tests.faults.scenarios import SCENARIOS
from tests.faults.table import BEGIN, END, read_json, reasons_line, too_vague, write_document, write_json


def outcome(**missed: int) -> Outcome:
    """A scenario that held, with so many slots missed for each reason."""
    counts = dict.fromkeys(
        (
            "messages",
            "message_slots",
            "deliveries",
            "rows",
            "rejects",
            "redeliveries",
            "lost",
            "expected",
            "open_slots",
        ),
        7,
    )
    verdict = Verdict(violations=(), missed=missed, unknown=(), **counts)
    return Outcome(name="a | b", seed=1, limit_seconds=60.0, recoveries_seconds=[1.0, 2.5], verdict=verdict)


@pytest.mark.parametrize(
    ("outcomes", "vague"),
    [
        ([], False),
        ([outcome()], False),
        ([outcome(unknown=1, expired=99)], False),
        ([outcome(unknown=2, expired=99)], True),
        ([outcome(unknown=2), outcome(expired=198)], False),
        ([Outcome(name="broken", seed=1, limit_seconds=60.0), outcome(unknown=1)], True),
    ],
)
def test_one_in_a_hundred_of_all_faults_may_be_unknown(outcomes: list[Outcome], vague: bool) -> None:
    """Not of each."""
    assert too_vague(outcomes) is vague
    assert ("more than" in reasons_line(outcomes)) is vague


def test_the_table_takes_the_place_of_the_last_one(tmp_path: Path) -> None:
    """What stands around it stays."""
    path = tmp_path / "page.md"
    path.write_text(f"before\n{BEGIN}\nstale\n{END}\nafter\n", encoding="utf-8")
    write_document([outcome(expired=3)], 1, 2.0, path)
    text = path.read_text(encoding="utf-8")
    assert text.startswith(f"before\n{BEGIN}\n")
    assert text.endswith(f"{END}\nafter\n")
    assert "stale" not in text
    assert "| a \\| b | 0 | 2.5 s of 60 | 7 | 7 | 7 | 7 | 3 | 0 | 7 | holds |" in text


def test_outcomes_come_back_from_json(tmp_path: Path) -> None:
    """As lanes hand them over."""
    path = tmp_path / "lane.json"
    write_json([outcome(unknown=1)], path)
    assert read_json(path) == [outcome(unknown=1)]


def test_the_soak_has_the_faults_that_it_names() -> None:
    """A fault that was renamed would be left out without a word."""
    names = [name for names in soak.FAULTS_OF.values() for name in names]
    assert {*names, "beat killed"} == {one.name for one in soak.FAULTS}
    assert soak.FILLS_POOLS in names
    assert len({one.name for one in SCENARIOS}) == len(SCENARIOS)
