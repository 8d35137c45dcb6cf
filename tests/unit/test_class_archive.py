"""Which archive of Kafka's classes is used, and when there is none."""

from __future__ import annotations

import os
from pathlib import Path

from wms_tasks.embedded.class_archive import ClassArchive


def archive(tmp_path: Path) -> ClassArchive:
    """Of a java and a jar that are only names."""
    java, jars = tmp_path / "runtime" / "bin" / "java", tmp_path / "jars"
    for folder in (java.parent, jars):
        folder.mkdir(parents=True, exist_ok=True)
    for file in (java, java.parents[1] / "release", jars / "kafka.jar"):
        if not file.exists():
            file.touch()
    made = ClassArchive(tmp_path / "classes", java=java, jars=jars)
    made.prepare()
    return made


def test_the_first_run_lists_classes_and_later_ones_use_the_archive(tmp_path: Path) -> None:
    """As long as java and jars are the same."""
    first = archive(tmp_path)
    assert any(option.startswith("-XX:DumpLoadedClassList=") for option in first.options())
    first.path.touch()
    second = archive(tmp_path)
    assert second.path == first.path
    assert f"-XX:SharedArchiveFile={first.path}" in second.options()


def test_an_archive_of_other_jars_goes(tmp_path: Path) -> None:
    """The JVM would not use it, and it takes 64 MB."""
    first = archive(tmp_path)
    first.path.touch()
    os.utime(tmp_path / "jars" / "kafka.jar", (1, 1))
    second = archive(tmp_path)
    assert second.path != first.path
    assert not first.path.exists()
    assert any(option.startswith("-XX:DumpLoadedClassList=") for option in second.options())


def test_nothing_is_made_without_a_list(tmp_path: Path) -> None:
    """A Kafka that did not run has listed no classes; stopping then is no error."""
    one = archive(tmp_path)
    one.make()
    one.stop()
    assert list((tmp_path / "classes").iterdir()) == []
