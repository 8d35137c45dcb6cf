"""The secrets of this machine, as a worker started here would find them. For the commands that probe or check."""

from __future__ import annotations

import os

from wms_tasks.probe.secrets import Secrets
from wms_tasks.settings import load_usable_settings


def local_secrets() -> Secrets:
    """Files only where the setting can be read: a broken one must not stop a check."""
    settings, _ = load_usable_settings()
    return Secrets(os.environ, settings.secrets_dir)
