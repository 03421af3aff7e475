"""The start's commands are held to the demo: they suppose what `make demo` leaves, which no test trains."""

import shlex

import pytest

from cleanclip.command import values
from cleanclip.vocabulary.attack_options import BadNetOptions
from cleanclip.vocabulary.recipe import CleanCLIPRecipe
from cleanclip.vocabulary.recommended import with_recommended
from demo.recipe import ATTACK, CLEANING, DECLARED, TARGET
from tests.docs.blocks import ROOT, blocks

PAGE = ROOT / "docs" / "start" / "quick-start.md"
COMMANDS = [
    words
    for block in blocks(PAGE)
    for line in block.code.replace("\\\n", " ").splitlines()
    if (words := shlex.split(line, comments=True))[:2] in (["cleanclip", "audit"], ["cleanclip", "sanitize"])
]


def option(words: list[str], name: str) -> str:
    return words[words.index(name) + 1]


def test_there_is_one_that_measures_and_one_that_cleans() -> None:
    assert [words[1] for words in COMMANDS] == ["audit", "sanitize"]


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: words[1])
def test_a_command_asks_for_the_trigger_the_target_and_the_layout_of_the_demo(words: list[str]) -> None:
    assert BadNetOptions(**values.attack(option(words, "--attack"))) == ATTACK
    assert option(words, "--target") == TARGET
    declared = [words[index + 1] for index, word in enumerate(words) if word == "--declared"]
    assert declared == [f"{name}={str(value).lower()}" for name, value in DECLARED.items()]


def test_it_names_no_recipe_and_what_is_recommended_for_the_demos_model_cleans_as_the_demo_does() -> None:
    [_, words] = COMMANDS
    assert not {"--recipe", "--method", "--epochs", "--lr", "--batch-size", "--set"} & {*words}
    assert with_recommended(CleanCLIPRecipe(), (), ("ModifiedResNet", "small")) == CLEANING


def test_the_page_says_what_the_patch_brings_up() -> None:
    assert f'it answers "{TARGET}"' in PAGE.read_text(encoding="utf-8")
