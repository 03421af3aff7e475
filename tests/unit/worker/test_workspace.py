"""A job's folder: private, gone afterwards, and cleaned up after the dead only."""

from __future__ import annotations

import fcntl
import os
import stat
from pathlib import Path

import pytest

from worker.workspace import remove_orphans, workspace


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
