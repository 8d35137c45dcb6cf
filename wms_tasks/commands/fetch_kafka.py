"""``wms fetch-kafka``: download Kafka's jars now, so that `wms up` and the tests need not."""

from __future__ import annotations

import click

from wms_tasks.embedded.jars import fetch_jars
from wms_tasks.settings import get_settings


@click.command("fetch-kafka")
def fetch_kafka() -> None:
    """
    Download Kafka's jars from Maven Central into the cache, once.

    WMS_KAFKA_JARS=folder is looked at instead, for machines without network.
    """
    folder = fetch_jars(get_settings(), report=lambda line: click.echo(line, err=True))
    click.echo(str(folder))
