"""
What a converted file does not say any more, or says by another name: each becomes a comment in it and a line on stderr.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from wms_tasks.sites.references import VARIABLE_PREFIX
from wms_tasks.sites.wording import shown

_NOT_IN_A_NAME = re.compile(r"[^A-Z0-9]+")
_NOT_IN_A_PATH = re.compile(r"[^A-Za-z0-9._/-]+")


class Notes:
    """
    Notes about one thing, in order, each once; and the secrets it needs.

    Args:
        where: what they are about, as in ``module http_2xx``; begins each line.
    """

    def __init__(self, where: str) -> None:
        self.where = where
        self._lines: dict[str, None] = {}

    def __iter__(self) -> Iterator[str]:
        return iter(self._lines)

    def lost(self, key: str, why: str) -> None:
        """A key that is not carried over."""
        self.say(f"{shown(key)[1:-1]} is not carried over: {why}")

    def say(self, text: str) -> None:
        """Anything else."""
        self._lines[text] = None

    def secret(self, key: str) -> str:
        """The reference that takes the place of a secret written under `key`; the note names the variable to set."""
        words = _NOT_IN_A_NAME.sub("_", f"{self.where.partition(' ')[2].rpartition('://')[2]}_{key}".upper()).strip("_")
        variable = f"{VARIABLE_PREFIX}{words[:150]}"
        self.say(f"{shown(key)[1:-1]} is a secret in clear: set {variable} in the workers' environment to it")
        return f"${{{variable}}}"

    def file(self, key: str, path: object) -> str:
        """The reference that takes the place of a file named under `key`."""
        parts = [part for part in _NOT_IN_A_PATH.sub("_", str(path)).split("/") if part not in {"", ".", ".."}]
        relative = "/".join(parts)[-200:].strip("/") or "secret"
        self.say(f"{shown(key)[1:-1]} is read by the workers: put the file below WMS_SECRETS_DIR as {relative}")
        return f"${{file:{relative}}}"
