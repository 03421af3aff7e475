"""EDA: one slightly changed view of a caption (Wei & Zou, arXiv 1901.11196).

One of four operations is drawn: synonym replacement, random insertion, random swap, random deletion. The
first three act n = max(1, int(alpha * number of words)) times, deletion drops each word with probability
alpha. Words are what white space separates. Synonyms are WordNet's, from the packed table beside this
module (see tools/build_synonyms.py and WORDNET_LICENSE.txt), and are found for words without the punctuation
around them. Differs from the authors' code in that case, punctuation and characters outside a–z are kept, so
that every string is safe: where there is nothing to do, the caption comes back as it was.
"""

import gzip
from functools import lru_cache
from importlib.resources import files

import numpy as np

# English function words: a synonym of these changes the grammar and not the wording.
STOP_WORDS = frozenset(
    word
    for line in """
    a about above after again against all am an and any are as at be because been before being below between
    both but by can could did do does doing down during each few for from further had has have having he her
    here hers herself him himself his how i if in into is it its itself just me more most my myself no nor not
    now of off on once only or other our ours ourselves out over own same she should so some such than that
    the their theirs them themselves then there these they this those through to too under until up very was
    we were what when where which while who whom why will with would you your yours yourself yourselves
    """.splitlines()
    for word in line.split()
)
_PUNCTUATION = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~“”‘’«»…–—"


def augment_caption(caption: str, alpha: float, rng: np.random.Generator) -> str:
    """A view of `caption`; `alpha` is the share of words that are changed, 0 leaves it alone.

    Never raises on any string, and never returns white space only for a caption that holds words.
    """
    words = caption.split()
    if alpha <= 0 or not words:
        return caption
    num_changes = max(1, int(alpha * len(words)))
    operation = int(rng.integers(4))
    if operation == 0:
        changed = replace_synonyms(words, num_changes, rng)
    elif operation == 1:
        changed = insert_synonyms(words, num_changes, rng)
    elif operation == 2:
        changed = swap(words, num_changes, rng)
    else:
        changed = delete(words, alpha, rng)
    return caption if changed == words else " ".join(changed)


def replace_synonyms(words: list[str], num_changes: int, rng: np.random.Generator) -> list[str]:
    """`num_changes` words that have synonyms and are no stop words, each replaced by one of its synonyms."""
    replaceable = _replaceable(words)
    changed = list(words)
    for place in rng.permutation(len(replaceable))[:num_changes].tolist():
        index, core, synonyms = replaceable[place]
        changed[index] = changed[index].replace(core, _pick(synonyms, rng), 1)
    return changed


def insert_synonyms(words: list[str], num_changes: int, rng: np.random.Generator) -> list[str]:
    """`num_changes` times: a synonym of a random word that has one, at a random place."""
    replaceable = _replaceable(words)
    changed = list(words)
    if replaceable:
        for place in rng.integers(len(replaceable), size=num_changes).tolist():
            changed.insert(int(rng.integers(len(changed) + 1)), _pick(replaceable[place][2], rng))
    return changed


def swap(words: list[str], num_changes: int, rng: np.random.Generator) -> list[str]:
    """`num_changes` times: two words at different random places change places."""
    changed = list(words)
    if len(words) > 1:
        for _ in range(num_changes):
            first = int(rng.integers(len(words)))
            second = (first + 1 + int(rng.integers(len(words) - 1))) % len(words)
            changed[first], changed[second] = changed[second], changed[first]
    return changed


def delete(words: list[str], alpha: float, rng: np.random.Generator) -> list[str]:
    """Each word is dropped with probability `alpha`; if none is left, one random word stays."""
    keep = rng.random(len(words)) >= alpha
    if not keep.any():
        return [words[int(rng.integers(len(words)))]]
    return [word for word, kept in zip(words, keep.tolist(), strict=True) if kept]


def _replaceable(words: list[str]) -> list[tuple[int, str, str]]:
    """(index, word without punctuation around it, its synonyms) of the words that can be replaced."""
    table = synonym_table()
    found = []
    for index, word in enumerate(words):
        core = word.strip(_PUNCTUATION)
        lowered = core.lower()
        if lowered not in STOP_WORDS and (synonyms := table.get(lowered)):
            found.append((index, core, synonyms))
    return found


def _pick(synonyms: str, rng: np.random.Generator) -> str:
    choices = synonyms.split()
    return choices[int(rng.integers(len(choices)))]


@lru_cache(maxsize=1)
def synonym_table() -> dict[str, str]:
    """Word → its synonyms with spaces between; read at the first use, in about a tenth of a second."""
    packed = files("sanitizer.augment").joinpath("synonyms.txt.gz").read_bytes()
    lines = gzip.decompress(packed).decode("ascii").splitlines()
    return dict(line.split("\t", 1) for line in lines)
