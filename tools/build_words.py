"""Packs WordNet's common nouns into words.txt.gz, for the scan to name targets. A script; nothing imports it.

    python -m tools.build_words /usr/share/wordnet sanitizer/scans/words.txt.gz

Reads WordNet 3.0's index.noun (Debian: package wordnet-base). Kept are single words of three letters or more
that CLIP's byte-pair encoding writes with at most two tokens, the commonest 20,000 by it: a word of one token
before one of two, and each by when its tokens were merged. One word a line, in that order; the same, byte for
byte, each time.
"""

import gzip
import re
import sys
from pathlib import Path

from open_clip.tokenizer import SimpleTokenizer

NUM_WORDS = 20_000
_WORD = re.compile(r"[a-z]{3,}")


def nouns(index_file: Path) -> list[str]:
    """The single words of letters in a WordNet index file, each once."""
    lines = index_file.read_text("utf-8").splitlines()
    words = (line.split(" ", 1)[0] for line in lines if not line.startswith(" "))
    return [word for word in dict.fromkeys(words) if _WORD.fullmatch(word)]


def commonest(words: list[str], most: int) -> list[str]:
    """At most so many, the commonest first."""
    tokenizer = SimpleTokenizer()
    tokens = {word: tokenizer.encode(word) for word in words}
    short = [word for word in words if len(tokens[word]) <= 2]
    return sorted(short, key=lambda word: (len(tokens[word]), sum(tokens[word]), word))[:most]


def main(arguments: list[str]) -> None:
    wordnet, target = map(Path, arguments)
    words = commonest(nouns(wordnet / "index.noun"), NUM_WORDS)
    target.write_bytes(
        gzip.compress("".join(f"{word}\n" for word in words).encode(), compresslevel=9, mtime=0)
    )
    sys.stderr.write(f"{len(words)} words, {target.stat().st_size} bytes\n")


if __name__ == "__main__":
    main(sys.argv[1:])
