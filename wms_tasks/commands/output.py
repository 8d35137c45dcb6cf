"""
Stdout of a command that runs on, whose reader may leave before it, as in ``wms up | head``.
"""

from __future__ import annotations

import os
import sys

from rich.console import Console


class Unread(BaseException):
    """Nobody reads our stdout any more: a reason to stop, as a signal is, and no error of whatever was printing."""


class Output(Console):
    """A console that raises `Unread`, once, in the thread that wrote; it is silent from then on."""

    def on_broken_pipe(self) -> None:
        """Instead of rich's own, which exits with 1. What is buffered still must go somewhere when Python exits."""
        self.quiet = True
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
        raise Unread
