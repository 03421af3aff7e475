"""Images of samples that people will see in a browser, made here of the pixels that a child left.

A child that reads hostile bytes may be taken over by its end, so no image file of it is handed out: of
pixels we make our own, and there is nothing in those but what it shows. Nothing is decoded here.
"""

import base64
import io

from pydantic import TypeAdapter

from app.domain.dataset_references import DatasetSample, DatasetSamples
from app.domain.shown_texts import shown
from cleanclip.vocabulary.jobspec import DRAWN_ADAPTER, DrawnSample

JPEG_QUALITY = 75
_PUBLISHED = TypeAdapter(DatasetSamples)


def draw_samples(drawn: bytes) -> bytes:
    """drawn_samples.json → samples.json. Raises ValueError, ValidationError for what is no such file."""
    found = DRAWN_ADAPTER.validate_json(drawn)
    samples = tuple(_sample(sample) for sample in found.samples)
    return _PUBLISHED.dump_json(DatasetSamples(seed=found.seed, samples=samples))


def _sample(drawn: DrawnSample) -> DatasetSample:
    return DatasetSample(
        index=drawn.index,
        key=shown(drawn.key),
        caption=None if drawn.caption is None else shown(drawn.caption),
        label=drawn.label,
        class_name=None if drawn.class_name is None else shown(drawn.class_name),
        width=drawn.width,
        height=drawn.height,
        jpeg_base64=base64.b64encode(_jpeg(drawn)).decode("ascii"),
    )


def _jpeg(drawn: DrawnSample) -> bytes:
    if len(drawn.rgb) != drawn.width * drawn.height * 3:
        raise ValueError("a sample has more or fewer pixels than it says")
    from PIL import Image  # noqa: PLC0415 - of the jobs' extra: a supervisor starts without it

    image = Image.frombytes("RGB", (drawn.width, drawn.height), drawn.rgb)
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=JPEG_QUALITY)
    return stream.getvalue()
