"""A few samples of a dataset for people to look at, drawn from the whole of it.

Of untrusted data only decoded pixels, made small, and a short text are kept: whoever shows them makes
images of his own.
"""

from PIL import Image

from cleanclip.vocabulary.jobspec import MAX_DRAWN_SIDE, MAX_DRAWN_TEXT, NUM_DRAWN, DrawnSample, DrawnSamples
from sanitizer.data.labelled import Labelled, LabelledDataset
from sanitizer.data.pairs import Pair, PairDataset
from sanitizer.seeding import generator

STREAM = "samples_to_show"
_REDUCING_GAP = 2.0
"""A large image is first made smaller by a whole factor, to so many times the size: a tenth of the time."""


class SampleDraw:
    """NUM_DRAWN of all that are offered, each set of so many as likely as any other.

    Vitter's algorithm R: how many good ones there are is known at the end only. The stream: of
    generator(seed, STREAM) one integers(n) for the n-th sample offered, from the one after the first
    NUM_DRAWN on.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._draws = generator(seed, STREAM)
        self._num_offered = 0
        self._kept: list[DrawnSample] = []

    def offer(self, index: int, sample: Pair | Labelled, dataset: PairDataset | LabelledDataset) -> None:
        """A good sample of `dataset`, each once."""
        self._num_offered += 1
        if len(self._kept) < NUM_DRAWN:
            self._kept.append(_drawn(index, sample, dataset))
            return
        place = int(self._draws.integers(self._num_offered))
        if place < NUM_DRAWN:
            self._kept[place] = _drawn(index, sample, dataset)

    def drawn(self) -> DrawnSamples:
        """Those drawn so far, in the order of the set."""
        in_order = sorted(self._kept, key=lambda sample: sample.index)
        return DrawnSamples(seed=self._seed, samples=tuple(in_order))


def _drawn(index: int, sample: Pair | Labelled, dataset: PairDataset | LabelledDataset) -> DrawnSample:
    image = _small(sample.image)
    class_name: str | None = None
    if isinstance(sample, Labelled) and isinstance(dataset, LabelledDataset):
        class_name = _cut(dataset.class_names[sample.label])
    return DrawnSample(
        index=index,
        key=_cut(sample.key),
        caption=_cut(sample.caption) if isinstance(sample, Pair) else None,
        label=sample.label if isinstance(sample, Labelled) else None,
        class_name=class_name,
        width=image.width,
        height=image.height,
        rgb=image.tobytes(),
    )


def _small(image: Image.Image) -> Image.Image:
    """The longer side at most MAX_DRAWN_SIDE, the other in proportion and never nothing; never enlarged."""
    longer = max(image.size)
    if longer <= MAX_DRAWN_SIDE:
        return image
    width, height = (max(1, round(side * MAX_DRAWN_SIDE / longer)) for side in image.size)
    return image.resize((width, height), Image.Resampling.LANCZOS, reducing_gap=_REDUCING_GAP)


def _cut(text: str) -> str:
    return text if len(text) < MAX_DRAWN_TEXT else text[: MAX_DRAWN_TEXT - 1] + "…"
