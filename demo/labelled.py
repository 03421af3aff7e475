"""The demo's test images, the same bytes for every seed and on every machine.

Its null is bound to them: the digest of a labelled set is over the names and bytes of its files. So the seed
is fixed, the images are composed in double precision, and their PNGs are stored without compression. What
still changes the bytes: scikit-learn's digits and their split, NumPy's random streams, inks, names and
templates in `lab.testbed`, and how Pillow writes an uncompressed PNG. Then a test fails, the demo says that
its null does not fit and scans without one, and `python -m lab.zoo.demo_null` builds another.
"""

from __future__ import annotations

from pathlib import Path

from demo.recipe import NUM_TEST_IMAGES
from lab.testbed.glyphs import digits
from lab.testbed.pictures import Pictures, compose
from lab.testbed.shards import write_labelled

SEED = 7_003


def images() -> Pictures:
    """All of them."""
    return compose(digits(), "test", NUM_TEST_IMAGES, seed=SEED, is_portable=True)


def write(folder: Path) -> None:
    """The labelled set as shards in `folder`."""
    write_labelled(digits(), images(), folder, is_portable=True)
