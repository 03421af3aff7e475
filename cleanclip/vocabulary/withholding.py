"""How many labelled images are withheld from a job's process, and how far off their figures may be.

Whoever has the test images can fit weights to them, so figures on images that the process had cannot vouch
for weights that it made. Figures on withheld images can: an attack on them passes where the upper bound of
its 95 % interval is at most `SLACK` over its limit, and clean accuracy likewise. Weights whose ASR on fresh
images is over the limit plus `SLACK` therefore pass with a chance of about 2.5 %, whatever the number of
withheld images. Their number decides how often sound weights fail to pass: of `FEWEST` images an ASR of 3 %
has an upper bound over 10 % with a chance under 0.1 %, and 1.5 points of clean accuracy lost one over 8
points with a chance under 1 % (8 % of the images change sides).
"""

SLACK = 0.05
FEWEST, MOST = 400, 2_000


def seed_of(dataset_sha256: str) -> int:
    """What draws the images that are withheld of a dataset: of every job the same ones."""
    return int(dataset_sha256[:8], 16) % 2**31


def num_withheld(num_images: int) -> int:
    """Of a labelled set with so many images, bad ones included: a fifth, from `FEWEST` to `MOST`. 0 where
    that is more than half of them: then nothing is withheld."""
    num = min(max(FEWEST, num_images // 5), MOST)
    return num if 2 * num <= num_images else 0
