"""A job's folder: private, gone afterwards, and cleaned up after the dead only."""

import fcntl
import os
import stat
from pathlib import Path

import pytest

from worker.confinement.trees import DiskUse, disk_use
from worker.staging.workspace import remove_orphans, workspace


def test_the_folder_is_private_and_gone_afterwards(tmp_path: Path) -> None:
    with workspace(tmp_path / "work", "job_1", 1) as place:
        assert stat.S_IMODE(place.folder.stat().st_mode) == 0o700
        (place.job / "file").write_text("x")
    assert list((tmp_path / "work").iterdir()) == []


def test_the_folder_is_gone_also_when_the_work_fails(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), workspace(tmp_path, "job_1", 1):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_what_a_child_made_unreadable_is_removed_all_the_same(tmp_path: Path) -> None:
    with workspace(tmp_path, "job_1", 1) as place:
        locked = place.job / "outer" / "inner"
        locked.mkdir(parents=True)
        (locked / "file").write_text("x")
        locked.chmod(0)
        locked.parent.chmod(0)
    assert list(tmp_path.iterdir()) == []


def test_a_link_out_of_the_folder_is_removed_and_its_target_is_not(tmp_path: Path) -> None:
    target = tmp_path / "precious"
    target.mkdir()
    (target / "file").write_text("x")
    with workspace(tmp_path / "work", "job_1", 1) as place:
        (place.job / "link").symlink_to(target)
    assert (target / "file").read_text() == "x"


def test_orphans_are_removed_and_folders_in_use_are_not(tmp_path: Path) -> None:
    orphan = tmp_path / "job_dead.1"
    (orphan / "job").mkdir(parents=True)
    (orphan / "lock").touch()
    (tmp_path / "job_halfmade.1").mkdir()
    used = tmp_path / "job_alive.1"
    used.mkdir()
    lock = os.open(used / "lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX)
    assert remove_orphans(tmp_path) == ["job_dead.1", "job_halfmade.1"]
    assert [path.name for path in tmp_path.iterdir()] == ["job_alive.1"]
    os.close(lock)


def test_a_work_folder_that_does_not_exist_yet_has_no_orphans(tmp_path: Path) -> None:
    assert remove_orphans(tmp_path / "nothing") == []


def test_no_depth_and_no_name_keeps_a_folder_from_being_removed(tmp_path: Path) -> None:
    with workspace(tmp_path / "work", "job_1", 1) as place:
        below = os.open(place.job, os.O_RDONLY)
        for _ in range(1500):
            os.mkdir("n" * 255, dir_fd=below)
            below, above = os.open("n" * 255, os.O_RDONLY, dir_fd=below), below
            os.close(above)
        os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=below))
        os.close(below)
        bound = DiskUse(size_bytes=2**60, num_files=10_000)
        assert disk_use(place.job, stop_at=bound).num_files > bound.num_files, "so deep is not a honest work"
    assert list((tmp_path / "work").iterdir()) == []


def test_what_lies_under_long_names_and_closed_folders_is_counted(tmp_path: Path) -> None:
    folder = tmp_path / "job"
    deep = folder
    for _ in range(8):
        deep = deep / ("n" * 200)
    deep.mkdir(parents=True)
    (deep / "file").write_bytes(bytes(100_000))
    deep.chmod(0)
    used = disk_use(folder, stop_at=DiskUse(size_bytes=2**60, num_files=2**60))
    assert used.num_files == 9
    assert used.size_bytes >= 100_000


def test_an_orphan_that_cannot_be_removed_keeps_no_worker_from_its_start(tmp_path: Path) -> None:
    (tmp_path / "job_odd.1").mkdir()
    (tmp_path / "job_odd.1" / "lock").symlink_to("/nowhere")
    (tmp_path / "job_plain.1").mkdir()
    assert remove_orphans(tmp_path) == ["job_plain.1"]
