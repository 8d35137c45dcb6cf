"""
Counting across forked children: prometheus_client's multiprocess mode, switched on when it is known that a pool forks.

prometheus_client decides when it is first imported, by an environment variable; that is before our first line, since
Celery's command loads Flower. So its choice is made again here, and for each metric apart.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from prometheus_client import values
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector

_FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


class Children:
    """The folder in which forked children count, if there is one."""

    def __init__(self) -> None:
        self.folder: str | None = None
        self._value_class: Any = values.MutexValue
        self._lock = threading.Lock()
        self._used = False

    def expect(self) -> str:
        """
        The pool will fork: from here on what its children count is gathered in a folder. Returns the folder, which is
        gone when this process ends in order.

        Raises:
            RuntimeError: a metric that children use was used already; what they count would not be seen.
        """
        if self.folder is not None:
            return self.folder
        if self._used:
            raise RuntimeError("a metric of the pool's children was used before it was known that the pool forks")
        self.folder = tempfile.mkdtemp(prefix="wms-metrics-")
        atexit.register(_remove, self.folder, os.getpid())
        # Read by prometheus_client whenever it opens a file, in the children too.
        os.environ[_FOLDER_VARIABLE] = self.folder
        self._value_class = values.get_value_class()  # type: ignore[no-untyped-call]
        return self.folder

    @contextmanager
    def making(self, *, shared: bool) -> Iterator[None]:
        """
        For as long, prometheus_client makes values that children share, or that they do not; one thread at a time.

        Shared values have one lock between them: a child that is forked while a thread holds it waits for ever. So only
        what children use is shared.
        """
        with self._lock:
            self._used |= shared
            before, values.ValueClass = values.ValueClass, self._value_class if shared else values.MutexValue
            try:
                yield
            finally:
                values.ValueClass = before

    def gathered(self) -> Iterable[Metric]:
        """The families that children and this process count in the folder."""
        if self.folder is None:
            return ()
        found: Iterable[Metric] = MultiProcessCollector(None, self.folder).collect()  # type: ignore[no-untyped-call]
        return found


def _remove(folder: str, owner_pid: int) -> None:
    """Not from a child, which inherits what runs at exit."""
    if os.getpid() == owner_pid:
        shutil.rmtree(folder, ignore_errors=True)
