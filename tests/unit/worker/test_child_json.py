"""A child's small files are read as files of its own folder, and through no link on the way."""

from pathlib import Path

import pytest

from worker.confinement.child_json import read_regular


def test_a_file_behind_a_linked_folder_is_not_read(tmp_path: Path) -> None:
    other, job = tmp_path / "other job" / "state", tmp_path / "job"
    other.mkdir(parents=True)
    job.mkdir()
    (other / "baseline_audit.json").write_text("{}")
    assert read_regular(other / "baseline_audit.json", 10) == b"{}"
    (job / "state").symlink_to(other)
    with pytest.raises(OSError, match="state"):
        read_regular(job / "state" / "baseline_audit.json", 10)


def test_a_linked_file_and_one_that_is_too_large_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(bytes(11))
    (tmp_path / "link").symlink_to(tmp_path / "large")
    with pytest.raises(ValueError, match="large"):
        read_regular(tmp_path / "large", 10)
    with pytest.raises(OSError, match="link"):
        read_regular(tmp_path / "link", 100)
