"""What is put into Redis by somebody else: no code of theirs runs in a worker, and what comes next is filled."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.orders import Left, order_for, send
from tests.acceptance.processes import Roles
from tests.acceptance.topics import Topic
from tests.servers import LocalServer, answer
from tests.waiting import wait_until
from wms_tasks.app import app_for
from wms_tasks.names import PROBE_QUEUE, PROBE_TASK
from wms_tasks.settings import Settings


class Touch:
    """Makes a file in whatever process reads its pickle."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self._path,))


@pytest.mark.slow
def test_a_pickle_is_not_read(settings: Settings, started: Roles, topic: Topic, tmp_path: Path) -> None:
    """Refused unread, not sent round again, and the worker goes on."""
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    pickle.loads(pickle.dumps(Touch(ours)))
    assert ours.exists(), "reading it does make a file"
    worker = started.worker()
    app = app_for(settings)
    with app.connection_for_write() as connection, LocalServer({"/": answer()}) as server:
        app.send_task(
            PROBE_TASK, kwargs={"order": Touch(theirs)}, queue=PROBE_QUEUE, serializer="pickle", argsrepr="()",
            kwargsrepr="{}", producer=app.amqp.Producer(connection),
        )  # fmt: skip
        worker.until_said("Refusing to deserialize")
        send(settings, order_for("good", server.url("/")), task_id="good")
        wait_until(lambda: topic.of("good"), 20, "the next order's result")

    assert not theirs.exists()
    wait_until(Left(settings).empty, 10, "nothing is left of it")
