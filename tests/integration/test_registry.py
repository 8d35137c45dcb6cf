"""Avro in Confluent's framing: what a registry is asked, and what is done while it does not answer."""

from __future__ import annotations

import http.client
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from structlog.testing import capture_logs

from tests.certificates import AUTHORITY, CA, SOON, in_front
from tests.ports import free_port
from tests.registry import MEDIA_TYPE, registry
from tests.registry import Registry as Double
from tests.results import FULL, a_result
from wms_tasks.codec import registry as module
from wms_tasks.codec.avro_schema import current
from wms_tasks.codec.registry import Registry
from wms_tasks.codec.wire import WireReader, WireWriter
from wms_tasks.errors import CodecError, NotRegistered, RegistryAway
from wms_tasks.settings import Settings

SUBJECT = "test.scraped-metrics.v1-value"
OURS = json.dumps(current().tree)
RESULT = a_result(**FULL)
PASSWORD = "s3cr3t-Päss:word"


@pytest.fixture
def double() -> Iterator[Double]:
    """A registry."""
    with registry() as running:
        yield running


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask again at once."""
    monkeypatch.setattr(module, "ASK_AGAIN_SECONDS", 0.0)


def settings_of(double: Double, **changes: Any) -> Settings:
    """Avro with this registry."""
    return Settings(**({"env": "test", "wire_format": "avro", "schema_registry_url": double.url} | changes))


def test_what_is_written_with_a_registry_is_read_with_it(double: Double) -> None:
    """The id stands before the value; each is asked for once."""
    settings = settings_of(double)
    double.put('"string"')
    writer, reader = WireWriter(settings), WireReader(settings)
    messages = [writer.encode(RESULT) for _ in range(3)]
    assert [value[:5] for value, _ in messages] == [b"\x00\x00\x00\x00\x02"] * 3
    reader.prepare(value for value, _ in messages)
    assert [reader.decode(value, headers) for value, headers in messages] == [RESULT] * 3
    assert double.subjects[SUBJECT] == [2]
    assert double.asked == [
        f"POST /subjects/{SUBJECT}",
        f"POST /subjects/{SUBJECT}/versions",
        "GET /schemas/ids/2",
    ]


def test_a_schema_that_is_registered_is_not_registered_again(double: Double) -> None:
    """It is looked up."""
    double.put(OURS, SUBJECT)
    value, _ = WireWriter(settings_of(double)).encode(RESULT)
    assert value[:5] == b"\x00\x00\x00\x00\x01"
    assert double.asked == [f"POST /subjects/{SUBJECT}"]


@pytest.mark.parametrize("env", ["staging", "prod"])
def test_where_nothing_is_made_the_schema_must_be_there(double: Double, env: str) -> None:
    """As with topics; the error says what to do, and once that is done it works."""
    writer = WireWriter(settings_of(double, env=env))
    with capture_logs() as logs:
        for _ in range(3):
            with pytest.raises(NotRegistered, match=rf"{env}\.scraped-metrics\.v1-value \(wms schema register\)"):
                writer.encode(RESULT)
    assert [one["event"] for one in logs] == ["registry.schema_missing"]
    assert double.schemas == []
    double.put(OURS, f"{env}.scraped-metrics.v1-value")
    assert writer.encode(RESULT)[0][:5] == b"\x00\x00\x00\x00\x01"


def said_of(double: Double, method: str, path: str, *, text: str = OURS, **headers: str) -> tuple[int, Any]:
    """Status and body of an answer to a client of whatever manners."""
    connection = http.client.HTTPConnection(double.url.removeprefix("http://"), timeout=10)
    try:
        body = json.dumps({"schema": text}) if method == "POST" else None
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        assert answer.headers["Content-Type"] == MEDIA_TYPE
        return answer.status, json.load(answer)
    finally:
        connection.close()


def test_the_double_minds_media_types(double: Double) -> None:
    """As a registry does: what is sent must be JSON, and said to be; what is asked for must be what it has."""
    double.put(OURS, SUBJECT)
    post, get = ("POST", f"/subjects/{SUBJECT}"), ("GET", "/schemas/ids/1")
    sent = "text/plain", "application/xml", "application/json; charset=utf-8", MEDIA_TYPE
    asked = "text/html", "application/json, */*;q=0.1"
    assert said_of(double, *post) == (415, {"error_code": 415, "message": "HTTP 415 Unsupported Media Type"})
    assert [said_of(double, *post, Content_Type=one)[0] for one in sent] == [415, 415, 200, 200]
    assert [said_of(double, *get, Accept=one)[0] for one in asked] == [406, 200]
    assert double.asked == [f"POST /subjects/{SUBJECT}"] * 2 + ["GET /schemas/ids/1"]


def test_the_double_knows_a_schema_however_it_is_written(double: Double) -> None:
    """Spaces and the order of keys are nothing; other words are another schema."""
    double.put(OURS, SUBJECT)
    same = json.dumps(dict(reversed(current().tree.items())), indent=2)
    other = OURS.replace("Who probed.", "Who probed it.")
    said = [
        said_of(double, "POST", f"/subjects/{SUBJECT}/versions", text=one, Content_Type=MEDIA_TYPE)
        for one in (same, other)
    ]
    assert said == [(200, {"id": 1}), (200, {"id": 2})]


def test_a_reader_without_avro_settings_needs_only_the_registry(double: Double) -> None:
    """WMS_WIRE_FORMAT is the writer's."""
    value, headers = WireWriter(settings_of(double)).encode(RESULT)
    assert WireReader(settings_of(double, wire_format="json")).decode(value, headers) == RESULT


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "has no schema 1"),
        ('"string"', "the schema is of no record"),
        (OURS.replace("wms.metrics.v1", "wms.metrics.v2"), "the schema is of wms.metrics.v2.Result"),
        (OURS.replace("wms.metrics.v1", "com.example"), "the schema is of com.example.Result"),
    ],
)
def test_an_id_that_says_nothing_to_us_is_a_codec_error(double: Double, text: str | None, says: str) -> None:
    """Unknown, of something else, or of a newer version: the message is kept as a reject, and never misread."""
    if text is not None:
        double.put(text)
    reader = WireReader(settings_of(double))
    value = b"\x00\x00\x00\x00\x01" + WireWriter(Settings(env="test", wire_format="avro")).encode(RESULT)[0][10:]
    for _ in range(3):
        reader.prepare([value])
        with pytest.raises(CodecError) as caught:
            reader.decode(value)
        assert says in caught.value.message
        assert "\n" not in caught.value.message
    assert double.asked == ["GET /schemas/ids/1"], "it is not asked for each message"


def test_an_unknown_id_is_asked_for_again_after_a_while(double: Double, monkeypatch: pytest.MonkeyPatch) -> None:
    """A registry may lag behind, or be restored."""
    monkeypatch.setattr(module, "UNKNOWN_SECONDS", 0.0)
    reader = WireReader(settings_of(double))
    value = b"\x00\x00\x00\x00\x01" + WireWriter(Settings(env="test", wire_format="avro")).encode(RESULT)[0][10:]
    reader.prepare([value])
    with pytest.raises(CodecError):
        reader.decode(value)
    double.put(OURS)
    reader.prepare([value])
    assert reader.decode(value) == RESULT


def test_a_registry_that_is_away_is_waited_for_and_said_once() -> None:
    """At a writer and at a reader; then it is back, and all goes on."""
    port = free_port()
    settings = Settings(env="test", wire_format="avro", schema_registry_url=f"http://127.0.0.1:{port}")
    writer = WireWriter(settings)
    with capture_logs() as logs:
        for _ in range(3):
            with pytest.raises(RegistryAway, match=rf"http://127\.0\.0\.1:{port}: ConnectError"):
                writer.encode(RESULT)
        with registry(port=port) as double:
            double.broken = True
            with pytest.raises(RegistryAway, match="500: Error in the backend data store"):
                writer.encode(RESULT)
            double.broken = False
            value, headers = writer.encode(RESULT)
    assert [one["event"] for one in logs] == ["registry.away", "registry.back"]
    reader = WireReader(settings)
    with capture_logs() as logs:
        for _ in range(3):
            with pytest.raises(RegistryAway):
                reader.prepare([value])
    assert [one["event"] for one in logs] == ["registry.away"]
    with registry(port=port) as double:
        double.put(OURS)
        reader.prepare([value])
        assert reader.decode(value, headers) == RESULT


def test_after_no_answer_it_is_left_alone_for_a_moment(double: Double, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each that waits would hold a thread for a time-out."""
    monkeypatch.setattr(module, "ASK_AGAIN_SECONDS", 60.0)
    double.broken = True
    writer = WireWriter(settings_of(double))
    for _ in range(5):
        with pytest.raises(RegistryAway):
            writer.encode(RESULT)
    assert len(double.asked) == 1


def test_what_answers_and_is_no_registry_is_away(double: Double) -> None:
    """A wrong path: nothing is taken for unknown, or messages would be rejected for a mistyped url."""
    reader = WireReader(settings_of(double, schema_registry_url=f"{double.url}/elsewhere"))
    with pytest.raises(RegistryAway, match="404: HTTP 404 Not Found"):
        reader.prepare([b"\x00\x00\x00\x00\x01"])


@pytest.mark.parametrize("how", ["setting", "url"])
def test_a_login_is_sent(double: Double, how: str) -> None:
    """From its own setting or from the url, percent-encoded there."""
    double.logins = {f"wms:{PASSWORD}"}
    login = {"schema_registry_auth": f"wms:{PASSWORD}"}
    if how == "url":
        login = {"schema_registry_url": double.url.replace("//", "//wms:s3cr3t-P%C3%A4ss%3Aword@")}
    assert WireWriter(settings_of(double, **login)).encode(RESULT)[0][:5] == b"\x00\x00\x00\x00\x01"


@pytest.mark.parametrize("how", ["setting", "url"])
def test_a_login_that_is_refused_is_one_line_without_it(
    double: Double, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It names the setting to look at."""
    double.logins = {"wms:another"}
    login = {"schema_registry_auth": f"wms:{PASSWORD}"}
    if how == "url":
        login = {"schema_registry_url": double.url.replace("//", "//wms:s3cr3t-P%C3%A4ss%3Aword@")}
    settings = settings_of(double, **login)
    with caplog.at_level(logging.DEBUG), capture_logs() as logs, pytest.raises(RegistryAway) as caught:
        WireWriter(settings).encode(RESULT)
    said = f"{caught.value}{logs}{caplog.text}{settings!r}"
    assert "it refuses us (401): look at WMS_SCHEMA_REGISTRY_AUTH" in caught.value.message
    assert "\n" not in caught.value.message
    assert "s3cr3t" not in said


def test_over_tls_by_our_own_authority(tmp_path: Path) -> None:
    """With the authority it is trusted, without it refused; a missing file is said, too."""
    (tmp_path / "ca.pem").write_text(CA)
    with registry(in_front(AUTHORITY.issue_cert("127.0.0.1", not_after=SOON))) as double:
        trusted = settings_of(double, schema_registry_ca=tmp_path / "ca.pem")
        assert WireWriter(trusted).encode(RESULT)[0][:5] == b"\x00\x00\x00\x00\x01"
        with pytest.raises(RegistryAway, match="certificate verify failed"):
            WireWriter(settings_of(double)).encode(RESULT)
        missing = settings_of(double, schema_registry_ca=tmp_path / "no.pem")
        with pytest.raises(RegistryAway, match="No such file"):
            WireWriter(missing).encode(RESULT)


def test_our_own_certificate_is_shown(tmp_path: Path) -> None:
    """Where the registry asks for one, as Kafka services with client certificates do."""
    import ssl

    context = in_front(AUTHORITY.issue_cert("127.0.0.1", not_after=SOON), verify_mode=ssl.CERT_REQUIRED)
    AUTHORITY.configure_trust(context)
    mine: trustme.LeafCert = AUTHORITY.issue_cert("wms@example.com", not_after=SOON)
    (tmp_path / "ca.pem").write_text(CA)
    (tmp_path / "key.pem").write_bytes(mine.private_key_pem.bytes())
    (tmp_path / "cert.pem").write_bytes(b"".join(one.bytes() for one in mine.cert_chain_pems))
    with registry(context) as double:
        ca = {"schema_registry_ca": tmp_path / "ca.pem"}
        shown = {"schema_registry_certificate": tmp_path / "cert.pem", "schema_registry_key": tmp_path / "key.pem"}
        assert WireWriter(settings_of(double, **ca, **shown)).encode(RESULT)[0][:5] == b"\x00\x00\x00\x00\x01"
        with pytest.raises(RegistryAway):
            WireWriter(settings_of(double, **ca)).encode(RESULT)


def test_a_registry_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the time-out, in one line."""
    import socket

    monkeypatch.setattr(module, "TIMEOUT_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(RegistryAway, match=r"no answer within 0\.2 s"):
            Registry(Settings(env="test", schema_registry_url=url)).schema(1)
