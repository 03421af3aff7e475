"""The digest of source files changes with what the code is, and with nothing else."""

import hashlib

import pytest

from lab.reproduction.measuring import sources_sha256


@pytest.fixture
def package(tmp_path):
    folder = tmp_path / "one"
    (folder / "inner").mkdir(parents=True)
    (folder / "b.py").write_bytes(b"x = 1\n")
    (folder / "inner/a.py").write_bytes(b"y = 2\n")
    return folder


def test_it_is_over_names_and_bytes_in_the_order_of_the_names(package):
    assert sources_sha256(package) == hashlib.sha256(b"b.pyx = 1\ninner/a.pyy = 2\n").hexdigest()


def test_what_is_no_source_does_not_count_and_where_the_folder_lies_neither(package):
    before = sources_sha256(package)
    (package / "__pycache__").mkdir()
    (package / "__pycache__/b.cpython-311.pyc").write_bytes(b"bytes")
    (package / "words.txt").write_text("words")
    assert sources_sha256(package.rename(package.with_name("elsewhere"))) == before


def test_a_changed_byte_another_name_and_another_order_of_folders_are_told(package, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "c.py").write_bytes(b"z = 3\n")
    reported = {sources_sha256(package), sources_sha256(package, other), sources_sha256(other, package)}
    (package / "b.py").write_bytes(b"x = 2\n")
    reported.add(sources_sha256(package))
    (package / "b.py").rename(package / "d.py")
    reported.add(sources_sha256(package))
    assert len(reported) == 5
