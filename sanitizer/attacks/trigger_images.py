"""What a customer calls a trigger → pixels with a mask: an image's bytes, or words. Trusts neither.

Shapes: H rows, W columns, 4 channels: red, green, blue times the mask, then the mask, all in [0, 1].

An image's size is read from its header before any pixel is decoded; colour profiles, gamma and orientation
are ignored, as everywhere here. Words are drawn large with Pillow's own font (Aileron) and cut to their ink,
so that they are laid on like any image and are the same at every size of the image.
"""

import base64
import binascii
import hashlib
import io
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont, UnidentifiedImageError
from torch import Tensor

from cleanclip.vocabulary.attack_options import MAX_TRIGGER_IMAGE_BYTES, MAX_TRIGGER_IMAGE_SIDE
from cleanclip.vocabulary.errors import OptionsRejected

MAX_JPEG_SCANS = 100
"""As for the images of a dataset: each costs a pass over the image, and may be a few bytes long."""
FONT_PIXELS = 64

_START_OF_SCAN = b"\xff\xda"
_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")


@dataclass(frozen=True)
class TriggerImage:
    """`rgba_4HW` is float64, colours already multiplied by the mask."""

    rgba_4HW: Tensor

    @cached_property
    def sha256(self) -> str:
        """Over size and pixels: what was decoded or drawn, whatever program did it."""
        pixels = self.rgba_4HW.numpy()
        return hashlib.sha256(str(pixels.shape).encode() + pixels.astype("<f8").tobytes()).hexdigest()

    @property
    def size(self) -> tuple[int, int]:
        """(rows, columns)."""
        return self.rgba_4HW.shape[1], self.rgba_4HW.shape[2]

    def resized(self, height: int, width: int) -> Tensor:
        """float64 [4, height, width]: a triangle filter, as wide as a pixel of the coarser of both grids.

        Written out: torch 2.13 (bilinear, antialias) enlarges an image one column wide to its first pixel.
        """
        rows, columns = self.size
        return resize_matrix(rows, height) @ self.rgba_4HW @ resize_matrix(columns, width).T


def resize_matrix(num_old: int, num_new: int) -> Tensor:
    """float64 [new, old]: of which old pixels each new one is made, and by how much."""
    step = num_old / num_new
    centre_N1 = (torch.arange(num_new, dtype=torch.float64)[:, None] + 0.5) * step
    distance_NO = (torch.arange(num_old, dtype=torch.float64) + 0.5 - centre_N1).abs()
    height_NO = (1 - distance_NO / max(step, 1.0)).clamp(min=0)
    return height_NO / height_NO.sum(dim=1, keepdim=True)


def decode(text: str) -> TriggerImage:
    """The image of these base64 characters.

    Raises OptionsRejected `trigger_image_not_base64`, `trigger_image_too_large`, `trigger_image_unreadable`,
    `trigger_image_animated` or `trigger_invisible`.
    """
    try:
        data = base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise OptionsRejected(
            "trigger_image_not_base64",
            "The trigger's image is not base64.",
            "Send the bytes of a PNG or JPEG file in base64, with padding, in one line.",
        ) from None
    if len(data) > MAX_TRIGGER_IMAGE_BYTES:
        raise _too_large(f"is more than {MAX_TRIGGER_IMAGE_BYTES // 1024} KiB")
    return _seen(_decoded(data))


def draw(text: str, colour: str) -> TriggerImage:
    """The words in `colour` ("#rrggbb"), cut to their ink; printable ASCII, all of which the font has.

    Raises OptionsRejected `trigger_invisible`.
    """
    font = ImageFont.load_default(FONT_PIXELS)
    left, top, right, bottom = (int(edge) for edge in font.getbbox(text))
    page = Image.new("L", (max(1, right - left), max(1, bottom - top)))
    ImageDraw.Draw(page).text((-left, -top), text, fill=255, font=font)
    mask_HW = np.asarray(page.crop(page.getbbox() or (0, 0, 1, 1)), dtype=np.float64) / 255
    shade_3 = np.array([int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)])
    return _seen(np.concatenate([shade_3[:, None, None] * mask_HW, mask_HW[None]]))


def _decoded(data: bytes) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    try:
        image = Image.open(io.BytesIO(data), formats=("PNG", "JPEG"))
        if max(image.size) > MAX_TRIGGER_IMAGE_SIDE:
            raise _too_large(f"has {image.width} x {image.height} pixels")
        if getattr(image, "n_frames", 1) != 1:
            raise OptionsRejected(
                "trigger_image_animated", "The trigger's image has several frames.", "Send one of them."
            )
        if image.format != "PNG" and data.count(_START_OF_SCAN) > MAX_JPEG_SCANS:
            raise _unreadable(f"has more than {MAX_JPEG_SCANS} scans")
        if image.mode not in _MODES:
            raise _unreadable(f"has an unsupported pixel format ({image.mode})")
        image.load()
        rgba_HW4 = np.asarray(image.convert("RGBA"), dtype=np.float64) / 255
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise _too_large("has far too many pixels") from None
    except (OptionsRejected, MemoryError):
        raise
    except UnidentifiedImageError:
        raise _unreadable("is neither a PNG nor a JPEG") from None
    except Exception as error:  # noqa: BLE001 - Pillow's plugins raise anything on hostile bytes; never the program's
        raise _unreadable(f"is damaged ({type(error).__name__})") from None
    rgba_HW4[..., :3] *= rgba_HW4[..., 3:]
    return rgba_HW4.transpose(2, 0, 1)


def _seen(rgba_4HW: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> TriggerImage:
    if not rgba_4HW[3].any():
        raise OptionsRejected(
            "trigger_invisible",
            "The trigger covers nothing: every pixel of it is transparent.",
            "Send an image that is not fully transparent, or a text with visible characters.",
        )
    return TriggerImage(torch.from_numpy(np.ascontiguousarray(rgba_4HW)))


def _too_large(what: str) -> OptionsRejected:
    return OptionsRejected(
        "trigger_image_too_large",
        f"The trigger's image {what}.",
        f"Send one of at most {MAX_TRIGGER_IMAGE_BYTES // 1024} KiB and "
        f"{MAX_TRIGGER_IMAGE_SIDE} pixels a side.",
    )


def _unreadable(what: str) -> OptionsRejected:
    return OptionsRejected(
        "trigger_image_unreadable",
        f"The trigger's image {what}.",
        "Send a complete PNG or JPEG file with 8 bits per channel, in base64.",
    )
