"""What tests of whole processes share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.processes import Roles, roles
from tests.acceptance.topics import Topic
from wms_tasks.settings import Settings


@pytest.fixture
def started(wms_environ: dict[str, str], tmp_path: Path) -> Iterator[Roles]:
    """Role processes of this test."""
    with roles(wms_environ, tmp_path) as running:
        yield running


@pytest.fixture
def topic(settings: Settings) -> Iterator[Topic]:
    """The test's topic."""
    reader = Topic(settings)
    yield reader
    reader.close()
