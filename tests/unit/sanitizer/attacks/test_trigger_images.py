"""Customers' images and words: how they lie on the image, and each thing that is refused."""

import base64
import io

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError

from cleanclip.vocabulary.attack_options import (
    AttackOptions,
    BadNetOptions,
    CustomPatchOptions,
    CustomPatternOptions,
    TextTriggerOptions,
)
from cleanclip.vocabulary.errors import OptionsRejected
from cleanclip.vocabulary.recipe import parse
from sanitizer.attacks import overlay, trigger_images
from sanitizer.attacks.catalogue import build_trigger, build_triggers, trigger_sha256
from tests.fixtures.tiny_png import RED_SQUARE, png
from tests.fixtures.triggers import encoded, picture, random_images


def as_text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def animated() -> str:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    return encoded(frames[0], save_all=True, append_images=frames[1:])


def many_scans() -> str:
    file = io.BytesIO()
    Image.new("L", (8, 8), 90).save(file, "JPEG")
    data = file.getvalue()
    scan = data[data.index(b"\xff\xda") : -2]
    return as_text(data[:-2] + scan * 120 + b"\xff\xd9")


def noise(side: int, mode: str = "RGB") -> Image.Image:
    shape = (side, side, len(mode))
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8))


REFUSED: dict[str, tuple[str, str, str]] = {
    "not base64": ("no base64!", "trigger_image_not_base64", "is not base64"),
    "not padded": (picture().rstrip("=") + "A", "trigger_image_not_base64", "is not base64"),
    "letters of another script": ("пиксели", "trigger_image_not_base64", "is not base64"),
    "text": (as_text(b"I am no image at all."), "trigger_image_unreadable", "is neither a PNG nor a JPEG"),
    "nothing": ("", "trigger_image_unreadable", "is neither a PNG nor a JPEG"),
    "a GIF": (
        encoded(Image.new("P", (3, 3)), "GIF"),
        "trigger_image_unreadable",
        "is neither a PNG nor a JPEG",
    ),
    "cut off": (as_text(base64.b64decode(picture(60, 60))[:2000]), "trigger_image_unreadable", "is damaged"),
    "a JPEG cut off": (
        as_text(base64.b64decode(picture(60, 60, kind="JPEG"))[:900]),
        "trigger_image_unreadable",
        "is damaged",
    ),
    "16 bits": (
        encoded(Image.fromarray(np.full((4, 4), 40000, dtype=np.uint16))),
        "trigger_image_unreadable",
        "unsupported pixel format",
    ),
    "a JPEG of many scans": (many_scans(), "trigger_image_unreadable", "more than 100 scans"),
    "too wide": (encoded(Image.new("RGB", (513, 2))), "trigger_image_too_large", "513 x 2 pixels"),
    "a bomb": (as_text(png(512, 60_000, bytes(100))), "trigger_image_too_large", "512 x 60000 pixels"),
    "a great bomb": (
        as_text(png(2**31 - 1, 2**31 - 1, bytes(100))),
        "trigger_image_too_large",
        "far too many pixels",
    ),
    "too many bytes": (encoded(noise(200)), "trigger_image_too_large", "more than 64 KiB"),
    "animated": (animated(), "trigger_image_animated", "several frames"),
    "transparent": (
        encoded(Image.new("RGBA", (4, 4), (255, 0, 0, 0))),
        "trigger_invisible",
        "every pixel of it is transparent",
    ),
}


@pytest.mark.parametrize(("text", "code", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_a_picture_that_cannot_be_used_is_refused_with_its_place(text: str, code: str, words: str) -> None:
    for hostile in (CustomPatchOptions(image=text), CustomPatternOptions(image=text)):
        with pytest.raises(OptionsRejected) as refused:
            build_triggers([BadNetOptions(), hostile])
        assert (refused.value.code, refused.value.where) == (code, "audit.attacks.1")
        assert words in refused.value.message
        assert refused.value.remedy
        assert len(refused.value.message) < 200


def test_a_bomb_is_refused_before_its_pixels_are_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import PngImagePlugin

    def explode(self: object) -> None:
        raise AssertionError("pixels were decoded")

    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", explode)
    with pytest.raises(OptionsRejected, match="pixels"):
        trigger_images.decode(as_text(png(512, 60_000, bytes(100))))


def test_words_that_leave_no_ink_are_refused() -> None:
    with pytest.raises(OptionsRejected) as refused:
        build_triggers([TextTriggerOptions(text="   ")])
    assert (refused.value.code, refused.value.where) == ("trigger_invisible", "audit.attacks.0")


@pytest.mark.parametrize("text", ["漢字", "a\nb", "zero\u200bwidth", "€", "é", "\x7f", "Watermarked\n"])
def test_letters_beyond_printable_ascii_are_no_text(text: str) -> None:
    with pytest.raises(ValidationError, match="pattern"):
        parse(TextTriggerOptions, {"text": text})


def test_the_font_has_every_letter_that_a_text_may_hold() -> None:
    letters = [chr(number) for number in range(ord("!"), ord("~") + 1)]
    assert parse(TextTriggerOptions, {"text": "".join(letters[:64])}).text == "".join(letters[:64])
    boxed = trigger_images.draw("\U0010ffff", "#000000").sha256
    digests = {trigger_images.draw(letter, "#000000").sha256 for letter in letters}
    assert boxed not in digests
    assert len(digests) > 85, "but for a few like | and l, each looks as no other"


@pytest.mark.parametrize(
    "image",
    [
        Image.new("1", (3, 3), 1),
        Image.new("L", (3, 3), 200),
        Image.new("LA", (3, 3), (200, 90)),
        Image.new("P", (3, 3)),
        Image.new("RGB", (512, 1)),
        Image.new("RGBA", (1, 512), (1, 2, 3, 4)),
    ],
    ids=lambda image: f"{image.mode}-{image.width}",
)
def test_every_kind_of_png_with_eight_bits_is_taken(image: Image.Image) -> None:
    assert trigger_images.decode(encoded(image)).size == (image.height, image.width)


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_every_kind_of_jpeg_is_taken(mode: str) -> None:
    assert trigger_images.decode(encoded(Image.new(mode, (5, 4)), "JPEG")).size == (4, 5)


def test_the_picture_of_the_services_tests_is_one() -> None:
    red = trigger_images.decode(RED_SQUARE).rgba_4HW
    assert red[:, 1, 1].tolist() == [1, 0, 0, 1]


def test_a_picture_at_its_own_size_is_pasted_pixel_for_pixel() -> None:
    image = noise(8)
    options = CustomPatchOptions(image=encoded(image), placement="bottom_right", size=0.25)
    patched = build_trigger(options).apply(torch.zeros(1, 3, 32, 32), [0], 0)[0]
    expected = torch.from_numpy(np.array(image)).permute(2, 0, 1).double() / 255
    assert torch.equal(patched[:, 24:, 24:], expected.float())
    assert not patched[:, :24].any()


def test_what_is_transparent_keeps_the_image() -> None:
    image = Image.new("RGBA", (4, 4), (0, 0, 255, 255))
    image.putpixel((1, 2), (255, 255, 255, 0))
    image.putpixel((3, 0), (255, 0, 0, 51))
    white = torch.ones(1, 3, 8, 8)
    patched = build_trigger(CustomPatchOptions(image=encoded(image), at=(0, 1), size=0.5)).apply(
        white, [0], 0
    )[0]
    assert patched[:, 2, 5].tolist() == [1, 1, 1]
    assert patched[:, 0, 7].tolist() == pytest.approx([1, 0.8, 0.8])
    assert patched[:, 1, 5].tolist() == [0, 0, 1]


@pytest.mark.parametrize(
    ("at", "corner"), [((0, 0), (0, 0)), ((1, 1), (24, 24)), ((0.5, 0), (12, 0)), ((0, 0.25), (0, 6))]
)
def test_an_explicit_place_is_a_share_of_the_room(at: tuple[float, float], corner: tuple[int, int]) -> None:
    options = CustomPatchOptions(image=encoded(Image.new("RGB", (2, 2), "white")), at=at, size=0.25)
    patched = build_trigger(options).apply(torch.zeros(1, 3, 32, 32), [7], 7)[0, 0]
    assert tuple(patched.nonzero()[0].tolist()) == corner
    assert int(patched.sum()) == 64


def test_a_picture_keeps_its_shape_and_a_thin_one_does_not_vanish() -> None:
    white = encoded(Image.new("RGB", (100, 50), "white"))
    line = encoded(Image.new("RGB", (1, 100), "white"))
    for text, rows, columns in ((white, 8, 16), (line, 16, 1)):
        options = CustomPatchOptions(image=text, placement="top_left", size=0.5)
        patched = build_trigger(options).apply(torch.zeros(1, 3, 32, 32), [0], 0)[0, 0]
        assert torch.allclose(patched[:rows, :columns], torch.ones(rows, columns))
        assert float(patched.sum()) == pytest.approx(rows * columns)


def test_a_pattern_is_stretched_to_the_image_and_mixed_in() -> None:
    grey = torch.full((1, 3, 30, 20), 0.5)
    options = CustomPatternOptions(image=encoded(Image.new("RGB", (7, 3), (255, 0, 102))), alpha=0.2)
    mixed = build_trigger(options).apply(grey, [0], 0)[0]
    for channel, value in enumerate((0.6, 0.4, 0.48)):
        assert torch.allclose(mixed[channel], torch.tensor(value))


@pytest.mark.parametrize("size", [0.25, 0.6, 1])
def test_copies_in_four_corners_that_overlap_are_mixed_in_once(size: float) -> None:
    white = encoded(Image.new("RGB", (5, 5), "white"))
    options = CustomPatchOptions(image=white, placement="four_corners", size=size, alpha=0.2)
    patched = build_trigger(options).apply(torch.zeros(2, 3, 16, 16), [0, 1], 0)
    assert sorted({round(value, 6) for value in patched.flatten().tolist()} - {0.0}) == [0.2]
    assert float((patched[0, 0] > 0).float().mean()) == pytest.approx(1 if size > 0.5 else 0.25)


def test_a_random_place_is_drawn_per_image_and_seed() -> None:
    options = CustomPatchOptions(image=encoded(Image.new("RGB", (2, 2), "white")), size=0.25)
    black = torch.zeros(20, 3, 16, 16)
    places = [
        tuple(one[0].nonzero()[0].tolist()) for one in build_trigger(options).apply(black, range(20), 0)
    ]
    assert len(set(places)) > 10


@pytest.mark.parametrize(
    "options",
    [TextTriggerOptions(), CustomPatchOptions(image=picture()), CustomPatternOptions(image=picture())],
    ids=lambda options: options.attack,
)
def test_the_digest_follows_the_pixels_that_were_drawn(
    options: AttackOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = trigger_sha256(options, 0)
    shifted = trigger_images.TriggerImage(trigger_images.draw("I", "#000000").rgba_4HW)
    monkeypatch.setattr(overlay, "draw", lambda text, colour: shifted)
    monkeypatch.setattr(overlay, "decode", lambda text: shifted)
    assert trigger_sha256(options, 0) != before


def test_words_and_pictures_leave_the_images_outside_of_them_alone() -> None:
    images = random_images(3, 32)
    for options in (TextTriggerOptions(), CustomPatchOptions(image=picture(), placement="top_left")):
        triggered = build_trigger(options).apply(images, range(3), 0)
        assert torch.equal(triggered[:, :, 25:], images[:, :, 25:])
