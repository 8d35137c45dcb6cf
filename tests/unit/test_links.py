"""All links of the documents lead to a file or a heading that is there, and the `wms` commands in them exist."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from urllib.parse import unquote

import click
import pytest

from tests.markdown import anchors, links, shell_commands, slug
from wms_tasks.cli import wms

ROOT = Path(__file__).resolve().parents[2]
# What is made here and is not of the repository.
MADE = {".git", ".venv", ".wms", ".mypy_cache", ".pytest_cache", ".ruff_cache", "build", "dist", "node_modules"}


def documents(folder: Path) -> Iterator[Path]:
    """Every Markdown file of the repository."""
    for path in sorted(folder.iterdir()):
        if path.is_dir() and path.name not in MADE:
            yield from documents(path)
        elif path.suffix == ".md":
            yield path


DOCUMENTS = list(documents(ROOT))
named = pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))


@cache
def anchors_of(path: Path) -> set[str]:
    """Of one page; many link to the same."""
    return anchors(path.read_text(encoding="utf-8"))


def broken(path: Path, root: Path) -> list[str]:
    """Its links that lead nowhere, or out of the repository."""
    return [target for target in links(path.read_text(encoding="utf-8")) if not leads(path, target, root)]


def leads(path: Path, target: str, root: Path) -> bool:
    """Whether there is what `target` in `path` names. An anchor is only looked for in Markdown."""
    name, _, anchor = unquote(target).partition("#")
    found = (path.parent / name).resolve() if name else path
    if name.startswith("/") or not found.is_relative_to(root) or not found.exists():
        return False
    return not anchor or (found.suffix == ".md" and anchor in anchors_of(found))


def unknown(words: Sequence[str]) -> str | None:
    """What click does not know of a `wms` command; None where it knows all, or the command is another one."""
    command: click.Command = wms
    for word in arguments(words):
        if word == "--":
            return None
        if word.startswith("-"):
            if word.partition("=")[0] not in options(command):
                return word
        elif isinstance(command, click.Group):
            found = command.get_command(click.Context(command), word)
            if found is None:
                return word
            command = found
    return None


def arguments(words: Sequence[str]) -> Sequence[str]:
    """What follows `wms`, also where it is run in a container; nothing where it is not run."""
    inside = words[:2] == ["docker", "compose"] and ("exec" in words or "run" in words)
    at = [index for index, word in enumerate(words) if Path(word).name == "wms" and (index == 0 or inside)]
    return words[at[0] + 1 :] if at else ()


def options(command: click.Command) -> set[str]:
    """All that may be written, with those for help."""
    context = click.Context(command, help_option_names=["-h", "--help"])
    return {name for one in command.get_params(context) for name in (*one.opts, *one.secondary_opts)}


@named
def test_links_lead_somewhere(path: Path) -> None:
    """To a file or folder of the repository, and in a page to a heading of it."""
    assert broken(path, ROOT) == []


@named
def test_shown_commands_exist(path: Path) -> None:
    """Each `wms` command in a shell block, its subcommands and its options."""
    shown = list(shell_commands(path.read_text(encoding="utf-8")))

    assert {" ".join(words): found for words in shown if (found := unknown(words))} == {}


def test_index_has_every_page() -> None:
    """docs/README.md links to each page of docs/, and to the folder of decisions."""
    docs = ROOT / "docs"
    pages = {str(path.relative_to(docs)) for path in DOCUMENTS if path.is_relative_to(docs)}
    wanted = {page for page in pages if not page.startswith("decisions/")} - {"README.md"} | {"decisions/"}

    assert wanted - set(links((docs / "README.md").read_text(encoding="utf-8"))) == set()


@pytest.mark.parametrize(
    ("heading", "anchor"),
    [
        ("Messages of other releases", "messages-of-other-releases"),
        ("Sites: `/metrics/sites` of worker --persist", "sites-metricssites-of-worker---persist"),
        ("[0.2.0] - 2026-11-26", "020---2026-11-26"),
        ("The [ledger](ledger.md), again", "the-ledger-again"),
        ("What_is kept: Größe", "what_is-kept-größe"),
    ],
)
def test_anchors_are_githubs(heading: str, anchor: str) -> None:
    """By its rules for slugs."""
    assert slug(heading) == anchor


def test_broken_links_are_found(tmp_path: Path) -> None:
    """A file that is not there, a heading that is not, one that is in code only, and what lies outside."""
    (tmp_path / "other.md").write_text("# Same\n# Same\n```sh\n# Not one\n```\n", encoding="utf-8")
    page = tmp_path / "page.md"
    good = "[a](other.md#same-1) [b](#here) [c](https://example.com/x#y) `[d](none.md)`\n\n[e]: other.md\n"
    bad = ["none.md", "other.md#not-one", "#there", "../outside.md", "/other.md", "other.md#same-2", "none.svg"]
    (tmp_path.parent / "outside.md").touch()
    shown = "".join(f"[x]({target} 'title')\n" for target in bad[:-1]) + f"![y]({bad[-1]})\n"
    page.write_text(f"# Here\n{good}{shown}```text\n[f](none.md)\n```\n", encoding="utf-8")

    assert broken(page, tmp_path) == bad


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("wms sites validate sites.yaml --json   # all of them", None),
        (". .wms/env && WMS_ENV=test wms -v ledger --last=1h | jq .total", None),
        ("docker compose exec persist wms results 'front page' --not-up --limit 1", None),
        ("pg_dump --dbname wms --no-such", None),
        ("wms status; wms ledgers", "ledgers"),
        (".venv/bin/wms sites check", "check"),
        ("wms results --until 1h", "--until"),
        ("docker compose exec persist wms migrate up --number 3", "--number"),
    ],
)
def test_unknown_commands_are_found(line: str, found: str | None) -> None:
    """Wherever they stand in a line; what is no command of ours is not looked at."""
    commands = list(shell_commands(f"```sh\n{line}\n```\n"))

    assert [word for words in commands if (word := unknown(words))] == ([found] if found else [])
