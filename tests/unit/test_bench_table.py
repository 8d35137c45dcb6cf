"""The figures of `make bench`: which value rounds become, whether it is good enough, and what is written of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from bench import __main__ as bench
from bench.figure import Bound, Figure, Measure, Measured, PeerMissing, Subject
from bench.table import BEGIN, END, lines_of, markdown, merged, read_results, write_results

AT_MOST_2 = Bound(value=2.0, at_most=True)
AT_LEAST_2 = Bound(value=2.0, at_most=False)
RATIO = Figure(key="a", name="a ratio", unit="×", peer="a peer", must=AT_MOST_2, aim=Bound(value=1.0, at_most=True))
WORST = Figure(key="b", name="the worst", unit="s", must=AT_MOST_2, over="worst")
LEAST = Figure(key="c", name="the least", unit="/s", must=AT_LEAST_2, over="worst")


def test_the_middle_or_the_worst_round_counts() -> None:
    """A figure that may not be bad once has its worst round."""
    assert Measured(figure=RATIO, rounds=(1.5, 9.0, 1.4)).value == 1.5
    assert Measured(figure=WORST, rounds=(1.5, 9.0, 1.4)).value == 9.0
    assert Measured(figure=LEAST, rounds=(1.5, 9.0, 1.4)).value == 1.4
    assert Measured(figure=RATIO, rounds=()).value is None


@pytest.mark.parametrize(("value", "at_most", "at_least"), [(1.9, True, False), (2.0, True, True), (2.1, False, True)])
def test_a_bound_has_a_good_side(value: float, at_most: bool, at_least: bool) -> None:
    """What is measured exactly there is good."""
    assert AT_MOST_2.met_by(value) is at_most
    assert AT_LEAST_2.met_by(value) is at_least


def subject(name: str, measure: Measure | None, *figures: Figure) -> Subject:
    @contextmanager
    def opened(folder: Path) -> Iterator[Measure]:
        assert folder.is_dir()
        if measure is None:
            raise PeerMissing("a peer is not installed")
        yield measure

    return Subject(name=name, figures=figures, open=opened, conditions="all on", rounds=3)


def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *subjects: Subject, arguments: tuple[str, ...] = ()) -> int:
    monkeypatch.setattr(bench, "SUBJECTS", subjects)
    monkeypatch.setattr(bench, "write_document", lambda lines: (tmp_path / "doc").write_text(markdown(lines)))
    return bench.main(["--document", "--results", str(tmp_path / "results.json"), *arguments])


def test_what_is_measured_is_written_with_what_it_must_reach(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """All rounds of it, who stands beside it, and what was on."""
    assert run(monkeypatch, tmp_path, subject("one", lambda number: {"a": 1.5 + number}, RATIO)) == 1
    (line,) = read_results(tmp_path / "results.json")
    assert (line.value, line.rounds, line.must, line.met, line.aim_met) == (2.5, (1.5, 2.5, 3.5), "≤ 2", False, False)
    assert (line.peer, line.conditions, line.missing) == ("a peer", "all on", None)
    assert "| a ratio [1] | 2.5 × | ≤ 2 ✗ | ≤ 1 ✗ | a peer | 1.5, 2.5, 3.5 |" in (tmp_path / "doc").read_text()


def test_a_peer_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It has no value, and no verdict either way."""
    assert run(monkeypatch, tmp_path, subject("one", None, RATIO)) == 0
    (line,) = read_results(tmp_path / "results.json")
    assert (line.value, line.met, line.missing) == (None, None, "a peer is not installed")
    assert "a peer is not installed" in (tmp_path / "doc").read_text()


def test_a_part_that_is_run_again_keeps_the_other_figures(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In the order of the subjects; a figure that is gone goes."""
    two = [subject("one", lambda _: {"a": 1.0}, RATIO), subject("two", lambda _: {"b": 1.0}, WORST)]
    assert run(monkeypatch, tmp_path, *two) == 0
    two[0] = subject("one", lambda _: {"a": 0.5}, RATIO)
    assert run(monkeypatch, tmp_path, *two, arguments=("--only", "one")) == 0
    assert [(line.key, line.value) for line in read_results(tmp_path / "results.json")] == [("a", 0.5), ("b", 1.0)]
    assert merged(read_results(tmp_path / "results.json"), [], ["b"])[0].key == "b"


def test_a_lever_of_our_own_is_measured_where_it_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Not within the hour of all; what it gave before stays in the table."""
    lever = replace(subject("lever", lambda _: {"b": 1.0}, WORST), on_request=True)
    two = (subject("one", lambda _: {"a": 1.0}, RATIO), lever)
    assert run(monkeypatch, tmp_path, *two) == 0
    assert [line.key for line in read_results(tmp_path / "results.json")] == ["a"]
    assert run(monkeypatch, tmp_path, *two, arguments=("--only", "lever")) == 0
    assert run(monkeypatch, tmp_path, *two) == 0
    assert [line.key for line in read_results(tmp_path / "results.json")] == ["a", "b"]


def test_no_subject_of_that_name_is_no_success(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing is written then."""
    assert run(monkeypatch, tmp_path, arguments=("--only", "nothing")) == 2
    assert not (tmp_path / "results.json").exists()


def test_the_document_has_its_place_for_the_table() -> None:
    """Between markers; the rest is a person's."""
    text = Path("docs/performance.md").read_text(encoding="utf-8")
    assert text.index(BEGIN) < text.index(END)


def test_results_are_read_as_they_were_written(tmp_path: Path) -> None:
    """The round trip, also of what has no value."""
    lines = lines_of(
        subject("one", None, RATIO, WORST), [Measured(figure=RATIO, rounds=(1.0,)), Measured(figure=WORST, rounds=())]
    )
    write_results(lines, tmp_path / "results.json")
    assert read_results(tmp_path / "results.json") == lines
