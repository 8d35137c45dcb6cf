"""The documents against the code: what is generated is current, what is promised is there."""

from __future__ import annotations

import configparser
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from tests.markdown import links
from tests.results import a_result
from wms_tasks import tracing
from wms_tasks.codec.envelope import JSON, headers_of
from wms_tasks.settings import PREFIX, Settings
from wms_tasks.sites.file import load_sites

ROOT = Path(__file__).resolve().parents[2]
DECISIONS = sorted((ROOT / "docs" / "decisions").glob("*.md"))
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
SECTIONS = ("Context", "Options", "Decision", "Consequences")

# WMS_* variables that are not settings: docker-compose.yml's own, what `${NAME}` in a sites file may read, and names
# that settings had before.
NOT_SETTINGS = re.compile(r"WMS_(COMPOSE|SECRET)_\w+|WMS_(DEV|DEV_READER|TEST)_PASSWORD|WMS_(UP_)?HEALTH_(PORT|HOST)")


def test_generated_pages_are_current() -> None:
    """docs/reference/ is what the generator writes; run `python scripts/generate_docs.py` if not."""
    command = [sys.executable, str(ROOT / "scripts" / "generate_docs.py"), "--check"]
    checked = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=60, check=False)

    assert checked.returncode == 0, checked.stderr or "run: python scripts/generate_docs.py"


def test_the_reference_is_generated() -> None:
    """All of it, and nothing else is called so in the index: what is written by hand is how-to or explanation."""
    generator = runpy.run_path(str(ROOT / "scripts" / "generate_docs.py"))
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    section = index.partition("\n## Reference\n")[2].partition("\n## ")[0]

    assert {path.name for path in (ROOT / "docs" / "reference").iterdir()} == set(generator["PAGES"])
    assert sorted(links(section)) == sorted(f"reference/{name}" for name in generator["PAGES"])


def test_every_setting_says_what_it_does() -> None:
    """No setting without a description, since the page has nothing else to show."""
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


@pytest.mark.parametrize(
    "name",
    [
        *("broker_url", "database_url", "database_url_housekeeping", "heartbeat_url", "schema_registry_url"),
        *("schema_registry_auth", "sentry_dsn"),
    ],
)
def test_settings_that_may_hold_a_password_are_marked(name: str) -> None:
    """The page marks them as secret, and so does `repr`."""
    page = (ROOT / "docs" / "reference" / "settings.md").read_text(encoding="utf-8")

    assert f"`{PREFIX}{name.upper()}` *(secret)*" in page


def test_security_says_where_each_secret_setting_is() -> None:
    """The table of secrets has all that are kept out of `repr`."""
    _, _, table = (ROOT / "SECURITY.md").read_text(encoding="utf-8").partition("| secret | is in | never in |")
    secret = {f"{PREFIX}{name.upper()}" for name, field in Settings.model_fields.items() if not field.repr}
    assert secret - set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (.+?) \|", table, re.MULTILINE)))) == set()


def test_the_contract_tells_every_header() -> None:
    """Those that the codecs make, in their order, and the one of a trace."""
    page = (ROOT / "docs" / "contract.md").read_text(encoding="utf-8")
    _, _, table = page.partition("| header | value |\n| --- | --- |\n")
    told = re.findall(r"^\| (\S+) \|", table.partition("\n\n")[0], re.MULTILINE)
    assert told == [*(name for name, _ in headers_of(a_result(), JSON)), tracing.HEADER]


def test_the_architecture_names_modules_that_exist() -> None:
    """Each file in it, under wms_tasks/ or where it says."""
    named = set(re.findall(r"`([\w/]+\.(?:py|sql))`", (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")))
    ours = [f"/{path.relative_to(ROOT).as_posix()}" for path in (ROOT / "wms_tasks").rglob("*.*")]
    assert named
    assert {one for one in named if not (ROOT / one).exists() and not any(n.endswith(f"/{one}") for n in ours)} == set()


@pytest.mark.parametrize("path", DECISIONS, ids=lambda path: path.stem)
def test_decision_has_its_sections_and_stays_short(path: Path) -> None:
    """A decision says its context, options, choice and consequences, and how one would notice that it lapsed."""
    text = path.read_text(encoding="utf-8")

    assert re.match(rf"# {int(path.stem[:4])}\. \S", text)
    assert tuple(re.findall(r"^## (.+)$", text, re.MULTILINE)) == SECTIONS
    assert re.search(r"^Status: (accepted|superseded by \d{4}), \d{4}-\d{2}-\d{2}$", text, re.MULTILINE)
    assert re.search(r"^Confirmation: \S", text, re.MULTILINE)
    assert text.count("\n") <= 45


def test_the_tutorials_site_is_one(tmp_path: Path) -> None:
    """At the end of our sites.yaml, as its reader is told to put it there."""
    text = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
    site = re.findall(r"^```yaml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)[0]
    path = tmp_path / "sites.yaml"
    path.write_text((ROOT / "sites.yaml").read_text(encoding="utf-8") + site, encoding="utf-8")

    assert load_sites(path)[-1].name == "my page"


def test_decisions_are_numbered_without_a_gap() -> None:
    """Numbers are given once and never reused."""
    assert [int(path.stem[:4]) for path in DECISIONS] == list(range(1, len(DECISIONS) + 1))


def test_changelog_has_this_release() -> None:
    """The version in setup.cfg has its section, newest first."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    headings = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)

    assert headings[0] in {"Unreleased", parser["metadata"]["version"]}
    assert parser["metadata"]["version"] in headings


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_documents_name_only_settings_that_exist(path: Path) -> None:
    """A WMS_* variable in a document is a setting of this release, or one of the few others that are listed here."""
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    named = set(re.findall(r"\bWMS_[A-Z][A-Z_]*[A-Z]\b", path.read_text(encoding="utf-8")))

    assert {
        name
        for name in named
        if known.isdisjoint({name, name.removesuffix("_FILE")}) and not NOT_SETTINGS.fullmatch(name)
    } == set()
