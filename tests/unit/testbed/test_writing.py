"""Our shards and the webdataset library: each reads what the other wrote, and both see the same samples."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import webdataset
from PIL import Image

from lab.testbed.writing import write_pair_shards
from sanitizer.data.labelled import open_labelled
from sanitizer.data.pairs import open_pairs
from sanitizer.data.shards import ShardSource
from tests.fixtures.shards import jpeg, make_labelled, make_pairs, pair_samples, random_image, write_tar


def library_samples(folder: Path) -> list[dict[str, Any]]:
    urls = [str(path) for path in sorted(folder.glob("*.tar"))]
    return list(webdataset.WebDataset(urls, shardshuffle=False, empty_check=False))


def test_webdataset_reads_our_pairs(tmp_path: Path) -> None:
    ours = open_pairs(make_pairs(tmp_path, 25))
    theirs = library_samples(tmp_path)
    assert [sample["__key__"] for sample in theirs] == [ours.key(index) for index in range(len(ours))]
    for index, sample in enumerate(theirs):
        assert sample["txt"].decode() == ours.read(index).caption
        with Image.open(io.BytesIO(sample["png"])) as image:
            assert np.array_equal(np.asarray(image), np.asarray(ours.read(index).image))


def test_webdataset_reads_our_labelled_sets(tmp_path: Path) -> None:
    ours = open_labelled(make_labelled(tmp_path, 25))
    theirs = library_samples(tmp_path)
    assert [int(sample["cls"]) for sample in theirs] == [ours.read(index).label for index in range(len(ours))]


def test_we_read_what_webdataset_writes(tmp_path: Path) -> None:
    for shard in range(2):
        with webdataset.TarWriter(str(tmp_path / f"{shard}.tar")) as writer:
            for index in range(5):
                number = shard * 5 + index
                writer.write(
                    {
                        "__key__": f"sample{number:06d}",
                        "jpg": random_image(number),
                        "txt": f"a dog {number}",
                        "json": {"caption": "not this one"},
                        "cls": number,
                    }
                )
    pairs = open_pairs(tmp_path)
    assert [pairs.read(index).caption for index in range(10)] == [f"a dog {number}" for number in range(10)]
    (tmp_path / "classnames.txt").write_text("".join(f"class {number}\n" for number in range(10)))
    labelled = open_labelled(tmp_path)
    assert [labelled.read(index).label for index in range(10)] == list(range(10))


def test_odd_member_names_are_grouped_as_webdataset_groups_them(tmp_path: Path) -> None:
    image = jpeg(random_image(0))
    names = [
        "a.jpg",
        "a.txt",
        "b.JPG",
        "b.seg.png",
        "b.txt",
        "README",
        "c.jpg",
        "a.txt",
        "./d.jpg",
        "./d.txt",
        ".e.jpg",
    ]
    write_tar(tmp_path / "s.tar", [(name, image) for name in names])
    ours = ShardSource([tmp_path / "s.tar"])
    theirs = library_samples(tmp_path)
    assert [ours.key(index) for index in range(len(ours))] == [
        sample["__key__"].removeprefix("./") for sample in theirs
    ]
    assert [key for key in theirs[1] if not key.startswith("__")] == ["jpg", "seg.png", "txt"]


def test_the_same_samples_give_the_same_bytes(tmp_path: Path) -> None:
    first = write_pair_shards(pair_samples(12), tmp_path / "a", 5)
    second = write_pair_shards(iter(pair_samples(12)), tmp_path / "b", 5)
    assert [path.name for path in first] == ["pairs-00000.tar", "pairs-00001.tar", "pairs-00002.tar"]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
