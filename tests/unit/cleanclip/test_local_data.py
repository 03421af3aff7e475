"""A local folder as samples, and as a shard: each layout, the same bytes each time, and what is left out."""

import hashlib
import io
import os
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from app.db.models.assets import Dataset
from cleanclip import local_data, packing
from cleanclip.command.main import main
from cleanclip.errors import Unreadable
from cleanclip.evidence.statement import dataset_sha256
from cleanclip.local_data import contents_of
from cleanclip.packing import Contents
from sanitizer.data.labelled import open_labelled
from sanitizer.data.pairs import open_pairs
from sanitizer.data.skipping import BadSample
from worker.staging.inputs import override_texts


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLEANCLIP_CACHE_DIR", str(tmp_path / "cache"))


def image(path: Path, red: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (20, 20), (red, 0, 0)).save(path)


def shard(contents: Contents) -> Path:
    assert [*packing.pack(contents)] == [], "it has fewer samples than are reported at once"
    return packing.shard_of(contents)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "My photos"
    for name in ("dog", "cat"):
        for number in range(3):
            image(root / name / f"{number}.png", 40 * number)
    return root


def test_class_folders_are_labelled_and_the_library_reads_the_shard(folder: Path, tmp_path: Path) -> None:
    contents = contents_of(folder)
    assert (contents.kind, contents.class_names, len(contents.samples)) == ("labelled", ("cat", "dog"), 6)
    path = shard(contents)
    assert path.name == "My-photos.tar"
    assert path.stat().st_size == contents.size_bytes
    read = tmp_path / "read"
    read.mkdir()
    (read / "classnames.txt").write_text("".join(f"{name}\n" for name in contents.class_names or ()))
    os.link(path, read / path.name)
    dataset = open_labelled(read)
    assert [dataset.read(index).label for index in range(len(dataset))] == [0, 0, 0, 1, 1, 1]
    assert contents_of(folder, class_names=["a cat", "a dog"]).class_names == ("a cat", "a dog")
    with pytest.raises(Unreadable, match="2 folders; 1 class names"):
        contents_of(folder, class_names=["cat"])


@pytest.mark.parametrize("templates", [None, ["a {c}", "one {c}"]])
def test_a_packed_folder_has_the_digest_that_the_pushed_dataset_has_in_the_service(
    folder: Path, tmp_path: Path, templates: list[str] | None, capsys: pytest.CaptureFixture[str]
) -> None:
    out, given = tmp_path / "packed", []
    if templates is not None:
        given = ["--templates", str(tmp_path / "templates.txt")]
        (tmp_path / "templates.txt").write_text("\n".join(templates))
    for expected in (0, 2):  # into a folder that holds something nothing is packed
        with pytest.raises(SystemExit) as caught:
            main(["datasets", "pack", str(folder), "--out", str(out), *given])
        assert int(caught.value.code or 0) == expected
    assert "not empty" in capsys.readouterr().err
    pushed = contents_of(folder, templates=templates)
    row = Dataset(class_names=list(pushed.class_names or ()), templates=templates)
    staged = {name: text.encode() for name, text in override_texts(row, "set").items()}
    staged["set/My-photos.tar"] = shard(pushed).read_bytes()
    digests = {Path(name).name: hashlib.sha256(data).hexdigest() for name, data in staged.items()}
    assert open_labelled(out).sha256 == dataset_sha256("labelled", digests)


def _captions(root: Path) -> None:
    for number in range(3):
        image(root / f"{number}.jpg", 40 * number)
        (root / f"{number}.txt").write_text(f"picture {number}\n", encoding="utf-8")
    image(root / "alone.jpg")


def _table(root: Path, *, header: str) -> None:
    for number in range(3):
        image(root / "images" / f"{number}.png", 40 * number)
    rows = [f"images/{number}.png,{'cat' if number else 'dog'}" for number in range(3)]
    (root / "list.csv").write_text("\n".join([header, *rows, "../no.png,cat"]) + "\n")


def _classes(root: Path, *, names: str = "") -> None:
    for name in ("n02", "n01"):
        image(root / name / "0.png", len(name))
    if names:
        (root / "classnames.txt").write_text(names)


LAYOUTS: dict[str, Callable[[Path], None]] = {
    "captions": _captions,
    "pairs in a table": lambda root: _table(root, header="image,caption"),
    "labels in a table": lambda root: _table(root, header="image,label"),
    "class folders": _classes,
    "class folders with other names": lambda root: _classes(root, names="tench\ngoldfish\n"),
    "class folders in another order": lambda root: _classes(root, names="n02\nn01\n"),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_library_takes_what_is_pushed_and_reads_it_as_the_service_does(name: str, tmp_path: Path) -> None:
    root, packed = tmp_path / "loose", tmp_path / "packed"
    LAYOUTS[name](root)
    contents = contents_of(root)
    assert [*packing.pack_into(contents, packed)] == []
    opened: Any = open_pairs if contents.kind == "pairs" else open_labelled
    loose, shards = opened(root), opened(packed)
    assert loose.sha256 == shards.sha256
    assert len(loose) == len(contents.samples) + len(contents.left_out)
    read, expected = ([one.read(index) for index in range(len(shards))] for one in (loose, shards))
    what = "caption" if contents.kind == "pairs" else "label"
    assert [getattr(one, what) for one in read] == [getattr(one, what) for one in expected]
    assert [one.image.tobytes() for one in read] == [one.image.tobytes() for one in expected]
    for index in range(len(shards), len(loose)):
        with pytest.raises(BadSample):
            loose.read(index)
    if contents.kind == "labelled":
        assert loose.class_names == shards.class_names == contents.class_names


def test_the_same_files_give_the_same_bytes_and_another_file_another_identity(folder: Path) -> None:
    first = contents_of(folder)
    path = shard(first)
    data = path.read_bytes()
    changed = path.stat().st_mtime_ns
    assert shard(first) == path
    assert path.stat().st_mtime_ns == changed, "what an earlier run packed is there"
    packing.discard(path)
    assert not path.exists()
    assert shard(contents_of(folder)).read_bytes() == data
    os.utime(folder / "cat" / "0.png", ns=(1, 1))
    assert contents_of(folder).identity != first.identity


def test_images_with_captions_beside_are_pairs(tmp_path: Path) -> None:
    for number in range(3):
        image(tmp_path / "p" / f"{number}.jpg")
        (tmp_path / "p" / f"{number}.txt").write_text(f"picture {number}\n", encoding="utf-8")
    image(tmp_path / "p" / "alone.jpg")
    contents = contents_of(tmp_path / "p")
    assert [one.name for one in contents.left_out] == ["alone.jpg"]
    (tmp_path / "read").mkdir()
    os.link(shard(contents), tmp_path / "read" / "p.tar")
    pairs = open_pairs(tmp_path / "read")
    assert [pairs.read(index).caption for index in range(len(pairs))] == [
        "picture 0",
        "picture 1",
        "picture 2",
    ]


def test_a_table_names_images_and_captions_or_labels_and_no_file_outside_its_folder(folder: Path) -> None:
    (folder.parent / "secret.png").write_bytes(b"x")
    (folder / "link.png").symlink_to(folder.parent / "secret.png")
    rows = ["cat/0.png\ta cat\tcat", "dog/1.png\ta dog\tdog", "../secret.png\tx\tcat", "link.png\tx\tcat"]
    table = folder / "list.tsv"
    table.write_text("\n".join(["filepath\ttitle\tlabel", *rows, "gone.png\ty\tcat"]) + "\n")
    pairs = contents_of(folder)
    assert (pairs.kind, [one.text for one in pairs.samples]) == ("pairs", [b"a cat", b"a dog"])
    assert [one.name for one in pairs.left_out] == ["../secret.png", "link.png", "gone.png"]
    labelled = contents_of(table, kind="labelled")
    assert labelled.class_names == ("cat", "dog")
    assert [one.text for one in labelled.samples] == [b"0", b"1"]
    table.write_text("a,b\n1,2\n")
    with pytest.raises(Unreadable, match="must name a column for images"):
        contents_of(folder)


def test_shards_of_any_names_become_one(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "w").mkdir()
    for name in ("a.tar", "b.tar"):  # the same keys in both
        os.link(shard(contents_of(folder)), tmp_path / "w" / name)
    with pytest.raises(Unreadable, match=r"no classnames\.txt"):
        contents_of(tmp_path / "w")
    (tmp_path / "w" / "classnames.txt").write_text("cat\ndog\n")
    (tmp_path / "w" / "zeroshot_classification_templates.txt").write_text("a photo of a {c}.\n")
    contents = contents_of(tmp_path / "w")
    assert (len(contents.samples), contents.templates) == (12, ("a photo of a {c}.",))
    with tarfile.open(shard(contents)) as archive:
        assert archive.getnames()[-1] == "00000011.cls"


def test_hostile_members_names_and_sizes_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_data, "MAX_IMAGE_BYTES", 100)
    path = tmp_path / "w" / "a.tar"
    path.parent.mkdir()
    with tarfile.open(path, "w") as archive:
        for name, data in (
            ("../../x.png", b"i"), ("../../x.txt", b"up"), ("big.png", b"i" * 101), ("big.txt", b"too large"),
            ("no.txt", b"image"), ("j.jpg", b"i"), ("j.json", b'{"caption": "in json"}'), ("n.jpg", b"i"),
        ):  # fmt: skip
            header = tarfile.TarInfo(name)
            header.size = len(data)
            archive.addfile(header, io.BytesIO(data))
        link = tarfile.TarInfo("l.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    contents = contents_of(path.parent)
    assert [one.text for one in contents.samples] == [b"up", b"in json"]
    assert len(contents.left_out) == 3
    with tarfile.open(shard(contents)) as archive:
        assert archive.getnames() == ["00000000.png", "00000000.txt", "00000001.jpg", "00000001.txt"]


@pytest.mark.parametrize("name", ["empty", "compressed", "missing"])
def test_what_is_not_understood_is_refused_with_what_is(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    if name != "missing":
        folder.mkdir()
    if name == "compressed":
        with tarfile.open(folder / "a.tar", "w:gz"):
            pass
    with pytest.raises(Unreadable, match=r"class folders|not a plain \.tar|No such file"):
        contents_of(folder)


def test_classes_that_the_service_would_refuse_are_told_before_anything_is_packed(tmp_path: Path) -> None:
    image(tmp_path / "d" / "only" / "0.png")
    with pytest.raises(Unreadable, match="1 class; 2 to 25,000"):
        contents_of(tmp_path / "d")
    image(tmp_path / "d" / ("n" * 201) / "0.png")
    with pytest.raises(Unreadable, match="more than 200 characters"):
        contents_of(tmp_path / "d")


def test_a_disk_that_is_full_is_said_before_it_is(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=10))
    with pytest.raises(Unreadable, match="10 are free"):
        shard(contents_of(folder))


def test_a_checkpoint_is_not_taken_for_data(tmp_path: Path) -> None:
    (tmp_path / "clip.pt").write_bytes(b"PK\x03\x04" + bytes(100))
    with pytest.raises(Unreadable, match="cleanclip upload"):
        contents_of(tmp_path / "clip.pt", kind=None)
