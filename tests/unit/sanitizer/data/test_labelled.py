"""Labelled sets: indices and names, class folders, text files beside them, refusals."""

from pathlib import Path

import numpy as np
import pytest

from cleanclip.vocabulary.errors import DatasetRejected
from lab.testbed.writing import png
from sanitizer.data.labelled import LabelledDataset, open_labelled
from sanitizer.data.skipping import BadSample
from tests.fixtures.shards import labelled_samples, make_labelled, random_image, write_tar

IMAGE = png(random_image(0))
NAMES = "cat\ndog\ntree\n"


def with_texts(folder: Path, texts: list[dict[str, bytes]], names: str = NAMES) -> LabelledDataset:
    members = []
    for index, extensions in enumerate(texts):
        members.append((f"{index}.png", IMAGE))
        members += [(f"{index}.{extension}", data) for extension, data in extensions.items()]
    write_tar(folder / "s.tar", [(name, data) for name, data in members])
    (folder / "classnames.txt").write_text(names)
    return open_labelled(folder)


def class_folder(root: Path, folders: dict[str, int]) -> Path:
    for folder, num_images in folders.items():
        (root / folder).mkdir(parents=True)
        for index in range(num_images):
            (root / folder / f"{index}.PNG").write_bytes(IMAGE)
    return root


def code(path: Path) -> str:
    with pytest.raises(DatasetRejected) as caught:
        open_labelled(path)
    assert caught.value.remedy
    return caught.value.code


def test_images_labels_names_and_templates_come_back(tmp_path: Path) -> None:
    labelled = open_labelled(make_labelled(tmp_path, 25))
    assert labelled.class_names == ("cat", "dog", "tree")
    assert labelled.templates == ("a photo of a {c}.", "a {c}")
    assert (len(labelled), labelled.num_shards) == (25, 3)
    for index, (image, label) in enumerate(labelled_samples(25, 3)):
        sample = labelled.read(index)
        assert sample.label == label
        assert np.array_equal(np.asarray(sample.image), np.asarray(image))


def test_without_a_template_file_there_are_no_templates(tmp_path: Path) -> None:
    assert open_labelled(make_labelled(tmp_path, 3, templates=None)).templates is None


@pytest.mark.parametrize(
    ("texts", "label"),
    [
        ({"cls": b"2"}, 2),
        ({"cls": b" 1\n"}, 1),
        ({"cls": b"0", "txt": b"tree"}, 0),
        ({"json": b'{"label": 2}'}, 2),
        ({"json": b'{"class": "dog"}'}, 1),
        ({"json": b'{"cls": "tree", "label": 2}'}, 2),
        ({"cls": b"2", "json": b'{"cls": "tree", "label": "n01440764", "class": true}'}, 2),
        ({"cls": b"2", "json": b"no json"}, 2),
        ({"txt": b"dog\n"}, 1),
        ({"json": b'{"width": 3}', "txt": b"cat"}, 0),
    ],
)
def test_a_label_is_an_index_or_a_name(tmp_path: Path, texts: dict[str, bytes], label: int) -> None:
    assert with_texts(tmp_path, [texts]).read(0).label == label


@pytest.mark.parametrize(
    ("texts", "reason"),
    [
        ({"cls": b"3"}, "unknown_label"),
        ({"cls": b"-1"}, "unknown_label"),
        ({"cls": b"1.0"}, "unknown_label"),
        ({"cls": "١".encode()}, "unknown_label"),
        ({"cls": b"9" * 60_000}, "unknown_label"),
        ({"cls": b"dog"}, "unknown_label"),
        ({"cls": b"\xff"}, "not_utf8"),
        ({"txt": b"fish"}, "unknown_label"),
        ({"json": b'{"label": true}'}, "bad_json"),
        ({"json": b'{"label": 1.5}'}, "bad_json"),
        ({"json": b'{"width": 3}'}, "no_label"),
        ({"cls": b"1", "json": b'{"label": 2}'}, "labels_disagree"),
        ({"cls": b"1", "json": b'{"class": "tree"}'}, "labels_disagree"),
        ({"json": b'{"cls": "tree", "label": 0}'}, "labels_disagree"),
        ({}, "no_label"),
    ],
)
def test_a_bad_label_is_a_bad_sample(tmp_path: Path, texts: dict[str, bytes], reason: str) -> None:
    labelled = with_texts(tmp_path, [texts, {"cls": b"0"}])
    with pytest.raises(BadSample) as caught:
        labelled.read(0)
    assert caught.value.reason == reason


def test_a_name_of_two_classes_is_no_label_but_their_indices_are(tmp_path: Path) -> None:
    labelled = with_texts(tmp_path, [{"txt": b"crane"}, {"cls": b"1"}], names="crane\ncrane\n")
    with pytest.raises(BadSample, match="several classes"):
        labelled.read(0)
    assert labelled.read(1).label == 1


def test_class_folders_are_classes_in_sorted_order(tmp_path: Path) -> None:
    labelled = open_labelled(class_folder(tmp_path, {"dog": 2, "cat": 1, ".cache": 1}))
    assert labelled.class_names == ("cat", "dog")
    assert [labelled.read(index).label for index in range(len(labelled))] == [0, 1, 1]
    assert labelled.read(2).key == "dog/1.PNG"


def test_classnames_may_order_the_folders_or_rename_them(tmp_path: Path) -> None:
    folder = class_folder(tmp_path, {"a": 1, "b": 1})
    (folder / "classnames.txt").write_text("b\na\nc\n")
    assert [open_labelled(folder).read(index).label for index in (0, 1)] == [1, 0]
    (folder / "classnames.txt").write_text("tench\ngoldfish\n")
    renamed = open_labelled(folder)
    assert renamed.class_names == ("tench", "goldfish")
    assert [renamed.read(index).label for index in (0, 1)] == [0, 1]
    (folder / "classnames.txt").write_text("tench\ngoldfish\nshark\n")
    assert code(folder) == "bad_folder"


@pytest.mark.parametrize("names", ["Dog\nCat\n", "ship\ncat\n"])
def test_classnames_that_are_nearly_the_folders_are_refused_and_not_taken_in_order(
    tmp_path: Path, names: str
) -> None:
    folder = class_folder(tmp_path, {"cat": 1, "dog": 1})
    (folder / "classnames.txt").write_text(names)
    with pytest.raises(DatasetRejected, match="not exactly those of the folders") as refused:
        open_labelled(folder)
    assert refused.value.code == "bad_folder"


def test_links_out_of_the_class_folders_are_not_followed(tmp_path: Path) -> None:
    outside = class_folder(tmp_path / "outside", {"x": 1})
    folder = class_folder(tmp_path / "data", {"a": 1, "c": 1})
    (folder / "b").symlink_to(outside / "x")
    (folder / "a" / "z.png").symlink_to(outside / "x" / "0.PNG")
    labelled = open_labelled(folder)
    assert (labelled.class_names, len(labelled)) == (("a", "c"), 3)
    with pytest.raises(BadSample) as caught:
        labelled.read(2)
    assert caught.value.reason == "outside_folder"


def test_the_digest_covers_names_and_templates(tmp_path: Path) -> None:
    make_labelled(tmp_path, 3)
    digests = {open_labelled(tmp_path).sha256}
    (tmp_path / "classnames.txt").write_text("dog\ncat\ntree\n")
    digests.add(open_labelled(tmp_path).sha256)
    (tmp_path / "zeroshot_classification_templates.txt").write_text("the {c}\n")
    digests.add(open_labelled(tmp_path).sha256)
    assert len(digests) == 3


def test_what_cannot_be_opened_is_refused_with_its_code(tmp_path: Path) -> None:
    assert code(tmp_path / "nowhere") == "not_found"
    assert code(tmp_path) == "bad_folder"
    folder = make_labelled(tmp_path / "a", 3)
    (folder / "classnames.txt").unlink()
    assert code(folder) == "no_class_names"
    assert code(folder / "labelled-00000.tar") == "no_class_names"
    for names in ("", "cat\n\ndog\n", "x" * 201):
        (folder / "classnames.txt").write_text(names)
        assert code(folder) == "bad_class_names"
    (folder / "classnames.txt").write_bytes(b"caf\xe9\n")
    assert code(folder) == "bad_class_names"
    (folder / "classnames.txt").write_text(NAMES)
    (folder / "zeroshot_classification_templates.txt").write_text("a photo\n")
    assert code(folder) == "bad_template"
    write_tar(tmp_path / "b" / "s.tar", [("0.png", IMAGE)])
    (tmp_path / "b" / "classnames.txt").write_text(NAMES)
    assert code(tmp_path / "b") == "no_labels"


@pytest.mark.parametrize("hidden", ["\u200b", "\u2060", "\U000e0041", "\ue000"])
def test_class_names_with_characters_that_nobody_sees_are_refused(hidden: str, tmp_path: Path) -> None:
    (tmp_path / "classnames.txt").write_text(f"cat\ncat{hidden}\n", encoding="utf-8")
    write_tar(tmp_path / "shard.tar", [("a.png", b"x"), ("a.cls", b"0")])
    with pytest.raises(DatasetRejected) as caught:
        open_labelled(tmp_path)
    assert caught.value.code == "bad_class_names"
    assert f"U+{ord(hidden):04X}" in caught.value.message
