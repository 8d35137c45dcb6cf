"""
How messages of another ``n`` (the n of the topic's v{n}) become this release's record.

A release that raises `SCHEMA_VERSION` puts the former one in here, so that it reads both topics while they are in use
(docs/contract.md tells the roll-out). Empty for as long as there is only one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from wms_tasks.codec.rules import check_readable, one_line
from wms_tasks.errors import CodecError
from wms_tasks.result import Result

Fields = dict[str, Any]

# By n: from the fields as they were decoded to those of `Result`. A KeyError, TypeError or ValueError of it means that
# the message is none.
UPCASTS: dict[int, Callable[[Fields], Fields]] = {}


def upcast(version: int, fields: Fields) -> Result:
    """
    This release's record of what a message of that ``n`` holds.

    Raises:
        CodecError: it is none.
    """
    try:
        result = msgspec.convert(UPCASTS[version](fields), Result)
    except (msgspec.MsgspecError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise CodecError(f"no message of version {version}: {one_line(error)}") from error
    check_readable(result)
    return result
