"""Which names people may be shown: what can be seen, and nothing else."""

import pytest

from app.domain.shown_texts import is_fit_to_show, shown


@pytest.mark.parametrize(
    "name",
    [
        "clip-rn50.pt",
        "Prüfung 日本語　試験",
        "می\u200cخواهم",
        "क्\u200dष",
        "family \U0001f468\u200d\U0001f469\u200d\U0001f467",
        "heart \u2764\ufe0f",
        "..hidden.pt",
    ],
)
def test_a_name_that_can_be_seen_is_fit(name: str) -> None:
    assert is_fit_to_show(name)


@pytest.mark.parametrize(
    "hidden",
    [
        "\u200b",  # zero-width space
        "\u200d",  # a joiner between Latin letters joins nothing
        "\u2060",  # word joiner
        "\u00ad",  # soft hyphen
        "\U000e0041",  # tag
        "\U000e0100",  # variation selector of the supplement
        "\u202e",  # override of direction
        "\u200f",  # right-to-left mark
        "\u061c",  # Arabic letter mark
        "\ufeff",
        "\u3164",  # Hangul filler, a letter without ink
        "\u2028",
        "\ue000",  # private use
        "\x1b",
        "\ud800",
    ],
)
def test_a_name_that_holds_what_nobody_sees_is_not(hidden: str) -> None:
    assert not is_fit_to_show(f"mod{hidden}el.pt")
    assert not is_fit_to_show(f"模{hidden if hidden != chr(0x200D) else ''}{hidden}")


@pytest.mark.parametrize("name", [".", "..", "...", " .. ", " "])
def test_a_name_of_dots_and_blanks_is_not(name: str) -> None:
    assert not is_fit_to_show(name)


def test_a_picture_s_text_keeps_its_dots_and_joiners_and_loses_only_what_is_hidden() -> None:
    assert shown("می\u200cخواهم ...") == "می\u200cخواهم ..."
    assert shown("a . \u200b b") == "a . \N{REPLACEMENT CHARACTER} b"
