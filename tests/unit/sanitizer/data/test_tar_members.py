"""The header walk against the standard library's tarfile, and on hostile archives."""

import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import numpy as np
import pytest

from cleanclip.vocabulary.errors import DatasetRejected
from sanitizer.data.tar_members import Member, walk
from tests.fixtures.hostile_shards import SHARDS
from tests.fixtures.shards import good_pair, write_tar


def members(path: Path) -> list[Member]:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return list(walk(descriptor, shard=path.name))
    finally:
        os.close(descriptor)


def refusal(path: Path) -> str:
    with pytest.raises(DatasetRejected) as caught:
        members(path)
    assert caught.value.where == path.name
    return caught.value.code


@pytest.mark.parametrize("tar_format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_every_tar_dialect_is_read_as_tarfile_reads_it(tmp_path: Path, tar_format: int) -> None:
    names = ["0001.jpg", "0001.txt", "a" * 96 + ".png", "folder" * 16 + "/" + "b" * 90 + ".png", "0002.empty"]
    if tar_format != tarfile.USTAR_FORMAT:
        names += ["ü" * 80 + ".jpg", "c" * 300 + ".jpg"]
    contents = [(name, bytes([index]) * (index * 700)) for index, name in enumerate(names)]
    path = write_tar(tmp_path / "shard.tar", [(name, data) for name, data in contents], tar_format)
    found = members(path)
    with tarfile.open(path) as archive:
        assert [(m.name, m.offset, m.size_bytes) for m in found] == [
            (info.name, info.offset_data, info.size) for info in archive
        ]
    data = path.read_bytes()
    assert [(m.name, data[m.offset : m.offset + m.size_bytes]) for m in found] == contents


def test_of_no_shard_that_is_taken_do_tarfile_or_gnu_tar_see_other_members(tmp_path: Path) -> None:
    """Over the corpus: of what is not refused whole, all see the same."""
    gnu_tar = shutil.which("tar")
    taken = {name: case for name, case in SHARDS.items() if case.refused is None}
    assert len(taken) > 40
    for name, case in taken.items():
        path = tmp_path / f"{name}.tar"
        case.write(path)
        found = members(path)
        with tarfile.open(path) as archive:
            seen = [(one.name.rstrip("/"), one.offset_data, one.size) for one in archive]
        assert seen == [(one.name.rstrip("/"), one.offset, one.size_bytes) for one in found], name
        if gnu_tar is not None:
            listed = subprocess.run(
                [gnu_tar, "-tf", path, "--quoting-style=escape"], check=True, capture_output=True, text=True
            )
            assert len(listed.stdout.splitlines()) == len(found), name


def test_links_devices_and_folders_are_no_files(tmp_path: Path) -> None:
    headers = []
    for name, kind in {
        "s.jpg": tarfile.SYMTYPE,
        "h.jpg": tarfile.LNKTYPE,
        "c.jpg": tarfile.CHRTYPE,
        "f.jpg": tarfile.FIFOTYPE,
        "d": tarfile.DIRTYPE,
    }.items():
        header = tarfile.TarInfo(name)
        header.type = kind
        header.linkname = "/etc/passwd"
        headers.append((header, b""))
    path = write_tar(tmp_path / "shard.tar", [*headers, *good_pair("0001")])
    kinds = {member.name.rstrip("/"): member.kind for member in members(path)}
    assert kinds == {
        "s.jpg": "other",
        "h.jpg": "other",
        "c.jpg": "other",
        "f.jpg": "other",
        "d": "folder",
        "0001.png": "file",
        "0001.txt": "file",
    }


def test_compressed_shards_are_refused_with_the_remedy(tmp_path: Path) -> None:
    for mode in ("gz", "bz2", "xz"):
        path = tmp_path / f"{mode}.tar"
        with tarfile.open(path, f"w:{mode}") as archive:  # type: ignore[call-overload]
            archive.addfile(tarfile.TarInfo("a.txt"))
        with pytest.raises(DatasetRejected, match="Decompress") as caught:
            members(path)
        assert caught.value.code == "compressed_shard"


def test_a_shard_cut_inside_a_member_is_truncated(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "shard.tar", [("0001.jpg", b"x" * 2000)])
    whole = path.read_bytes()
    path.write_bytes(whole[:1500])
    assert refusal(path) == "truncated_shard"


def test_a_shard_cut_inside_a_header_is_truncated(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "shard.tar", [("0001.jpg", b"x" * 512), ("0002.jpg", b"y" * 512)])
    path.write_bytes(path.read_bytes()[: 1024 + 300])
    assert refusal(path) == "truncated_shard"


@pytest.mark.parametrize("size_bytes", [1024, 1024 + 512])
def test_a_shard_cut_where_a_sample_ends_is_truncated_because_its_end_is_missing(
    size_bytes: int, tmp_path: Path
) -> None:
    """24 samples of 60 were a dataset that is ready. The end is two blocks of zeros, not one."""
    path = write_tar(tmp_path / "shard.tar", [("0001.jpg", b"x" * 512), ("0002.jpg", b"y" * 512)])
    whole = path.read_bytes()
    path.write_bytes(whole[:1024] + bytes(size_bytes - 1024))
    assert refusal(path) == "truncated_shard"
    path.write_bytes(whole[:1024] + bytes(1024))
    assert [member.name for member in members(path)] == ["0001.jpg"]


@pytest.mark.parametrize("content", [b"", b"hello", b"\x89PNG" * 1000, b"\xff" * 4096])
def test_what_is_no_tar_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "shard.tar"
    path.write_bytes(content)
    assert refusal(path) == "not_a_shard"


def test_a_damaged_header_in_the_middle_is_refused_not_skipped(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "shard.tar", [("0001.jpg", b"x" * 512), ("0002.jpg", b"y" * 512)])
    data = bytearray(path.read_bytes())
    data[1024 + 3] ^= 1
    path.write_bytes(data)
    assert refusal(path) == "not_a_shard"


def test_a_giant_pax_header_is_refused_before_it_is_read(tmp_path: Path) -> None:
    header = tarfile.TarInfo("0001.jpg")
    header.pax_headers = {"comment": "x" * 100_000}
    path = write_tar(tmp_path / "shard.tar", [(header, b"")], tarfile.PAX_FORMAT)
    assert refusal(path) == "not_a_shard"


def test_a_size_beyond_the_file_is_refused(tmp_path: Path) -> None:
    header = tarfile.TarInfo("0001.jpg")
    header.size = 2**40
    path = tmp_path / "shard.tar"
    path.write_bytes(header.tobuf(tarfile.GNU_FORMAT) + b"\0" * 2048)
    assert refusal(path) == "truncated_shard"


def test_random_damage_ends_in_members_or_a_refusal(tmp_path: Path) -> None:
    original = write_tar(tmp_path / "a.tar", good_pair("0001") + good_pair("x" * 120)).read_bytes()
    rng = np.random.default_rng(0)
    path = tmp_path / "b.tar"
    outcomes = set()
    for _ in range(400):
        is_cut = rng.random() < 0.8
        data = bytearray(original[: rng.integers(1, len(original) + 1)] if is_cut else original)
        for place in rng.integers(0, len(data), size=rng.integers(0, 4)):
            data[place] = rng.integers(256)
        path.write_bytes(data)
        try:
            found = members(path)
            assert all(member.offset + member.size_bytes <= len(data) for member in found)
            outcomes.add("read")
        except DatasetRejected as rejection:
            outcomes.add(rejection.code)
    assert {"read", "not_a_shard", "truncated_shard"} <= outcomes


def test_a_file_that_goes_on_after_the_end_of_its_archive_is_refused(tmp_path: Path) -> None:
    """tarfile would see one member, tar --ignore-zeros two."""
    first = write_tar(tmp_path / "a.tar", [("0001.jpg", b"x")]).read_bytes()
    path = tmp_path / "b.tar"
    path.write_bytes(first + first)
    with pytest.raises(DatasetRejected) as caught:
        members(path)
    assert caught.value.code == "data_after_end"
    path.write_bytes(first + bytes(1_000_000))
    assert [member.name for member in members(path)] == ["0001.jpg"]
