"""
Settings from elsewhere: ``WMS_<NAME>_FILE`` names a file that holds the value, as containers have their secrets;
settings under the names that they had in releases before; and variables that others have made usual.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, ClassVar

from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from wms_tasks.errors import SettingsError


class UnreadableFileError(SettingsError):
    """The file of one setting, the field ``field_name``, cannot be read."""

    def __init__(self, field_name: str, message: str) -> None:
        self.field_name = field_name
        super().__init__(message)


class FileSource(PydanticBaseSettingsSource):
    """One trailing newline is dropped. Raises UnreadableFileError when it is asked."""

    def __init__(self, settings_cls: type[BaseSettings], given: Collection[str]) -> None:
        """Of what is `given` as an argument, no file is read."""
        super().__init__(settings_cls)
        self._given = given

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002
        """None where no file is named."""
        variable = f"{self.config['env_prefix']}{field_name.upper()}_FILE"
        path = os.environ.get(variable)
        if not path:
            return None, field_name, False
        try:
            return Path(path).read_text(encoding="utf-8").removesuffix("\n"), field_name, False
        except (OSError, UnicodeDecodeError) as error:
            raise UnreadableFileError(field_name, f"{variable}: cannot read {path}: {error}") from error

    def __call__(self) -> dict[str, Any]:
        """Those that are in files, by field."""
        found = {}
        for name, field in self.settings_cls.model_fields.items():
            value, key, _ = (None, name, False) if name in self._given else self.get_field_value(field, name)
            if value is not None:
                found[key] = value
        return found


class OldNameSource(FileSource):
    """What is set under a name that was given up, as a variable or a file; the new names win, if asked before."""

    def __init__(self, settings_cls: type[BaseSettings], given: Collection[str], renamed: Mapping[str, str]) -> None:
        """``renamed``: the fields' names, and what they were called."""
        super().__init__(settings_cls, given)
        self._renamed = renamed

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:
        """None where it is not set so."""
        old = self._renamed.get(field_name)
        if old is None:
            return None, field_name, False
        value = os.environ.get(f"{self.config['env_prefix']}{old.upper()}")
        if value:
            return value, field_name, False
        return super().get_field_value(field, old)[0], field_name, False


class OthersSource(PydanticBaseSettingsSource):
    """The variables of other programs that mean the same, where they are not empty; the first that is set counts."""

    NAMES: ClassVar[dict[str, tuple[str, ...]]] = {
        "sentry_dsn": ("SENTRY_DSN",),
        "aiven_token": ("AIVEN_AUTH_TOKEN", "AIVEN_TOKEN"),
    }

    @classmethod
    def variable_of(cls, field_name: str) -> str | None:
        """The one that counts for a field."""
        return next((name for name in cls.NAMES.get(field_name, ()) if os.environ.get(name)), None)

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002
        """None where others have no such variable, or it is not set."""
        name = self.variable_of(field_name)
        return os.environ[name] if name else None, field_name, False

    def __call__(self) -> dict[str, Any]:
        """Those that are set, by field."""
        found = {name: self.get_field_value(None, name)[0] for name in self.NAMES}
        return {name: value for name, value in found.items() if value is not None}
