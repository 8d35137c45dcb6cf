"""
What Postgres, Valkey and Kafka have in common here: one process, prepared, launched, waited for, stopped.

The steps are apart so that services.py can take them side by side; `start` takes them in a row.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from wms_tasks.embedded.process import ServiceProcess


class EmbeddedService(ABC):
    """A service with its own folder. ``start`` and ``launch`` belong in the main thread, see process.py."""

    process: ServiceProcess

    def start(self) -> None:
        """
        Prepare, launch and wait.

        Raises:
            EmbeddedError: one line, with what the log says.
        """
        self.prepare()
        self.launch()
        self.wait_ready()

    @abstractmethod
    def prepare(self) -> None:
        """Make what the server needs on disk. May run in any thread."""

    def launch(self) -> None:
        """Fork the server; returns at once."""
        self.process.launch()

    @abstractmethod
    def wait_ready(self) -> None:
        """Wait until it answers."""

    def stop(self) -> None:
        """End it by the signal on which it writes down all it holds."""
        self.process.stop()
