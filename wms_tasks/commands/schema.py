"""``wms schema``: the messages' schema: look at it, put it into a registry, ask whether it breaks a reader."""

from __future__ import annotations

import json

import click

from wms_tasks.codec.avro_schema import current, published
from wms_tasks.codec.compatibility import breaks_either_way
from wms_tasks.codec.json_schema import json_schema
from wms_tasks.codec.registry import Registry
from wms_tasks.codec.wire import subject_of
from wms_tasks.commands.columns import show as show_columns
from wms_tasks.entry import settings_of
from wms_tasks.errors import UsageError, WmsError
from wms_tasks.settings import Settings


@click.group()
def schema() -> None:
    """The messages' schema: show, register, check."""


@schema.command()
@click.option("--version", help="One that was published, like v1.0; else what this release writes.")
@click.option("--json-schema", "as_json_schema", is_flag=True, help="The JSON Schema of messages in JSON, instead.")
@click.option("--list", "as_list", is_flag=True, help="Every version that was published, with its fingerprint.")
def show(version: str | None, as_json_schema: bool, as_list: bool) -> None:
    """Print the Avro schema of the messages. Needs no setting and no service."""
    if as_list:
        rows = [(name, one.fingerprint[::-1].hex(), str(len(one.tree["fields"]))) for name, one in published().items()]
        show_columns(("version", "fingerprint", "fields"), rows)
        return
    if version is not None and version not in published():
        raise UsageError(f"no version {version}; there are {', '.join(published())}")
    found = current() if version is None else published()[version]
    click.echo(json.dumps(json_schema(found.tree), indent=2) if as_json_schema else found.text.rstrip())


@schema.command()
def register() -> None:
    """
    Put this release's schema into the registry at WMS_SCHEMA_REGISTRY_URL, for the topic's values.

    A step of a release, before its workers, where WMS_ENV is staging or prod. Doing it again changes nothing.
    """
    settings, registry = _registry()
    subject = subject_of(settings.topic)
    click.echo(f"{subject}: id {registry.register(subject, current())} at {registry}")


@schema.command()
def check() -> None:
    """
    Can all readers and writers of this topic, old and new, read one another? Exit 1 if not.

    This release's schema is held against every one that was published; and, where WMS_SCHEMA_REGISTRY_URL is set, the
    registry is asked whether it would take it.
    """
    problems = 0
    for name, one in published().items():
        if one.n != current().n:
            continue
        found = breaks_either_way(current().tree, one.tree)
        problems += len(found)
        click.echo("\n".join(f"{name}: {line}" for line in found) or f"{name}: both ways")
    if settings_of("release", "registry").schema_registry_url is not None:
        problems += not _registry_takes_it()
    if problems:
        raise WmsError("it breaks a reader", hint="a breaking change is a new topic version: docs/contract.md")


def _registry_takes_it() -> bool:
    settings, registry = _registry()
    subject = subject_of(settings.topic)
    answer = registry.is_compatible(subject, current())
    said = {True: "would take it", False: "refuses it", None: "has no version yet"}[answer]
    click.echo(f"{subject}: {registry} {said}")
    return answer is not False


def _registry() -> tuple[Settings, Registry]:
    settings = settings_of("release", "registry")
    if settings.schema_registry_url is None:
        raise UsageError("WMS_SCHEMA_REGISTRY_URL is not set")
    return settings, Registry(settings, log=False)
