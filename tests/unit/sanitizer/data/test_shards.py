"""Samples of shards by index: grouping, names, caps, and what makes a sample bad."""

import os
import pickle
import tarfile
from pathlib import Path

import pytest

from lab.testbed.writing import png
from sanitizer.data.shards import MAX_OPEN_SHARDS, ShardSource
from sanitizer.data.skipping import BadSample
from tests.fixtures.shards import good_pair, random_image, write_tar

IMAGE = png(random_image(0))


def source(tmp_path: Path, members: list[tuple[str | tarfile.TarInfo, bytes]]) -> ShardSource:
    return ShardSource([write_tar(tmp_path / "shard.tar", members)])


def reasons(samples: ShardSource) -> dict[str, str]:
    """Key → reason of every sample; '' for a good one."""
    found = {}
    for index in range(len(samples)):
        try:
            samples.read(index)
            found[samples.key(index)] = ""
        except BadSample as bad:
            found[samples.key(index)] = bad.reason
    return found


def test_samples_are_the_bytes_that_were_written(tmp_path: Path) -> None:
    samples = source(
        tmp_path,
        [
            ("a.jpg", b"1"),
            ("a.txt", b"22"),
            ("a.json", b"333"),
            ("a.cls", b"4"),
            ("b.webp", b"5"),
            ("b.cls", b"6"),
        ],
    )
    assert len(samples) == 2
    assert [samples.key(0), samples.key(1)] == ["a", "b"]
    first, second = samples.read(0), samples.read(1)
    assert (first.image, dict(first.texts)) == (b"1", {"txt": b"22", "json": b"333", "cls": b"4"})
    assert (second.image, dict(second.texts)) == (b"5", {"cls": b"6"})


def test_the_key_ends_at_the_first_dot_and_extensions_ignore_case(tmp_path: Path) -> None:
    samples = source(tmp_path, [("a.JPEG", b"1"), ("a.TXT", b"x"), ("a.seg.png", b"mask"), ("b.1.jpg", b"2")])
    assert reasons(samples) == {"a": "", "b": "no_image"}
    assert samples.read(0).image == b"1"


def test_the_same_key_in_two_places_is_two_samples(tmp_path: Path) -> None:
    samples = source(tmp_path, [("a.jpg", b"1"), ("b.jpg", b"2"), ("a.txt", b"x")])
    assert [samples.key(index) for index in range(len(samples))] == ["a", "b", "a"]


def test_a_leading_dot_slash_folders_and_files_without_extension_are_no_samples(tmp_path: Path) -> None:
    folder = tarfile.TarInfo("./")
    folder.type = tarfile.DIRTYPE
    members: list[tuple[str | tarfile.TarInfo, bytes]] = [
        (folder, b""),
        ("./a.png", IMAGE),
        ("./a.txt", b"x"),
        ("README", b"y"),
        (".hidden.jpg", b"z"),
    ]
    assert reasons(source(tmp_path, [*members, ("__meta__", b"m")])) == {"a": ""}


@pytest.mark.parametrize(
    "name", ["/etc/x.jpg", "../x.jpg", "sub/x.jpg", "sub\\x.jpg", "x\n.jpg", "\udcff.jpg"]
)
def test_unsafe_names_are_bad_samples_of_their_own(tmp_path: Path, name: str) -> None:
    found = reasons(source(tmp_path, [*good_pair("a"), (name, IMAGE), *good_pair("b")]))
    assert found.pop("a") == found.pop("b") == ""
    assert list(found.values()) == ["unsafe_name"]
    assert all(key.isprintable() for key in found)


def test_links_and_devices_make_their_sample_bad(tmp_path: Path) -> None:
    link = tarfile.TarInfo("b.jpg")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    device = tarfile.TarInfo("c.jpg")
    device.type = tarfile.CHRTYPE
    members = [*good_pair("a"), (link, b""), ("b.txt", b"x"), (device, b""), ("c.txt", b"x")]
    assert reasons(source(tmp_path, members)) == {"a": "", "b": "not_regular_file", "c": "not_regular_file"}


def test_members_over_the_caps_are_bad_and_never_read(tmp_path: Path) -> None:
    members = [
        ("a.jpg", b"x" * 20_000_001),
        ("a.txt", b"x"),
        ("b.jpg", b"x"),
        ("b.txt", b"x" * 65_537),
        ("c.npy", b"x" * 20_000_001),
        ("c.jpg", b"x"),
    ]
    found = reasons(source(tmp_path, [(name, data) for name, data in members]))
    assert found == {"a": "image_too_large", "b": "text_too_large", "c": ""}


def test_a_member_twice_is_a_bad_sample(tmp_path: Path) -> None:
    assert reasons(source(tmp_path, [*good_pair("a"), ("a.txt", b"again")])) == {"a": "duplicate_member"}


def test_many_shards_are_read_with_few_open_files_and_after_pickling(tmp_path: Path) -> None:
    num_shards = MAX_OPEN_SHARDS + 10
    paths = [
        write_tar(tmp_path / f"{index:04d}.tar", [(f"{index}.jpg", str(index).encode())])
        for index in range(num_shards)
    ]
    samples = ShardSource(paths)
    assert samples.num_shards == num_shards
    readers = (samples, pickle.loads(pickle.dumps(samples)))
    for num_readers, reader in enumerate(readers, 1):
        for index in [*range(num_shards), 0, 1]:
            assert reader.read(index).image == str(index).encode()
            assert reader.key(index) == str(index)
        open_now = [os.path.realpath(one) for one in Path("/proc/self/fd").iterdir()]
        assert sum(one.startswith(str(tmp_path)) for one in open_now) <= MAX_OPEN_SHARDS * num_readers


def test_a_shard_that_became_shorter_gives_bad_samples(tmp_path: Path) -> None:
    samples = source(tmp_path, good_pair("a"))
    shard = tmp_path / "shard.tar"
    with shard.open("r+b") as stream:
        stream.truncate(600)
    with pytest.raises(BadSample, match="shorter"):
        samples.read(0)
