"""A folder of sites files: what each file has for itself, what they share, and what is told of which."""

from __future__ import annotations

from pathlib import Path

import pytest

from wms_tasks.errors import SitesFileError
from wms_tasks.sites.file import SitesFile, load_file


def write(folder: Path, **files: str) -> Path:
    """The folder with these files, by their names without ending."""
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    return folder


def problems_of(folder: Path) -> list[str]:
    """What is told of it, with the files' names only."""
    with pytest.raises(SitesFileError) as refused:
        load_file(folder)
    return [problem.removeprefix(f"{folder}/") for problem in refused.value.problems]


SHOP = "sites: [{name: shop, url: 'https://shop.example/', group: fast}]"


def test_files_are_read_by_name_and_share_groups_and_hosts(tmp_path: Path) -> None:
    """Defaults are a file's own; groups and hosts may stand in any file, also in one without sites."""
    write(
        tmp_path,
        b=f"defaults: {{retries: 3}}\n{SHOP}",
        a="defaults: {interval: 5m}\nsites: [{name: till, url: 'https://till.example/'}]",
        shared="groups: {fast: {interval: 10s}}\nhosts: {shop.example: {spacing: 2s}}",
        empty="sites: []",
    )
    (tmp_path / "notes.txt").write_text("no sites")
    found: SitesFile = load_file(tmp_path)
    assert [(site.name, site.interval_seconds, site.retries) for site in found.sites] == [
        ("till", 300, 1),
        ("shop", 10, 3),
    ]
    assert found.sites[1].spacing_seconds == 2
    assert found.spacings_seconds == {"shop.example": 2}


def test_what_is_there_twice_names_both_places(tmp_path: Path) -> None:
    """Names, ids, hosts and groups are unique over all files."""
    more = "\ngroups:\n  fast: {interval: 1m}\nhosts:\n  SHOP.example: {spacing: 2s}"
    write(tmp_path, a=SHOP + more, b="\n" + SHOP.replace("shop,", "Shop,") + more)
    assert problems_of(tmp_path) == [
        "b.yaml:2: name 'Shop' is too like 'shop' of the site in a.yaml:1 (only letter case or width differ)",
        "b.yaml:4: groups: 'fast' is there already, in a.yaml:3",
        "b.yaml:6: hosts: 'SHOP.example' is there already, in a.yaml:5",
    ]


def test_each_problem_has_its_own_file_and_line(tmp_path: Path) -> None:
    """In the order of the files; a load is told where its host is written."""
    busy = "\n".join(f"  - {{name: s{n}, url: 'https://shop.example/{n}', interval: 1s}}" for n in range(3))
    write(
        tmp_path,
        a=f"sites:\n{busy}",
        b="sites:\n  - {name: x, url: 'https://x.example/', intervall: 1m}\n  - {name: y, url: nowhere}",
        c="hosts: {shop.example: {spacing: 500ms}}",
    )
    told = problems_of(tmp_path)
    assert [line.split(" ")[0] for line in told] == ["b.yaml:2:", "b.yaml:3:", "c.yaml:1:"]
    assert "shop.example is asked too often: its 3 sites" in told[2]


def test_a_file_that_cannot_be_read_to_its_end_hides_nothing_else(tmp_path: Path) -> None:
    """Its own problem and the others', but nothing that it may have held is missed."""
    write(tmp_path, a=f"{SHOP}\nhosts: {{till.example: {{spacing: 2s}}}}", b="sites: [", c="sites: [{name: 5}]")
    assert [line.partition(" ")[0] for line in problems_of(tmp_path)] == ["b.yaml:2:", "c.yaml:1:"]


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, "is a folder without a sites file (*.yaml or *.yml)"),
        ({"a": "sites: []"}, "there are no sites in its files"),
        ({"a": SHOP.replace(", group: fast", ""), "b": ""}, "b.yaml: is empty"),
        ({"a": SHOP.replace(", group: fast", ""), "b": "defaults: {interval: 1m}"}, "b.yaml: there are no sites"),
    ],
)
def test_a_folder_that_says_nothing(tmp_path: Path, files: dict[str, str], words: str) -> None:
    """A file that was cut short looks empty: it must not take its sites off the schedule."""
    (told,) = problems_of(write(tmp_path, **files))
    assert words in told


def test_a_link_that_leads_nowhere(tmp_path: Path) -> None:
    """Is told, as a missing file is."""
    write(tmp_path, a=SHOP.replace(", group: fast", ""))
    (tmp_path / "b.yaml").symlink_to("gone.yaml")
    assert problems_of(tmp_path) == ["b.yaml: there is no such file"]
