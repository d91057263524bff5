"""A store that cannot be had is found before a worker joins its group, and each reason is named with its mend."""

import errno
import sys
import tempfile
from pathlib import Path

import pytest

from processor.engine.store.opening import check_store
from processor.settings import Settings, SettingsError


def on_disk(folder: Path) -> Settings:
    return Settings(store="rocksdb", store_path=str(folder), app_id="app")


def problems(settings: Settings) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        check_store(settings)
    return list(caught.value.problems)


def test_one_in_memory_needs_nothing(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "rocksdict", None)
    (tmp_path / "file").touch()
    check_store(Settings(store="memory", store_path=str(tmp_path / "file")))


def test_a_folder_is_made_and_nothing_is_left_in_it(tmp_path):
    check_store(on_disk(tmp_path / "new" / "store"))
    assert list((tmp_path / "new" / "store" / "app").iterdir()) == []


def test_a_package_that_is_missing(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "rocksdict", None)
    [problem] = problems(on_disk(tmp_path))
    assert "DELIVERY_STORE is 'rocksdb'" in problem
    assert "pip install 'rocksdict>=" in problem


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    [problem] = problems(on_disk(tmp_path / "file" / "store"))
    assert "DELIVERY_STORE_PATH" in problem
    assert str(tmp_path / "file" / "store") in problem


@pytest.mark.parametrize("where", ["app", "app/delivery.messages.v1/3"])
def test_a_folder_that_cannot_be_written(tmp_path, monkeypatch, where):
    folder = tmp_path / "app" / "delivery.messages.v1" / "3"
    folder.mkdir(parents=True)
    write = tempfile.TemporaryFile

    def refuse(dir: Path):  # noqa: A002 - the name of theirs
        if Path(dir) == tmp_path / where:
            raise PermissionError(errno.EACCES, "Permission denied")
        return write(dir=dir)

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    [problem] = problems(on_disk(tmp_path))
    assert f"{tmp_path / where} cannot be written: Permission denied" in problem


def test_a_file_where_the_folder_of_a_partition_is_to_be(tmp_path):
    folder = tmp_path / "app" / "delivery.messages.v1"
    folder.mkdir(parents=True)
    (folder / "3").touch()
    [problem] = problems(on_disk(tmp_path))
    assert str(folder / "3") in problem


def test_a_full_disk_passes_and_is_waited_for_where_a_partition_is_opened(tmp_path, monkeypatch):
    def full(**_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    check_store(on_disk(tmp_path))


def test_all_that_is_wrong_is_told_at_once(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "rocksdict", None)
    (tmp_path / "file").touch()
    assert len(problems(on_disk(tmp_path / "file"))) == 2
