"""A CSV file with images: columns, hostile paths, damaged rows."""

import os
from pathlib import Path

import pytest

from cleanclip.vocabulary.errors import DatasetRejected
from lab.testbed.writing import png
from sanitizer.data.pairs import PairDataset, open_pairs
from sanitizer.data.skipping import BadSample
from tests.fixtures.shards import random_image

IMAGE = png(random_image(0))


def manifest(folder: Path, text: str | bytes, name: str = "pairs.csv") -> Path:
    (folder / "images").mkdir(parents=True, exist_ok=True)
    (folder / "images" / "a.png").write_bytes(IMAGE)
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def reason(pairs: PairDataset, index: int) -> str:
    with pytest.raises(BadSample) as caught:
        pairs.read(index)
    return caught.value.reason


@pytest.mark.parametrize(
    "text",
    [
        'image,caption\nimages/a.png,"a dog, red"\n',
        '\ufeffImage,Caption\r\nimages/a.png,"a dog, red"\r\n\r\n',
        'id,title,filepath\n7,"a dog, red",images/a.png\n',
        "filepath\ttitle\nimages/a.png\ta dog, red\n",
    ],
)
def test_the_usual_headers_and_both_separators_are_understood(tmp_path: Path, text: str) -> None:
    pairs = open_pairs(manifest(tmp_path, text))
    assert len(pairs) == 1
    assert pairs.read(0).caption == "a dog, red"
    assert pairs.read(0).image.size == (32, 32)
    assert pairs.read(0).key == "images/a.png"


def test_a_folder_with_one_manifest_is_a_data_set(tmp_path: Path) -> None:
    manifest(tmp_path, "image,caption\nimages/a.png,x\n")
    assert len(open_pairs(tmp_path)) == 1


def test_two_manifests_in_a_folder_are_ambiguous(tmp_path: Path) -> None:
    for name in ("a.csv", "b.csv"):
        manifest(tmp_path, "image,caption\nimages/a.png,x\n", name)
    with pytest.raises(DatasetRejected) as caught:
        open_pairs(tmp_path)
    assert caught.value.code == "bad_folder"


def test_paths_that_lead_out_of_the_folder_are_bad_samples(tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(IMAGE)
    folder = tmp_path / "data"
    rows = [
        "../secret.png",
        str(tmp_path / "secret.png"),
        "link.png",
        "out/secret.png",
        ".",
        "loop.png",
        "a\0b",
    ]
    path = manifest(folder, "image,caption\nimages/a.png,x\n" + "".join(f"{row},x\n" for row in rows))
    (folder / "link.png").symlink_to(tmp_path / "secret.png")
    (folder / "out").symlink_to(tmp_path)
    (folder / "loop.png").symlink_to("loop.png")
    pairs = open_pairs(path)
    found = [reason(pairs, index) for index in range(1, len(pairs))]
    assert found[:5] == ["outside_folder"] * 5
    assert set(found[5:]) <= {"outside_folder", "missing_file"}


def test_a_link_inside_the_folder_is_followed(tmp_path: Path) -> None:
    path = manifest(tmp_path, "image,caption\nlink.png,x\n")
    (tmp_path / "link.png").symlink_to("images/a.png")
    assert open_pairs(path).read(0).caption == "x"


def test_damaged_rows_spoil_only_themselves(tmp_path: Path) -> None:
    rows = b"image,caption\nimages/a.png\nimages/a.png,caf\xe9\nimages/b.png,x\nimages,x\n"
    rows += b"images/a.png,\nimages/a.png,ok\npipe.png,x\n"
    os.mkfifo(tmp_path / "pipe.png")
    pairs = open_pairs(manifest(tmp_path, rows))
    assert [reason(pairs, index) for index in (0, 2, 3, 4, 5, 6)] == [
        "not_utf8",
        "missing_file",
        "not_regular_file",
        "empty_caption",
        "not_regular_file",
        "bad_row",
    ], "what cannot be used comes last"
    assert pairs.read(1).caption == "ok"
    assert pairs.key(6) == "row 1"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "must name a column for images"),
        ("caption\nx\n", "must name a column for images"),
        ("image\nimages/a.png\n", "and one for captions"),
        ("image,caption\n", "no image that can be used"),
        ("image,caption\nimages/a.png," + "x" * 200_000 + "\n", "not a readable CSV file"),
    ],
)
def test_a_manifest_that_cannot_be_used_is_refused(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(DatasetRejected, match=why) as caught:
        open_pairs(manifest(tmp_path, text))
    assert caught.value.code == "bad_folder"


def test_the_digest_covers_the_manifest_and_every_image_but_nothing_outside(tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(b"one")
    folder = tmp_path / "data"
    text = "image,caption\nimages/a.png,x\n../secret.png,y\n"
    first = open_pairs(manifest(folder, text)).sha256
    (tmp_path / "secret.png").write_bytes(b"two")
    assert open_pairs(folder / "pairs.csv").sha256 == first
    (folder / "images" / "a.png").write_bytes(IMAGE + b"\0")
    second = open_pairs(folder / "pairs.csv").sha256
    assert open_pairs(manifest(folder, text + "images/a.png,z\n")).sha256 not in {first, second}
    assert first != second
