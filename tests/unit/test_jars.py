"""Kafka's jars: pinned, checked, downloaded once; a local server stands where Maven Central does."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.ports import free_port
from wms_tasks.commands.fetch_kafka import fetch_kafka
from wms_tasks.embedded.jars import Jar, cache_folder, download_jars, fetch_jars, missing_jars, pinned_jars
from wms_tasks.errors import EmbeddedError
from wms_tasks.settings import Settings


def jar_of(content: bytes, artifact: str) -> Jar:
    """A pinned entry for a file of this content."""
    digest = hashlib.sha256(content).hexdigest()
    return Jar(group="org.example", artifact=artifact, version="1.0", sha256=digest, bytes=len(content))


CONTENT = {f"part-{n}": bytes([n]) * (1000 * n + 1) for n in range(6)}
JARS = tuple(jar_of(content, artifact) for artifact, content in CONTENT.items())
ENTRIES_BY_PATH = {f"/{jar.path}": CONTENT[jar.artifact] for jar in JARS}


class Repository:
    """A Maven repository on loopback; ``files`` by path, ``asked`` is every path asked for."""

    def __init__(self) -> None:
        self.files = dict(ENTRIES_BY_PATH)
        self.asked: list[str] = []
        repository = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                repository.asked.append(self.path)
                body = repository.files.get(self.path)
                self.send_response(404 if body is None else 200)
                self.end_headers()
                self.wfile.write(body or b"")

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def repository() -> Iterator[Repository]:
    """A repository that has all of `JARS`."""
    repository = Repository()
    yield repository
    repository.close()


def make_whole(folder: Path) -> None:
    """Every pinned jar by name and size, without its content."""
    for jar in pinned_jars():
        with (folder / jar.name).open("wb") as file:
            file.truncate(jar.bytes)


def test_the_list_pins_kafka_and_a_logger_that_fits() -> None:
    """Kafka 4.3.1 with what it needs; slf4j-simple of the very release of slf4j-api (2.x does not bind)."""
    by_artifact = {jar.artifact: jar for jar in pinned_jars()}
    assert by_artifact["kafka_2.13"].version == "4.3.1"
    assert by_artifact["slf4j-simple"].version == by_artifact["slf4j-api"].version == "1.7.36"
    assert len(by_artifact) == len({jar.name for jar in pinned_jars()}) == len(pinned_jars())
    assert all(re.fullmatch("[0-9a-f]{64}", jar.sha256) and jar.bytes > 0 for jar in pinned_jars())


def test_a_jar_knows_its_place_in_a_maven_repository() -> None:
    """Group with slashes, artifact, version, file."""
    kafka = next(jar for jar in pinned_jars() if jar.artifact == "kafka_2.13")
    assert kafka.path == "org/apache/kafka/kafka_2.13/4.3.1/kafka_2.13-4.3.1.jar"


def test_download_puts_every_jar_and_nothing_else(repository: Repository, tmp_path: Path) -> None:
    """Whole files under their names, no temporary ones left; it says beforehand how many and how much."""
    said: list[str] = []
    download_jars(tmp_path / "deep" / "cache", JARS, report=said.append, repository=repository.url)
    files = {path.name: path.read_bytes() for path in (tmp_path / "deep" / "cache").iterdir()}
    assert files == {jar.name: CONTENT[jar.artifact] for jar in JARS}
    assert missing_jars(tmp_path / "deep" / "cache", JARS) == ()
    assert re.search(r"downloading 6 jars, 0 MB, from http://127", said[0])
    assert said[-1].endswith("complete")


def test_a_wrong_sum_is_refused_and_leaves_no_file(repository: Repository, tmp_path: Path) -> None:
    """Same length, other bytes: never seen under the jar's name."""
    bad = JARS[3]
    repository.files[f"/{bad.path}"] = b"x" * bad.bytes
    with pytest.raises(EmbeddedError, match=f"{bad.name} .*sha256.*{bad.sha256}"):
        download_jars(tmp_path, JARS, report=str, repository=repository.url)
    assert bad in missing_jars(tmp_path, JARS)
    assert {path.name for path in tmp_path.iterdir()} <= {jar.name for jar in JARS if jar is not bad}


def test_a_second_try_asks_only_for_what_is_missing(repository: Repository, tmp_path: Path) -> None:
    """A download cut short goes on with the other jars; a short file counts as missing."""
    download_jars(tmp_path, JARS, report=str, repository=repository.url)
    (tmp_path / JARS[2].name).write_bytes(b"short")
    (tmp_path / JARS[4].name).unlink()
    repository.asked.clear()
    download_jars(tmp_path, missing_jars(tmp_path, JARS), report=str, repository=repository.url)
    assert sorted(repository.asked) == sorted([f"/{JARS[2].path}", f"/{JARS[4].path}"])
    assert missing_jars(tmp_path, JARS) == ()


def test_two_downloads_at_once_do_not_meet(repository: Repository, tmp_path: Path) -> None:
    """Both end well, and every jar is whole."""
    with ThreadPoolExecutor(2) as pool:
        for future in [
            pool.submit(download_jars, tmp_path, JARS, report=str, repository=repository.url) for _ in range(2)
        ]:
            future.result(30)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
        jar.name: CONTENT[jar.artifact] for jar in JARS
    }


def test_without_network_one_line_names_the_way_out(tmp_path: Path) -> None:
    """Nobody listens there: the message says what could not be had, and WMS_KAFKA_JARS."""
    with pytest.raises(EmbeddedError) as caught:
        download_jars(tmp_path, JARS, report=str, repository=f"http://127.0.0.1:{free_port()}")
    assert re.fullmatch(
        r"cannot download http://127.*part-5-1\.0\.jar: ConnectionError \(.*WMS_KAFKA_JARS=.*\)", str(caught.value)
    )
    assert list(tmp_path.iterdir()) == []


def test_a_missing_file_on_the_server_is_one_line(repository: Repository, tmp_path: Path) -> None:
    """A mirror that lacks a jar is named with the url."""
    del repository.files[f"/{JARS[0].path}"]
    with pytest.raises(EmbeddedError, match=rf"cannot download .*{re.escape(JARS[0].name)}: HTTPError"):
        download_jars(tmp_path, JARS, report=str, repository=repository.url)


def test_a_cache_that_cannot_be_made_is_one_line(repository: Repository, tmp_path: Path) -> None:
    """A file where the folder should be."""
    (tmp_path / "file").write_text("")
    with pytest.raises(EmbeddedError, match=r"Not a directory.*XDG_CACHE_HOME"):
        download_jars(tmp_path / "file" / "cache", JARS, report=str, repository=repository.url)


def test_a_given_folder_is_used_as_it_is(tmp_path: Path) -> None:
    """WMS_KAFKA_JARS wins over the cache, and nothing is downloaded."""
    make_whole(tmp_path)
    said: list[str] = []
    assert fetch_jars(Settings(kafka_jars=tmp_path), report=said.append) == tmp_path.resolve()
    assert said == []


def test_a_given_folder_that_lacks_jars_names_them(tmp_path: Path) -> None:
    """One line: how many, and each by name."""
    make_whole(tmp_path)
    (tmp_path / "kafka-clients-4.3.1.jar").unlink()
    (tmp_path / "snakeyaml-2.5.jar").write_bytes(b"short")
    with pytest.raises(EmbeddedError) as caught:
        fetch_jars(Settings(kafka_jars=tmp_path))
    assert str(caught.value) == (
        f"WMS_KAFKA_JARS={tmp_path}: 2 of {len(pinned_jars())} jars missing or of another size: "
        "kafka-clients-4.3.1.jar, snakeyaml-2.5.jar"
    )


def test_the_command_prints_where_the_jars_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A complete cache is only named, on stdout."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cache_folder().mkdir(parents=True)
    make_whole(cache_folder())
    result = CliRunner().invoke(fetch_kafka)
    assert (result.exit_code, result.stdout) == (0, f"{tmp_path}/wms/kafka-4.3.1\n")
