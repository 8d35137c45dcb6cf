"""A release has one number, wherever it is written."""

from __future__ import annotations

import re
from importlib import metadata

from tests.versions import ROOT, VERSION


def test_what_is_installed_is_this_release() -> None:
    """An editable install keeps the number of the day it was made: `make test` makes it again."""
    assert metadata.version("wms-tasks") == VERSION


def test_the_image_has_its_number() -> None:
    """In the Dockerfile, and in the name that compose gives it."""
    assert f"ARG VERSION={VERSION}\n" in (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert f"image: wms-tasks:{VERSION}\n" in (ROOT / "docker-compose.yml").read_text(encoding="utf-8")


def test_the_newest_release_in_the_changelog_is_this_one() -> None:
    """What comes after it stands under Unreleased."""
    headings = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert next(one for one in headings if one != "Unreleased") == VERSION
