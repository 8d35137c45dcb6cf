"""The three ways a file is edited, a file that is gone for a moment, and a folder of them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from wms_tasks.sites.folder import files_of
from wms_tasks.sites.watch import FileWatcher


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file to watch."""
    path = tmp_path / "sites.yaml"
    path.write_text("one", encoding="utf-8")
    return path


def test_nothing_happened(path: Path) -> None:
    """A look changes nothing."""
    watcher = FileWatcher(path)

    assert [watcher.changed(), watcher.changed()] == [False, False]


def test_edit_in_place_is_told_once(path: Path) -> None:
    """As an editor writes into the file."""
    watcher = FileWatcher(path)
    path.write_text("another", encoding="utf-8")

    assert [watcher.changed(), watcher.changed()] == [True, False]


def test_edit_of_the_same_size_and_time_is_seen(path: Path) -> None:
    """A copy that keeps the times, of a file as long as the old one."""
    before = path.stat()
    watcher = FileWatcher(path)
    path.write_text("two", encoding="utf-8")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    assert watcher.changed()


def test_rename_over_is_told_once(path: Path) -> None:
    """As an editor saves safely, and as configuration management does."""
    watcher = FileWatcher(path)
    fresh = path.with_suffix(".new")
    fresh.write_text("one", encoding="utf-8")
    fresh.replace(path)

    assert [watcher.changed(), watcher.changed()] == [True, False]


def test_symlink_swap_is_told_once(tmp_path: Path) -> None:
    """As Kubernetes updates a ConfigMap: sites.yaml → ..data/sites.yaml, and ..data is swapped."""
    for version in ("v1", "v2"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "sites.yaml").write_text(version, encoding="utf-8")
    (tmp_path / "..data").symlink_to("v1")
    (tmp_path / "sites.yaml").symlink_to("..data/sites.yaml")
    watcher = FileWatcher(tmp_path / "sites.yaml")

    (tmp_path / "..data_tmp").symlink_to("v2")
    (tmp_path / "..data_tmp").replace(tmp_path / "..data")

    assert [watcher.changed(), watcher.changed()] == [True, False]


def test_a_file_gone_for_a_moment_is_no_change_until_it_is_back(path: Path) -> None:
    """Between unlink and write nothing is reloaded; then the new file is."""
    watcher = FileWatcher(path)
    path.unlink()
    gone = (watcher.changed(), watcher.missing)
    path.write_text("two", encoding="utf-8")
    back = (watcher.changed(), watcher.missing)

    assert (gone, back, watcher.changed()) == ((False, True), (True, False), False)


def test_the_same_file_back_is_no_change(path: Path) -> None:
    """A folder that was unmounted for a moment."""
    watcher = FileWatcher(path)
    folder = path.parent.rename(path.parent.with_name("away"))
    gone = watcher.changed()
    missing = watcher.missing
    folder.rename(path.parent)

    assert (gone, missing, watcher.changed(), watcher.missing) == (False, True, False, False)


def test_a_file_that_comes_later_is_a_change(tmp_path: Path) -> None:
    """A watcher may be made before the file is."""
    watcher = FileWatcher(tmp_path / "later.yaml")
    assert (watcher.changed(), watcher.missing) == (False, True)
    (tmp_path / "later.yaml").write_text("one", encoding="utf-8")

    assert (watcher.changed(), watcher.missing) == (True, False)


class TestFolder:
    """A folder of sites files."""

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        """Two of them."""
        for name in ("a.yaml", "b.yml"):
            (tmp_path / name).write_text("sites: []")
        return tmp_path

    def test_any_file_of_it(self, folder: Path) -> None:
        """Edited, added, and replaced by a rename; each told once."""
        watcher = FileWatcher(folder)
        assert not watcher.changed()
        (folder / "a.yaml").write_text("sites: [] # edited")
        assert watcher.changed()
        (folder / "c.yaml").write_text("sites: []")
        assert watcher.changed()
        (folder / ".new").write_text("sites: []")
        (folder / ".new").rename(folder / "b.yml")
        assert watcher.changed()
        assert not watcher.changed()

    def test_what_is_none_of_its_files(self, folder: Path) -> None:
        """Hidden files, other endings and folders change nothing."""
        watcher = FileWatcher(folder)
        for name in (".hidden.yaml", "notes.txt", "a.yaml~", "a.yaml.swp"):
            (folder / name).write_text("x")
        (folder / "more.yaml").mkdir()
        assert not watcher.changed()
        assert [file.name for file in files_of(folder)] == ["a.yaml", "b.yml"]

    def test_a_file_that_is_gone(self, folder: Path) -> None:
        """For a moment, as some editors do, it is no change; for good it is one."""
        watcher = FileWatcher(folder)
        text = (folder / "a.yaml").read_text()
        (folder / "a.yaml").unlink()
        assert not watcher.changed()
        (folder / "a.yaml").write_text(text + "\n")
        assert watcher.changed()
        (folder / "a.yaml").unlink()
        assert [watcher.changed() for _ in range(3)] == [False, True, False]

    def test_a_configmap(self, tmp_path: Path) -> None:
        """Kubernetes swaps the link ..data, through which every file of the folder leads."""
        for version in ("..1", "..2"):
            (tmp_path / version).mkdir()
            (tmp_path / version / "a.yaml").write_text("sites: []")
        (tmp_path / "..data").symlink_to("..1")
        (tmp_path / "a.yaml").symlink_to("..data/a.yaml")
        watcher = FileWatcher(tmp_path)
        (tmp_path / "new").symlink_to("..2")
        (tmp_path / "new").rename(tmp_path / "..data")
        assert watcher.changed()
        assert files_of(tmp_path) == (tmp_path / "a.yaml",)
