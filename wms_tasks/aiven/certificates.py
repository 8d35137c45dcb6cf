"""Puts certificates and keys into `certs_dir`: each whole or not at all, and never readable by others for a moment."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path

from wms_tasks.errors import SettingsError


def write_certificates(folder: Path, files: Mapping[str, str]) -> None:
    """
    Make each file as given, 0600. One that is so already is left alone, so that a folder may be read-only.

    Raises:
        SettingsError: a file cannot be written.
    """
    for name, text in files.items():
        path = folder / name
        try:
            if not _is(path, text):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                _write(path, text)
        except OSError as error:
            raise SettingsError(
                f"{path}: cannot be written: {error.strerror}", hint="WMS_CERTS_DIR names another folder"
            ) from error


def _is(path: Path, text: str) -> bool:
    try:
        return not stat.S_IMODE(path.stat().st_mode) & 0o077 and path.read_bytes() == text.encode()
    except FileNotFoundError:
        return False


def _write(path: Path, text: str) -> None:
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    aside.unlink(missing_ok=True)
    with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(text.encode())
    aside.replace(path)
