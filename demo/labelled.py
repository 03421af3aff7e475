"""The demo's test images, the same bytes for every seed and on every machine.

Its null is bound to them: the digest of a labelled set is over the names and bytes of its files. So the seed
is fixed, the images are composed in double precision, and their PNGs are stored without compression. What
still changes the bytes: scikit-learn's digits and their split, NumPy's random streams, inks, names and
templates in `lab.testbed`, and how Pillow writes an uncompressed PNG. Then a test fails, the demo says that
its null does not fit and scans without one, and `make zoo` builds another.
"""

from pathlib import Path
from typing import Any

from cleanclip.vocabulary.withholding import seed_of
from demo.recipe import NUM_TEST_IMAGES
from lab.testbed.glyphs import digits
from lab.testbed.pictures import Pictures, compose
from lab.testbed.shards import write_labelled
from sanitizer.data.parting import drawn

SEED = 7_003


def images() -> Pictures:
    """All of them."""
    return compose(digits(), "test", NUM_TEST_IMAGES, seed=SEED, is_portable=True)


def given(report: dict[str, Any]) -> Pictures:
    """Those that the job of this report was given: of every job on them the same ones are withheld."""
    test, withheld = images(), report["withheld"]
    if withheld is None:
        return test
    sha256 = next(one["sha256"] for one in report["data"] if one["kind"] == "labelled")
    _, indices = drawn(len(test), withheld["num_samples"], seed_of(sha256))
    return Pictures(
        image_NCHW=test.image_NCHW[indices],
        caption_N=tuple(test.caption_N[index] for index in indices),
        label_N=test.label_N[indices],
        glyph_N=test.glyph_N[indices],
    )


def write(folder: Path) -> None:
    """The labelled set as shards in `folder`."""
    write_labelled(digits(), images(), folder, is_portable=True)
