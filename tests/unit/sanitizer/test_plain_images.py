"""What a report takes for an image: pixels, and nothing beside them."""

import base64
import io
import struct
from typing import Any

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from cleanclip.vocabulary.plain_images import MAX_BYTES, MAX_SIDE, read_image
from tests.fixtures.tiny_png import RED_SQUARE, png


def picture(side: int = 16, mode: str = "RGB", height: int | None = None) -> Image.Image:
    random = np.random.default_rng(side)
    pixels = random.integers(0, 256, (height or side, side, 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


def file(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def base64_of(data: bytes) -> str:
    return base64.b64encode(data).decode()


def with_text() -> bytes:
    info = PngImagePlugin.PngInfo()
    info.add_text("Author", "somebody")
    return file(picture(), "PNG", pnginfo=info)


def with_exif() -> bytes:
    exif = Image.Exif()
    exif[0x010F] = "camera"
    return file(picture(), "JPEG", exif=exif)


PNG, JPEG = file(picture(), "PNG"), file(picture(), "JPEG", quality=90, subsampling=0)
REFUSED = {
    "text in a PNG": with_text(),
    "EXIF in a JPEG": with_exif(),
    "a comment in a JPEG": file(picture(), "JPEG", comment=b"somebody"),
    "a colour profile in a JPEG": file(picture(), "JPEG", icc_profile=b"profile"),
    "resolution in a PNG": file(picture(), "PNG", dpi=(72, 72)),
    "something behind a PNG": PNG + b"x",
    "something behind a JPEG": JPEG + b"x",
    "a second JPEG behind the first": JPEG + JPEG,
    "half a PNG": PNG[:-20],
    "half a JPEG": JPEG[:-20],
    "the beginning of a JPEG": JPEG[:3],
    "a PNG with a wrong sum": PNG[:-20] + b"\0" + PNG[-19:],
    "a progressive JPEG": file(picture(), "JPEG", progressive=True),
    "a grey PNG": file(picture(mode="L"), "PNG"),
    "a grey JPEG": file(picture(mode="L"), "JPEG"),
    "a PNG with transparency": file(picture(mode="RGBA"), "PNG"),
    "an oblong PNG": file(picture(height=8), "PNG"),
    "an oblong JPEG": file(picture(height=8), "JPEG"),
    "a large PNG": file(Image.new("RGB", (MAX_SIDE + 1, MAX_SIDE + 1)), "PNG"),
    "a PNG of many frames": file(
        picture(), "PNG", save_all=True, append_images=[picture(mode="RGB").rotate(90)]
    ),
    "a PNG with more rows than it names": png(2, 2, b"\0" * 15),
    "a PNG that unpacks to a gigabyte": png(2, 2, b"\0" * 2**24),
    "a PNG with fewer rows": png(2, 2, b"\0" * 7),
    "a PNG without pixels": png(0, 0, b""),
    "a PNG whose pixels are not packed": PNG[:33]
    + struct.pack(">I", 1)
    + b"IDATx"
    + PNG[-16:-12]
    + PNG[-12:],
    "a GIF": file(picture(), "GIF"),
    "a WEBP": file(picture(), "WEBP"),
    "an SVG": b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
    "nothing": b"",
    "too many bytes": png(2, 2, b"") + b"\0" * MAX_BYTES,
}


@pytest.mark.parametrize("what", REFUSED)
def test_whatever_is_more_or_less_than_a_small_picture_is_refused(what: str) -> None:
    with pytest.raises(ValueError, match="image"):
        read_image(base64_of(REFUSED[what]))


def test_pixels_alone_are_taken_with_their_kind_and_side() -> None:
    for data, kind in ((PNG, "image/png"), (JPEG, "image/jpeg")):
        found = read_image(base64_of(data))
        assert (found.media_type, found.side) == (kind, 16)
    assert read_image(RED_SQUARE).side == 2


def test_every_byte_that_is_changed_is_refused_or_leaves_a_picture_of_the_same_size() -> None:
    """And nothing but ValueError is ever raised."""
    for data in (PNG, JPEG):
        for place in range(0, len(data), 3):
            changed = data[:place] + bytes([data[place] ^ 0x41]) + data[place + 1 :]
            try:
                found = read_image(base64_of(changed))
            except ValueError:
                continue
            assert 1 <= found.side <= MAX_SIDE


def test_what_is_not_base64_is_refused() -> None:
    with pytest.raises(ValueError, match=r"base64|padding"):
        read_image("a" + RED_SQUARE)
