"""Decoding of hostile images, and open_clip's validation transform as the reference for pixels."""

import io
import struct
import zlib
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from open_clip.transform import image_transform
from PIL import Image

from lab.testbed.writing import png
from sanitizer.data.images import decode, resize_and_crop
from sanitizer.data.pixels import normalise, to_model_pixels
from sanitizer.data.skipping import BadSample
from tests.fixtures.shards import encoded, jpeg, random_image


def reason(data: bytes) -> str:
    with pytest.raises(BadSample) as caught:
        decode(data)
    return caught.value.reason


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds next to nothing."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b""))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP"])
def test_the_three_formats_decode_as_pillow_decodes_them(image_format: str) -> None:
    data = encoded(random_image(1, 40, 30), image_format)
    with Image.open(io.BytesIO(data)) as expected:
        assert np.array_equal(np.asarray(decode(data)), np.asarray(expected.convert("RGB")))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "I;16", "CMYK"])
def test_every_mode_becomes_rgb(mode: str) -> None:
    if mode == "I;16":
        image = Image.fromarray(np.arange(64, dtype=np.uint16).reshape(8, 8))
    else:
        image = random_image(2, 8, 8).convert(mode)
    decoded = decode(jpeg(image) if mode == "CMYK" else png(image))
    assert (decoded.mode, decoded.size) == ("RGB", (8, 8))


def test_a_palette_with_transparency_decodes_without_a_warning(recwarn: pytest.WarningsRecorder) -> None:
    image = random_image(2, 8, 8).convert("P")
    decode(encoded(image, "PNG", transparency=bytes(range(100))))
    assert not recwarn.list


@pytest.mark.parametrize("image_format", ["GIF", "BMP", "TIFF", "PPM"])
def test_other_formats_are_not_tried(image_format: str) -> None:
    assert reason(encoded(random_image(1), image_format)) == "image_damaged"


def test_truncated_and_damaged_pictures_are_bad() -> None:
    for data in (
        jpeg(random_image(1, 64, 64)),
        png(random_image(1, 64, 64)),
        encoded(random_image(1), "WEBP"),
    ):
        assert reason(data[: len(data) // 2]) == "image_damaged"
    assert reason(b"") == "image_damaged"
    assert reason(b"<svg/>") == "image_damaged"


def test_random_damage_gives_a_picture_or_a_bad_sample() -> None:
    rng = np.random.default_rng(0)
    originals = [jpeg(random_image(1)), png(random_image(1)), encoded(random_image(1), "WEBP")]
    outcomes = set()
    for attempt in range(600):
        data = bytearray(originals[attempt % 3])
        for place in rng.integers(0, len(data), size=3):
            data[place] = rng.integers(256)
        try:
            outcomes.add(decode(bytes(data)).mode)
        except BadSample as bad:
            outcomes.add(bad.reason)
    assert {"RGB", "image_damaged"} <= outcomes


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("size", [(7072, 7072), (50_000, 50_000), (12_000, 12_000), (10_001, 100)])
def test_bombs_are_refused_by_their_header(size: tuple[int, int]) -> None:
    assert reason(png_header(*size)) == "image_too_large"


@pytest.mark.filterwarnings("error")
def test_pillows_own_bomb_warning_refuses_too() -> None:
    assert reason(png_header(7072, 7072)) == "image_too_large"


def test_more_than_twenty_megabytes_are_refused_unread() -> None:
    assert reason(png(random_image(1)) + b"\0" * 20_000_000) == "image_too_large"


@pytest.mark.parametrize("size", [(32, 32), (33, 47), (224, 100), (17, 90), (500, 5), (31, 31), (64, 65)])
@pytest.mark.parametrize("image_size", [32, 31])
def test_pixels_are_those_of_open_clips_validation_transform(size: tuple[int, int], image_size: int) -> None:
    image = random_image(3, *size)
    mean, std = open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD
    expected_CHW = image_transform(image_size, is_train=False, mean=mean, std=std)(image)
    pixels_CHW = to_model_pixels(image, image_size)
    assert pixels_CHW.dtype == torch.uint8
    assert torch.equal(normalise(pixels_CHW[None], mean, std)[0], expected_CHW)


def test_a_cropped_image_has_the_models_size() -> None:
    assert resize_and_crop(random_image(1, 90, 11), 16).size == (16, 16)


def test_normalise_takes_bytes_and_unit_floats_alike_and_changes_nothing_in_place() -> None:
    pixels_NCHW = torch.randint(0, 256, (2, 3, 4, 4), dtype=torch.uint8, generator=torch.manual_seed(0))
    mean, std = (0.1, 0.2, 0.3), (0.5, 0.6, 0.7)
    unit_NCHW = pixels_NCHW.double().div(255).float()
    before = unit_NCHW.clone()
    ours: Any = normalise(pixels_NCHW, mean, std)
    for n, c, y, x in np.ndindex(2, 3, 4, 4):
        expected = (int(pixels_NCHW[n, c, y, x]) / 255 - mean[c]) / std[c]
        assert abs(float(ours[n, c, y, x]) - expected) < 1e-6
    assert torch.equal(normalise(unit_NCHW, mean, std), ours)
    assert torch.equal(unit_NCHW, before)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((500, 375), (500, 375)),
        ((1024, 768), (512, 384)),
        ((1536, 2048), (384, 512)),
        ((200, 100), (200, 100)),
    ],
)
def test_a_jpeg_may_be_decoded_smaller_but_never_under_the_side_that_is_asked_for(
    size: tuple[int, int], expected: tuple[int, int]
) -> None:
    data = jpeg(smooth(size))
    assert decode(data).size == size
    small = decode(data, 336)
    assert small.size == expected
    whole = np.asarray(resize_and_crop(decode(data), 224)).astype(float)
    assert np.abs(np.asarray(resize_and_crop(small, 224)) - whole).mean() < 1


def test_other_formats_are_decoded_whole() -> None:
    assert decode(png(smooth((800, 600))), 16).size == (800, 600)


def smooth(size: tuple[int, int]) -> Image.Image:
    """Coarse fields with soft edges, as most of a photograph is."""
    rng = np.random.default_rng(2)
    field = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(field).resize(size, Image.Resampling.BICUBIC)
