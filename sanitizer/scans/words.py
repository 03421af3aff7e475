"""The open vocabulary: 20,000 English nouns, the only words that a scan names a target by. Free of torch.

They are WordNet's (see WORDNET_LICENSE.txt), the commonest by CLIP's tokens: tools/build_words.py.
"""

import gzip
from functools import cache
from importlib.resources import files


@cache
def words() -> tuple[str, ...]:
    """The commonest first."""
    packed = files("sanitizer.scans").joinpath("words.txt.gz").read_bytes()
    return tuple(gzip.decompress(packed).decode("ascii").split())
