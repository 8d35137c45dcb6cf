"""
Kafka's jars: the exact files of kafka_jars.json, from Maven Central into a cache, each checked against its sha256.

A folder named by ``WMS_KAFKA_JARS`` is used as it is instead, for machines without network. Used by services.py,
``wms fetch-kafka`` and the tests.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import IO

import requests

from wms_tasks.embedded.meter import Meter
from wms_tasks.errors import EmbeddedError
from wms_tasks.settings import Settings

KAFKA_VERSION = "4.3.1"
MAVEN_CENTRAL = "https://repo1.maven.org/maven2"
PARALLEL_DOWNLOADS = 4
TIMEOUT_SECONDS = (10.0, 10.0)
CHUNK_BYTES = 256 * 1024
MEGABYTE = 10**6
OFFLINE_HINT = "without network: WMS_KAFKA_JARS=folder, with the jars copied from a machine that has fetched them"
CACHE_HINT = "XDG_CACHE_HOME=folder puts the cache elsewhere"


@dataclass(frozen=True, slots=True, kw_only=True)
class Jar:
    """One file of the list."""

    group: str
    artifact: str
    version: str
    sha256: str
    bytes: int

    @property
    def name(self) -> str:
        """The file's name, as Maven has it."""
        return f"{self.artifact}-{self.version}.jar"

    @property
    def path(self) -> str:
        """Below a Maven repository's root."""
        return f"{self.group.replace('.', '/')}/{self.artifact}/{self.version}/{self.name}"


def pinned_jars() -> tuple[Jar, ...]:
    """Everything Kafka needs at run time, and slf4j-simple, without which a start that fails says nothing."""
    text = resources.files(__package__).joinpath("kafka_jars.json").read_text(encoding="ascii")
    return tuple(Jar(**entry) for entry in json.loads(text))


def cache_folder() -> Path:
    """``$XDG_CACHE_HOME/wms/kafka-…``, by default below ``~/.cache``."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "wms" / f"kafka-{KAFKA_VERSION}"


def missing_jars(folder: Path, jars: tuple[Jar, ...]) -> tuple[Jar, ...]:
    """Those that are not in `folder` whole, by name and size; the sum was checked when they were put there."""

    def whole(jar: Jar) -> bool:
        try:
            return (folder / jar.name).stat().st_size == jar.bytes
        except OSError:
            return False

    return tuple(jar for jar in jars if not whole(jar))


def fetch_jars(settings: Settings, *, report: Callable[[str], object] = str) -> Path:
    """
    The folder with every jar, downloading what is missing; two processes may do so at once.

    Args:
        report: gets a line before a download and one after it; where stderr is no terminal, also as it goes on.

    Raises:
        EmbeddedError: the given folder lacks jars (named), or a download failed.
    """
    jars = pinned_jars()
    if settings.kafka_jars is not None:
        return _given(settings.kafka_jars, jars)
    folder = cache_folder()
    missing = missing_jars(folder, jars)
    if missing:
        download_jars(folder, missing, report=report)
    return folder.resolve()


def _given(folder: Path, jars: tuple[Jar, ...]) -> Path:
    missing = [jar.name for jar in missing_jars(folder, jars)]
    if missing:
        count = f"{len(missing)} of {len(jars)} jars"
        raise EmbeddedError(f"WMS_KAFKA_JARS={folder}: {count} missing or of another size: {', '.join(missing)}")
    return folder.resolve()


def download_jars(
    folder: Path, jars: tuple[Jar, ...], *, report: Callable[[str], object], repository: str = MAVEN_CENTRAL
) -> None:
    """
    Put `jars` into `folder`, a few at a time, each only once its sum has been checked.

    Raises:
        EmbeddedError: one line; jars that were complete by then stay, and are not asked for again.
    """
    total = sum(jar.bytes for jar in jars)
    report(
        f"Apache Kafka {KAFKA_VERSION}: downloading {len(jars)} jars, {total / MEGABYTE:.0f} MB, from {repository}"
        f" to {folder} (once)"
    )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Biggest first, so that the last seconds are not one long file alone.
        ordered = sorted(jars, key=lambda jar: jar.bytes, reverse=True)
        with Meter("Kafka", total, report) as meter, ThreadPoolExecutor(PARALLEL_DOWNLOADS) as pool:
            try:
                for _ in pool.map(lambda jar: _download(folder, jar, repository, meter), ordered):
                    pass
            except BaseException:
                meter.cancel()  # a Ctrl-C, or one failure, does not wait for the other downloads
                pool.shutdown(cancel_futures=True)
                raise
    except OSError as error:  # requests' errors are OSErrors too, but _copy has turned those into ours
        raise EmbeddedError(f"{error.filename or folder}: {error.strerror}", hint=CACHE_HINT) from error
    report(f"Apache Kafka {KAFKA_VERSION}: complete")


def _download(folder: Path, jar: Jar, repository: str, meter: Meter) -> None:
    """To a name of its own, then renamed: nobody ever sees half a jar, and two downloads of it do not meet."""
    handle, name = tempfile.mkstemp(dir=folder, prefix=f".{jar.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            digest = _copy(f"{repository}/{jar.path}", file, meter)
        if digest != jar.sha256:
            raise EmbeddedError(f"{jar.name} from {repository}: its sha256 is {digest}, not the pinned {jar.sha256}")
        Path(name).chmod(0o644)
        Path(name).replace(folder / jar.name)
    finally:
        with contextlib.suppress(FileNotFoundError):
            Path(name).unlink()


def _copy(url: str, file: IO[bytes], meter: Meter) -> str:
    """Download `url` into `file`; its sha256. A proxy and REQUESTS_CA_BUNDLE in the environment count here."""
    digest = hashlib.sha256()
    try:
        with requests.get(url, stream=True, timeout=TIMEOUT_SECONDS) as answer:
            answer.raise_for_status()
            for chunk in answer.iter_content(CHUNK_BYTES):
                digest.update(chunk)
                file.write(chunk)
                meter.add(len(chunk))
    except requests.RequestException as error:
        raise EmbeddedError(f"cannot download {url}: {type(error).__name__}", hint=OFFLINE_HINT) from error
    return digest.hexdigest()
