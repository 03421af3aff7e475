"""The script that packs WordNet, and the table it left in the package."""

import gzip
import re
from importlib.resources import files
from pathlib import Path

from tools.build_synonyms import build_table, main

# offset, lexicographer file, type, count in hex, then word and id in turn.
NOUN = """  1 This software and database is being provided to you, the LICENSEE, by
00000001 03 n 03 dog 0 domestic_dog 0 Canis_familiaris 0 001 ~ 00000002 n 0000 | a dog
00000002 03 n 02 dog 0 hound 0 000 | a hunting dog
00000003 03 n 03 cd 0 cadmium 0 400 0 000 | numbers
"""
ADJ = "00000004 00 a 02 Red 0 scarlet(a) 0 000 | a colour\n"


def wordnet(folder: Path) -> Path:
    for part, text in {"noun": NOUN, "verb": "", "adj": ADJ, "adv": ""}.items():
        (folder / f"data.{part}").write_text(text)
    return folder


def test_only_single_words_of_letters_become_synonyms(tmp_path: Path) -> None:
    assert build_table(wordnet(tmp_path)) == {
        "cadmium": ["cd"],
        "cd": ["cadmium"],
        "dog": ["hound"],
        "hound": ["dog"],
        "red": ["scarlet"],
        "scarlet": ["red"],
    }


def test_the_packed_table_is_the_same_each_time(tmp_path: Path) -> None:
    source = wordnet(tmp_path)
    for name in ("first.gz", "second.gz"):
        main([str(source), str(tmp_path / name)])
    assert (tmp_path / "first.gz").read_bytes() == (tmp_path / "second.gz").read_bytes()
    assert gzip.decompress((tmp_path / "first.gz").read_bytes()).startswith(b"cadmium\tcd\n")


def test_every_line_of_the_shipped_table_is_a_word_and_its_synonyms() -> None:
    folder = files("sanitizer.augment")
    text = gzip.decompress(folder.joinpath("synonyms.txt.gz").read_bytes()).decode("ascii")
    word = r"[a-z]+(?:[-'][a-z]+)*"
    line = re.compile(rf"({word})\t{word}(?: {word})*")
    matches = [line.fullmatch(entry) for entry in text.splitlines()]
    assert len(matches) > 40_000
    assert all(matches)
    assert len({match[1] for match in matches if match}) == len(matches)
    assert "Princeton University" in folder.joinpath("WORDNET_LICENSE.txt").read_text()
