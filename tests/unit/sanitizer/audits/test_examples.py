"""Which images are shown, and how they are kept: by chance, bounded, and without a look at any model."""

import base64
import io
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cleanclip.vocabulary.attack_options import BadNetOptions, BlendedOptions, SIGOptions
from cleanclip.vocabulary.errors import Interrupted
from cleanclip.vocabulary.examples import MAX_IMAGES, Examples, num_examples
from cleanclip.vocabulary.plain_images import MAX_BYTES, MAX_SIDE, read_image
from cleanclip.vocabulary.recipe import AuditOptions
from lab.testbed.writing import write_labelled_shards
from sanitizer.audits.audit import run_audit
from sanitizer.audits.example_images import READS_EACH, Seen, choose, encode
from sanitizer.checkpoints.model import LoadedCheckpoint
from sanitizer.data.labelled import LabelledDataset, open_labelled
from sanitizer.run import Run
from tests.fixtures.audited import CLASS_NAMES, labels, pictures
from tests.fixtures.example_pictures import noise


def written(folder: Path, of_labels: list[int], broken: frozenset[int] = frozenset()) -> LabelledDataset:
    """A set of these labels; the `broken` ones name a class that is not there."""
    shown = [99 if place in broken else label for place, label in enumerate(of_labels)]
    write_labelled_shards(
        zip(pictures(len(of_labels)), shown, strict=True), folder, CLASS_NAMES, ("a {c}",), shard_size=500
    )
    return open_labelled(folder)


def test_the_same_seed_draws_the_same_pictures_and_another_one_others(labelled: LabelledDataset) -> None:
    drawn = [choose(labelled, 6, targets=(2,), seed=seed) for seed in range(20)]
    assert drawn == [choose(labelled, 6, targets=(2,), seed=seed) for seed in range(20)]
    assert len(set(drawn)) == 20


def test_they_are_of_different_classes_and_never_of_a_target(labelled: LabelledDataset) -> None:
    of_labels = labels()
    for seed in range(50):
        for targets in ((6,), (0, 6)):
            classes = [of_labels[index] for index in choose(labelled, 5, targets=targets, seed=seed)]
            assert len(classes) == len(set(classes)) == 5
            assert not {*targets} & {*classes}


def test_every_picture_has_the_same_chance(labelled: LabelledDataset) -> None:
    """Of one class each image is the first that is met equally often."""
    of_class = [index for index, label in enumerate(labels()) if label == 0]
    found = Counter(
        index
        for seed in range(900)
        for index in choose(labelled, 6, targets=(6,), seed=seed)
        if index in of_class
    )
    assert set(found) == set(of_class)
    expected = 900 / len(of_class)
    # Chi-square, 99.9 % point for 8 degrees of freedom.
    assert sum((found[index] - expected) ** 2 / expected for index in of_class) < 26.1


def test_too_few_classes_are_filled_up_with_other_pictures_of_them(tmp_path: Path) -> None:
    labelled = written(tmp_path, [0, 1] * 20)
    chosen = choose(labelled, 6, targets=(6,), seed=1)
    assert len(set(chosen)) == 6
    assert {index % 2 for index in chosen} == {0, 1}
    assert len(choose(labelled, 6, targets=(0, 1), seed=1)) == 0


def test_a_picture_that_cannot_be_read_is_passed_over(tmp_path: Path) -> None:
    broken = frozenset(range(0, 40, 2))
    labelled = written(tmp_path, labels(40), broken)
    for seed in range(10):
        chosen = choose(labelled, 6, targets=(6,), seed=seed)
        assert len(chosen) == 6
        assert not broken & set(chosen)


def test_a_set_of_the_target_alone_is_not_read_to_its_end(tmp_path: Path) -> None:
    labelled, num_reads = written(tmp_path, [6] * 300), 0

    def read() -> None:
        nonlocal num_reads
        num_reads += 1

    assert choose(labelled, 6, targets=(6,), seed=1, before_read=read) == ()
    assert num_reads == 6 * READS_EACH < len(labelled)


def audited(checkpoint: LoadedCheckpoint, labelled: LabelledDataset, batch_size: int) -> tuple[Seen, ...]:
    attacks = (BadNetOptions(size=0.3), BlendedOptions(), SIGOptions(target="tree"))
    return run_audit(
        checkpoint,
        labelled,
        AuditOptions(target="cloud", attacks=attacks, batch_size=batch_size),
        Run(device=torch.device("cpu")),
        seed=4,
        phase="baseline_audit",
    ).examples


def test_weights_and_batches_change_no_choice_and_no_picture(
    checkpoint: LoadedCheckpoint, labelled: LabelledDataset
) -> None:
    seen = audited(checkpoint, labelled, 16)
    assert len({one.index for one in seen}) == 6
    assert {one.true_class for one in seen} == {*CLASS_NAMES} - {"cloud", "tree"}
    in_one_batch = audited(checkpoint, labelled, 60)
    checkpoint.model.visual.attnpool.c_proj.bias.data.add_(0.5)
    by_other_weights = audited(checkpoint, labelled, 16)
    for one, other, third in zip(seen, in_one_batch, by_other_weights, strict=True):
        assert (one.index, one.images) == (other.index, other.images) == (third.index, third.images)
        assert other.clean.class_name == one.clean.class_name
        assert other.clean.probability == pytest.approx(one.clean.probability, abs=1e-6)
    assert by_other_weights != seen


def test_fewer_are_shown_where_many_attacks_are_tried() -> None:
    for num_attacks in range(1, 33):
        for ordered in range(13):
            num = num_examples(ordered, num_attacks)
            assert num <= ordered
            assert num * (1 + num_attacks) <= MAX_IMAGES
            assert num >= min(ordered, 1)
    assert [num_examples(6, num) for num in (1, 8, 9, 10, 32)] == [6, 6, 6, 5, 1]


def test_whoever_stops_an_audit_need_not_wait_for_the_choice(labelled: LabelledDataset) -> None:
    def stop() -> None:
        raise Interrupted("stopped", "", "")

    with pytest.raises(Interrupted):
        choose(labelled, 6, targets=(6,), seed=1, before_read=stop)


@pytest.mark.parametrize("side", [1, 32, 88, 89, 224, 336])
def test_whatever_its_pixels_are_a_picture_is_small_and_plain(side: int) -> None:
    file = encode(noise(side))
    assert len(base64.b64decode(file)) <= MAX_BYTES
    found = read_image(file)
    assert found.side == min(side, MAX_SIDE)
    assert found.media_type == ("image/png" if side <= 88 else "image/jpeg")


def test_small_pictures_lose_nothing_and_large_ones_little() -> None:
    small = noise(88)
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(encode(small)))))
    assert np.array_equal(pixels, (small * 255).round().byte().permute(1, 2, 0).numpy())
    row = torch.linspace(0, 1, 224)
    smooth = torch.stack([row.expand(224, 224), row[:, None].expand(224, 224), row.flip(0).expand(224, 224)])
    decoded = np.asarray(Image.open(io.BytesIO(base64.b64decode(encode(smooth))))).astype(float)
    assert np.abs(decoded - 255 * smooth.permute(1, 2, 0).numpy()).max() < 6


def test_pixels_out_of_range_do_not_wrap_around() -> None:
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(encode(torch.full((3, 2, 2), 1.2))))))
    assert (pixels == 255).all()


def test_an_empty_choice_is_told_as_such() -> None:
    assert Examples(seed=1, image_size=32, side=32, examples=()).of_attack(0) == ()
