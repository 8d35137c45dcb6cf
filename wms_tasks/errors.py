"""
Every error of ours, in one tree. The class docstring is the default message; ``hint`` says what to do.

    WmsError                    one line for a person; the CLI prints it and exits 1
    ├── UsageError              retry cannot help: the input is wrong; the CLI exits 2
    │   ├── SettingsError       a WMS_* variable
    │   │   └── NotAllowed      the login that it names has no right to do that
    │   ├── SitesFileError      sites.yaml: carries every problem found, each with file:line
    │   └── SecretError         a secret a site refers to cannot be had, or may not be sent there
    ├── EmbeddedError           an embedded service cannot be installed, started or stopped
    ├── MigrationError          the schema cannot be brought to the wanted migration
    ├── CodecError              a message is not a result this release can read, or a result cannot be written
    ├── TooManyRejects          what cannot be stored is no exception any more; nothing of the batch is
    ├── TopicMissingError       Kafka has no such topic and this environment may not make it
    ├── ServiceUnavailable      retry may help: Redis, Kafka or Postgres does not answer
    │   ├── NotPublished        the delivery report did not come, or said no
    │   └── RegistryAway        the schema registry does not answer, refuses us, or does not have our schema
    │       └── NotRegistered   the last of these
    └── LostPartition           another consumer owns the partition now: drop the batch, never retry it
"""

from __future__ import annotations


class WmsError(Exception):
    """Something of ours went wrong."""

    exit_code = 1

    def __init__(self, message: str = "", *, hint: str = "") -> None:
        self.hint = hint
        self.message = message or (self.__doc__ or "").strip()
        super().__init__(f"{self.message} ({hint})" if hint else self.message)


class UsageError(WmsError):
    """The input is wrong."""

    exit_code = 2


class SettingsError(UsageError):
    """A setting is wrong."""


class NotAllowed(SettingsError):  # noqa: N818
    """The login may not do that."""


class SitesFileError(UsageError):
    """The sites file is wrong."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))


class SecretError(UsageError):
    """A secret cannot be used. The message never holds its value."""


class EmbeddedError(WmsError):
    """An embedded service failed."""


class MigrationError(WmsError):
    """The schema could not be migrated."""


class CodecError(WmsError):
    """Not a result."""


class TooManyRejects(WmsError):  # noqa: N818
    """Too many messages cannot be stored."""


class TopicMissingError(WmsError):
    """The topic does not exist."""


class ServiceUnavailable(WmsError):  # noqa: N818 - reads as what it says
    """A service does not answer."""


class NotPublished(ServiceUnavailable):
    """Kafka did not confirm the result."""


class RegistryAway(ServiceUnavailable):
    """The schema registry does not answer."""


class NotRegistered(RegistryAway):
    """The schema registry does not have our schema."""


class LostPartition(WmsError):  # noqa: N818
    """Another consumer owns the partition."""
