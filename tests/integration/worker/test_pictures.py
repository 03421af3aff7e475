"""Pictures of samples are made by the worker, of pixels: no image file of a child reaches a browser."""

import base64
import io
import json
from typing import Any

import pytest
from PIL import Image

from app.domain.dataset_references import MAX_SAMPLES_BYTES
from app.schemas.datasets import DatasetSamplesOut
from cleanclip.vocabulary.jobspec import (
    DRAWN_ADAPTER,
    MAX_DRAWN_SIDE,
    MAX_DRAWN_TEXT,
    DrawnSample,
    DrawnSamples,
)
from worker.publishing.sample_images import draw_samples


def sample(**changes: Any) -> DrawnSample:
    values: dict[str, Any] = {"index": 3, "key": "0003", "caption": "a dog", "width": 2, "height": 1}
    return DrawnSample(**{**values, "rgb": bytes([250, 0, 0] * 2), **changes})


def written(*samples: DrawnSample) -> bytes:
    return DRAWN_ADAPTER.dump_json(DrawnSamples(seed=7, samples=samples))


def test_a_picture_shows_the_pixels_and_holds_nothing_else() -> None:
    found = DatasetSamplesOut.model_validate_json(draw_samples(written(sample())))
    [shown] = found.samples
    assert (found.seed, shown.index, shown.caption, shown.width, shown.height) == (7, 3, "a dog", 2, 1)
    picture = Image.open(io.BytesIO(base64.b64decode(shown.jpeg_base64)))
    assert (picture.format, picture.mode, picture.size) == ("JPEG", "RGB", (2, 1))
    assert not picture.getexif()
    assert set(picture.info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}
    red, green, blue = picture.getpixel((0, 0))  # type: ignore[misc]
    assert red > 230
    assert max(green, blue) < 20


@pytest.mark.parametrize(
    "change",
    [
        {"rgb": base64.b64encode(bytes(5)).decode()},
        {"rgb": base64.b64encode(bytes(7)).decode()},
        {"rgb": "no base64 at all!"},
        {"width": 0, "rgb": ""},
        {"width": MAX_DRAWN_SIDE + 1},
        {"height": -1},
        {"caption": "x" * (MAX_DRAWN_TEXT + 1)},
        {"index": -1},
        {"label": 2**53},
        {"jpeg_base64": "eA=="},
    ],
)
def test_what_is_no_such_file_is_refused(change: dict[str, Any]) -> None:
    document = json.loads(written(sample()))
    document["samples"][0] |= change
    with pytest.raises(ValueError, match=r"."):
        draw_samples(json.dumps(document).encode())


def test_more_than_twelve_are_refused() -> None:
    document = json.loads(written(sample()))
    document["samples"] *= 13
    with pytest.raises(ValueError, match="12"):
        draw_samples(json.dumps(document).encode())


def test_texts_stay_texts_on_one_line() -> None:
    nasty = "<script>alert(1)</script>\n\u202egnp\x1b[2J\u2028 & 'quoted' \U0001f468\u200d\U0001f469"
    [shown] = json.loads(draw_samples(written(sample(caption=nasty, key=nasty, class_name=nasty))))["samples"]
    mended = "<script>alert(1)</script>\ufffd\ufffdgnp\ufffd[2J\ufffd & 'quoted' \U0001f468\u200d\U0001f469"
    assert shown["caption"] == shown["key"] == shown["class_name"] == mended


def test_the_largest_of_all_fit_into_what_readers_read() -> None:
    noise = Image.effect_noise((MAX_DRAWN_SIDE, MAX_DRAWN_SIDE), 100).convert("RGB").tobytes()
    largest = sample(
        width=MAX_DRAWN_SIDE, height=MAX_DRAWN_SIDE, rgb=noise, caption="\U0001f468" * MAX_DRAWN_TEXT
    )
    drawn = written(*[largest] * 12)
    assert len(drawn) < 2 * 2**20
    assert len(draw_samples(drawn)) < MAX_SAMPLES_BYTES
