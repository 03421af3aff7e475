"""Bytes of an untrusted image → RGB image of a model's size. Free of torch: validation needs no more."""

import io
import warnings

from PIL import Image, UnidentifiedImageError

from cleanclip.vocabulary.sample_files import MAX_IMAGE_BYTES
from sanitizer.checkpoints.image_side import ImageSide
from sanitizer.data.skipping import BadSample

FORMATS = ("JPEG", "PNG", "WEBP")
MAX_IMAGE_PIXELS = 50_000_000
MAX_WEBP_PIXELS = 2**24
"""Its decoder holds the canvas several times: 40 bytes of a file took 1.4 GB at 50 million pixels."""
MAX_ASPECT_RATIO = 100
"""Resizing the shorter side makes the longer one this many times the model's image size."""
MAX_JPEG_SCANS = 100
"""Programs write about ten. Each costs a pass over the whole image, and may be a few bytes long."""
MAX_SCANNED_PIXELS = 10 * MAX_IMAGE_PIXELS
"""Pixels times scans of a JPEG: two seconds of decoding."""

_JPEG_FAMILY = ("JPEG", "MPO")
_START_OF_SCAN = b"\xff\xda"  # cannot occur inside a scan, where 0xff is always followed by zero or a restart

# Pillow's own check warns above its limit and refuses above twice as much; the warning becomes an error too.
Image.MAX_IMAGE_PIXELS = MAX_IMAGE_PIXELS
warnings.filterwarnings("error", category=Image.DecompressionBombWarning)


def decode(data: bytes, at_least: int | None = None) -> Image.Image:
    """The first frame as mode RGB. Raises BadSample `image_damaged` or `image_too_large`.

    Only JPEG, PNG and WEBP are tried. The size is checked from the header, before any pixel is decoded.
    Like open_clip, ignores EXIF orientation and drops an alpha channel. `at_least`: a JPEG may come at a
    half, a quarter or an eighth of its size, its shorter side at least so long, which costs less; its pixels
    then differ a little from those of the whole image.
    """
    if len(data) > MAX_IMAGE_BYTES:
        raise BadSample("image_too_large", f"more than {MAX_IMAGE_BYTES} bytes")
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
        width, height = image.size
        limit = MAX_WEBP_PIXELS if image.format == "WEBP" else MAX_IMAGE_PIXELS
        if width * height > limit:
            raise BadSample("image_too_large", f"{width}x{height} is more than {limit} pixels")
        if max(width, height) > MAX_ASPECT_RATIO * min(width, height):
            raise BadSample("image_too_large", f"{width}x{height} is too elongated")
        if image.format in _JPEG_FAMILY:
            _check_scans(data.count(_START_OF_SCAN), width * height)
        if at_least is not None:
            image.draft(None, (at_least, at_least))
        image.load()
        return image if image.mode == "RGB" else _to_rgb(image)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise BadSample("image_too_large", f"more than {MAX_IMAGE_PIXELS} pixels") from None
    except (BadSample, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001 - Pillow's plugins raise anything on hostile bytes; never the program's
        raise BadSample("image_damaged", _reason(error)) from None


def _check_scans(num_scans: int, num_pixels: int) -> None:
    if num_scans > MAX_JPEG_SCANS:
        raise BadSample("image_damaged", f"more than {MAX_JPEG_SCANS} scans")
    if num_scans * num_pixels > MAX_SCANNED_PIXELS:
        raise BadSample("image_too_large", f"{num_scans} scans of {num_pixels} pixels each")


def _to_rgb(image: Image.Image) -> Image.Image:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "palette images with transparency …": alpha is dropped on purpose
        return image.convert("RGB")


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "not a JPEG, PNG or WEBP"
    return " ".join(str(error).split())[:80] or type(error).__name__


def resize_and_crop(image: Image.Image, size: int) -> Image.Image:
    """Shorter side to `size`, then the centre square: open_clip's validation transform, up to RGB. Bicubic,
    and bilinear for an `ImageSide` that says so; of a model that squashes: both sides to `size`.

    Image in, image out, [size, size]. Rounding as torchvision's `Resize` and `CenterCrop`.
    """
    side = size if isinstance(size, ImageSide) else ImageSide(size)
    resampling = Image.Resampling.BILINEAR if side.is_bilinear else Image.Resampling.BICUBIC
    if side.is_squashed:
        is_there = image.size == (size, size)
        return image if is_there else image.resize((size, size), resampling)
    width, height = image.size
    short, long = min(width, height), max(width, height)
    new_long = int(size * long / short)
    new_size = (size, new_long) if width <= height else (new_long, size)
    if new_size != image.size:
        image = image.resize(new_size, resampling)
    if new_long == size:
        return image
    left = round((new_size[0] - size) / 2.0)
    top = round((new_size[1] - size) / 2.0)
    return image.crop((left, top, left + size, top + size))
