"""What is taken out of text before it is logged or reported."""

from __future__ import annotations

import pytest

from wms_tasks.mask import MASKED, mask_for
from wms_tasks.settings import Settings


@pytest.mark.parametrize(
    ("setting", "value", "secret"),
    [
        ("broker_url", "redis://wms:s3cr3t-broker@redis:6379/0", "s3cr3t-broker"),
        ("database_url", "postgresql://wms@db/wms?password=s3cr3t-database", "s3cr3t-database"),
        ("database_url", "host=db password=s3cr3t-database", "s3cr3t-database"),
        ("database_url_housekeeping", "postgresql://keeper:s3cr3t-keeper@db/wms", "s3cr3t-keeper"),
        ("heartbeat_url", "https://dead.example/ping/s3cr3t-heartbeat", "ping/s3cr3t-heartbeat"),
        ("schema_registry_url", "https://wms:s3cr3t-url@registry.example/", "s3cr3t-url"),
        ("kafka_properties", "sasl.username=wms\nsasl.password=s3cr3t-kafka", "s3cr3t-kafka"),
        ("kafka_properties", '{"linger.ms": 7, "ssl.key.password": "s3cr3t-key"}', "s3cr3t-key"),
        # As a url it would have a scheme called wms, and no password.
        ("schema_registry_auth", "wms:s3cr3t-registry", "s3cr3t-registry"),
    ],
)
def test_each_setting_that_holds_a_secret_loses_it(setting: str, value: str, secret: str) -> None:
    """Whoever writes it, and around it nothing is changed."""
    mask = mask_for(Settings(**{setting: value}), {})
    assert mask(f"login refused for {secret}, again") == f"login refused for {MASKED}, again"
    assert secret not in mask(f"at {value}")
