"""Every bad file of sites/ against the lines written beside it: one file for each kind of mistake."""

from __future__ import annotations

from pathlib import Path

import pytest

from wms_tasks.errors import SitesFileError
from wms_tasks.sites.file import examine, load_sites
from wms_tasks.sites.problems import Broken, Problems

BAD_FILES = sorted((Path(__file__).parent / "sites").glob("*.yaml"))
SECRET = "hunter2"  # stands in the bad files wherever a secret may be


@pytest.mark.parametrize("path", BAD_FILES, ids=lambda path: path.stem)
def test_every_problem_is_told_at_once(path: Path) -> None:
    """All of them, in the file's order, each with its line and what to do."""
    found, problems = examine(path)

    told = [problem.at(Path(path.name)) for problem in problems]
    assert told == path.with_suffix(".expected").read_text(encoding="utf-8").splitlines()
    assert told
    assert found is None


@pytest.mark.parametrize("path", BAD_FILES, ids=lambda path: path.stem)
def test_a_problem_is_one_printable_line_without_secrets(path: Path) -> None:
    """No control character reaches a terminal or a log, and no password is repeated."""
    for problem in examine(path)[1]:
        assert problem.text.isprintable()
        assert SECRET not in problem.text


def test_the_error_carries_every_problem() -> None:
    """`load_sites` raises what beat logs and the command line prints: file:line first, exit code 2."""
    path = Path(__file__).parent / "sites" / "ten_mistakes.yaml"

    with pytest.raises(SitesFileError) as caught:
        load_sites(path)

    assert len(caught.value.problems) == 10
    assert caught.value.problems[0] == f"{path}:3: interval: '60' is not a duration (did you mean 60s?)"
    assert caught.value.exit_code == 2


def test_a_missing_file_and_a_folder_are_one_line_each(tmp_path: Path) -> None:
    """The two first mistakes anyone makes."""
    for path, words in [(tmp_path / "none.yaml", "there is no such file"), (tmp_path, "is a folder")]:
        with pytest.raises(SitesFileError) as caught:
            load_sites(path)
        assert len(caught.value.problems) == 1
        assert caught.value.problems[0].startswith(f"{path}: {words}")


def test_a_link_in_a_circle_is_one_line(tmp_path: Path) -> None:
    """What the operating system refuses is told in its words."""
    path = tmp_path / "sites.yaml"
    path.symlink_to(path)

    with pytest.raises(SitesFileError) as caught:
        load_sites(path)

    assert caught.value.problems == (f"{path}: cannot be read: Too many levels of symbolic links",)


def test_problems_without_end_are_cut() -> None:
    """An anchor full of mistakes, used by every site, keeps nobody busy for minutes; the cut is told."""
    problems = Problems(at_most=2)
    problems.add(3, "one")
    problems.add(1, "two")
    with pytest.raises(Broken) as cut:
        problems.add(4, "three")
    problems.end(cut.value)

    assert [(problem.line, problem.text) for problem in problems.in_order()] == [
        (1, "two"),
        (3, "one"),
        (4, "has too many problems (what follows was not looked at)"),
    ]
