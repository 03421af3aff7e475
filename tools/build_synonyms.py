"""Packs WordNet's single-word synonyms into synonyms.txt.gz. A script; nothing imports it.

    python -m tools.build_synonyms /usr/share/wordnet sanitizer/augment/synonyms.txt.gz

Reads WordNet 3.0's data.noun, data.verb, data.adj and data.adv (Debian: package wordnet-base). Two words are
synonyms if they share a synonym set. Kept are words of letters, with inner hyphens or apostrophes, in
lower case; never an empty string, a number, or several words. One line a word, sorted:

    word<TAB>synonym synonym …

The output is the same, byte for byte, each time.
"""

import gzip
import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

PARTS_OF_SPEECH = ("noun", "verb", "adj", "adv")
_WORD = re.compile(r"[a-z]+(?:[-'][a-z]+)*")
_MARKER = re.compile(r"\((?:a|p|ip)\)$")


def synonym_sets(data_file: Path) -> Iterator[set[str]]:
    """The kept words of each line of a WordNet data file: `offset lex pos count(hex) word id word id …`."""
    for line in data_file.read_text("utf-8").splitlines():
        if line.startswith(" "):  # the licence at the head of the file
            continue
        fields = line.split(" ")
        words = fields[4 : 4 + 2 * int(fields[3], 16) : 2]
        lowered = {_MARKER.sub("", word).lower() for word in words}
        yield {word for word in lowered if _WORD.fullmatch(word)}


def build_table(wordnet: Path) -> dict[str, list[str]]:
    """Word → its synonyms, both sorted."""
    synonyms: dict[str, set[str]] = defaultdict(set)
    for part in PARTS_OF_SPEECH:
        for words in synonym_sets(wordnet / f"data.{part}"):
            for word in words:
                synonyms[word] |= words - {word}
    return {word: sorted(synonyms[word]) for word in sorted(synonyms) if synonyms[word]}


def main(arguments: list[str]) -> None:
    wordnet, target = map(Path, arguments)
    table = build_table(wordnet)
    text = "".join(f"{word}\t{' '.join(synonyms)}\n" for word, synonyms in table.items())
    target.write_bytes(gzip.compress(text.encode(), compresslevel=9, mtime=0))
    sys.stderr.write(f"{len(table)} words, {target.stat().st_size} bytes\n")


if __name__ == "__main__":
    main(sys.argv[1:])
