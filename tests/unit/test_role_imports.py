"""What a role never uses it does not load: psycopg, yoyo and what they bring are 9 MB of every process."""

from __future__ import annotations

import subprocess
import sys

import pytest

_DATABASE = ("psycopg", "yoyo", "sqlparse")
# Until the first message in Avro, and the first certificate: 2 and 8 MB.
_LATER = ("fastavro", "cryptography.x509")

WORKER = "import wms_tasks.app, wms_tasks.tasks, wms_tasks.roles.steps, wms_tasks.fill.carry"
PUBLISHES = (
    "from wms_tasks.codec.wire import WireWriter; from wms_tasks.settings import Settings; WireWriter(Settings())"
)
BEAT = "import wms_tasks.app, wms_tasks.roles.beat, wms_tasks.schedule.scheduler"
PERSIST = "import wms_tasks.app, wms_tasks.roles.persist, wms_tasks.roles.steps"
READS = """
from wms_tasks.codec.wire import WireReader
from wms_tasks.persist.rows import Rows
from wms_tasks.store.message import Message
Rows(WireReader()).row_or_reject(Message("t", "id", 0, 0, None, b"{}", ()), b"{}")
"""


def _loaded(program: str, names: tuple[str, ...]) -> str:
    """Which of these modules are there after it, as a list is written."""
    whole = f"import sys\n{program}\nprint([name for name in {names!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", whole], capture_output=True, text=True, check=True, timeout=60)
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("program", "names"),
    [
        pytest.param(f"{WORKER}\n{PUBLISHES}", (*_DATABASE, *_LATER), id="probe worker"),
        pytest.param(BEAT, (*_DATABASE, *_LATER), id="beat"),
        pytest.param(f"{PERSIST}\n{READS}", _LATER, id="persist"),
    ],
)
def test_who_needs_it_not_does_not_load_it(program: str, names: tuple[str, ...]) -> None:
    assert _loaded(program, names) == "[]"
