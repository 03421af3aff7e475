"""The reader of a customer's trigger image as a target."""

from __future__ import annotations

import base64
from pathlib import Path

from cleanclip.spec.attack_options import MAX_TRIGGER_IMAGE_BYTES, MAX_TRIGGER_IMAGE_SIDE
from lab.fuzz.repairs import png_checksums
from lab.fuzz.target import Target
from sanitizer.attacks.trigger_images import decode


def _picture(data: bytes, _folder: Path) -> None:
    """What is read has a size within the limits and pixels in [0, 1], and can be laid on an image."""
    picture = decode(base64.b64encode(png_checksums(data)).decode("ascii"))
    assert max(picture.size) <= MAX_TRIGGER_IMAGE_SIDE
    for pixels in (picture.rgba_4HW, picture.resized(5, 3)):
        assert bool((pixels >= 0).all())
        assert bool((pixels <= 1 + 1e-9).all())


TARGETS = {"trigger_image": Target(read=_picture, max_bytes=MAX_TRIGGER_IMAGE_BYTES)}
