"""The image set that everybody can make: the same bytes, read as they were written, of the shapes named."""

import hashlib
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cleanclip.command.main import main as cleanclip_command
from sanitizer.__main__ import main
from sanitizer.data.labelled import open_labelled
from sanitizer.data.public_images import (
    CLASS_NAMES,
    COLOURS,
    NUM_IMAGES,
    SEED,
    SHAPES,
    is_of_shape,
    made,
    png,
)

KNOWN = "d96aded0bd778d85eab423f9b14cd4941d49559626234c3204925e46d7d71adb"
"""SHA-256 of the first eight images of 48 px: no version of NumPy and no processor may change it."""


def test_the_first_images_are_the_same_bytes_as_ever() -> None:
    first = b"".join(png(image) for image, _ in made(8, size=48, seed=SEED))
    assert hashlib.sha256(first).hexdigest() == KNOWN
    longer = [image for image, _ in zip(made(20, size=48, seed=SEED), range(8), strict=False)]
    assert b"".join(png(image) for image, _ in longer) == first, "a larger set begins with a smaller one"


def test_a_file_reads_as_what_was_drawn_and_shows_its_class() -> None:
    counts = np.zeros(len(CLASS_NAMES), dtype=int)
    for image_HWC, label in made(NUM_IMAGES, size=32, seed=SEED):
        counts[label] += 1
        read = Image.open(io.BytesIO(png(image_HWC)))
        assert (read.mode, read.size) == ("RGB", (32, 32))
        assert np.array_equal(np.asarray(read), image_HWC)
    assert set(counts) == {NUM_IMAGES // len(CLASS_NAMES)}


@pytest.mark.parametrize("shape", SHAPES)
def test_each_shape_is_the_one_that_a_plain_drawing_has(shape: str) -> None:
    """Against shapes by float geometry, point by point: they differ on the rim alone."""
    radius = 40
    drawn = is_of_shape(shape, np.arange(-50, 51)[None, :], np.arange(-50, 51)[:, None], radius)
    plain = np.array(
        [[_inside(shape, x / radius, y / radius) for x in range(-50, 51)] for y in range(-50, 51)]
    )
    assert 0.05 < drawn.mean() < 0.7
    assert (drawn != plain).mean() < 0.02


def _inside(shape: str, x: float, y: float) -> bool:
    distance = (x * x + y * y) ** 0.5
    up, down = (y <= 0.5 and 2 * abs(x) <= y + 1), (-y <= 0.5 and 2 * abs(x) <= 1 - y)
    return {
        "circle": distance <= 1,
        "square": max(abs(x), abs(y)) <= 0.8,
        "triangle": up,
        "diamond": abs(x) + abs(y) <= 1,
        "cross": max(abs(x), abs(y)) <= 1 and min(abs(x), abs(y)) <= 1 / 3,
        "ring": 0.5 <= distance <= 1,
        "star": up or down,
        "crescent": distance <= 1 < ((x - 0.5) ** 2 + y * y) ** 0.5,
    }[shape]


def test_the_command_writes_a_set_that_the_library_and_the_service_read_alike(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    digests = set()
    for name in ("one", "two"):
        folder = tmp_path / name / "public"
        assert main(["null", "images", "--out", str(folder), "--size", "16"]) == 0
        assert "640 images of 64 classes" in " ".join(capsys.readouterr().out.split())
        with pytest.raises(SystemExit) as ended:
            cleanclip_command(["datasets", "pack", str(folder), "--out", str(tmp_path / f"packed-{name}")])
        assert not ended.value.code
        packed = open_labelled(tmp_path / f"packed-{name}")
        digests.add(packed.sha256)
        assert (len(packed), packed.class_names) == (NUM_IMAGES, tuple(sorted(CLASS_NAMES)))
    assert len(digests) == 1, "the same digest for everybody"
    loose = open_labelled(folder)
    sample = packed.read(0)
    colour, _, _ = packed.class_names[sample.label].partition(" ")
    assert colour in COLOURS
    assert np.array_equal(np.asarray(sample.image), np.asarray(loose.read(0).image))
    with pytest.raises(SystemExit):
        main(["null", "images", "--out", str(tmp_path), "--size", "9"])
