"""
What WMS_KAFKA_PROPERTIES may say: properties of librdkafka, for our producers, consumers and admin clients alike. Pure.

Read by settings.py, which checks it at start, by mask.py, and by tls.py, which hands it on.
"""

from __future__ import annotations

import json
import re

_NAME = re.compile(r"[a-z0-9]+(\.[a-z0-9]+)*")
# Their values are secrets, or may hold one.
_SECRET = re.compile(r"password|secret|token|key\.pem|\.jaas|oauthbearer\.config")
# With another value of these, results would be lost, stored twice, or never seen to be stored.
_OURS = frozenset(
    {
        "acks",
        "allow.auto.create.topics",
        "auto.commit.enable",
        "auto.offset.reset",
        "delivery.timeout.ms",
        "enable.auto.commit",
        "enable.auto.offset.store",
        "enable.idempotence",
        "isolation.level",
        "message.timeout.ms",
        "partition.assignment.strategy",
        "request.required.acks",
        "transactional.id",
    }
)
_SETTINGS = {
    "bootstrap.servers": "WMS_KAFKA_BOOTSTRAP_SERVERS",
    "metadata.broker.list": "WMS_KAFKA_BOOTSTRAP_SERVERS",
    "group.id": "WMS_ENV and WMS_TOPIC_SUFFIX",
    "group.protocol": "WMS_KAFKA_GROUP_PROTOCOL",
}


def parse_properties(text: str) -> dict[str, str]:
    """
    The properties of ``name=value`` lines, of which empty ones and ``#`` comments say nothing, or of a JSON object.

    Raises:
        ValueError: what is wrong, in one line that repeats no value.
    """
    found = _from_json(text) if text.lstrip().startswith("{") else _from_lines(text)
    for name in found:
        if not _NAME.fullmatch(name) or name == "logger":
            raise ValueError("each is name=value, one a line, or all are a JSON object; names are librdkafka's")
        if name in _SETTINGS:
            raise ValueError(f"{name} is made from {_SETTINGS[name]}")
        if name in _OURS or name.startswith("test.mock."):
            raise ValueError(f"{name} is not to be set: that each slot is stored exactly once rests on it")
    return found


def secret_values(text: str) -> list[str]:
    """Of properties that `parse_properties` takes, the values that are secret."""
    return [value for name, value in parse_properties(text).items() if _SECRET.search(name)]


def _from_lines(text: str) -> dict[str, str]:
    lines = [line.strip() for line in text.splitlines()]
    return dict(_pair(line) for line in lines if line and not line.startswith("#"))


def _pair(line: str) -> tuple[str, str]:
    name, equals, value = line.partition("=")
    if not equals:  # not repeated: it may be the rest of a secret
        raise ValueError("a line is no name=value")
    return name.strip(), value.strip()


def _from_json(text: str) -> dict[str, str]:
    try:
        found = json.loads(text)
    except ValueError:
        raise ValueError("it begins like a JSON object and is none") from None
    return {name: _word(name, value) for name, value in found.items()}


def _word(name: str, value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | int | float):
        return str(value)
    raise ValueError(f"{name} is neither a text, a number, true nor false")
