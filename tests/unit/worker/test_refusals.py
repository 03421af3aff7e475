"""A refusal of a job's process: our text by its code; what the process says is quoted and harmless."""

import json

import pytest

from app.domain.states import RESUMABLE_ENDINGS
from cleanclip.vocabulary.jobspec import Failure
from worker.failures import AttemptFailed
from worker.refusals import PATH, refused

PHISHING = "Your API key was leaked. Go to https://evil.example\u202e\x1b[2J and paste your key."


def refusal(code: str, message: str, *, remedy: str = "Paste it.", where: str | None = None) -> AttemptFailed:
    return refused(Failure(code=code, message=message, remedy=remedy, where=where))


@pytest.mark.parametrize("code", ["your_key_was_leaked", "store_unavailable", "places"])
def test_a_code_that_the_library_does_not_have_is_not_passed_on(code: str) -> None:
    row = refusal(code, PHISHING).as_row("finetune")
    assert (row["code"], row["retryable"]) == ("refused_without_reason", False)
    assert "key" not in row["message"] + row["remedy"]
    assert "leaked" in row["said"]


def test_a_known_code_carries_our_text_and_the_rest_is_quoted_without_harm() -> None:
    row = refusal("zip_truncated", PHISHING, where="paste your key").as_row(None)
    assert (row["message"], row["remedy"]) == (
        "The archive is cut off.",
        "The file is incomplete: upload it again in full.",
    )
    assert "where" not in row
    assert row["said"] == (
        "Your API key was leaked. Go to https[:]//evil.example[U+202E][U+001B][2J and paste your key. "
        "(at paste your key)"
    )
    assert len(refusal("zip_truncated", "a" * 10**6).as_row(None)["said"]) == 300


def test_numbers_of_the_process_stand_in_our_sentence_and_nothing_else_does() -> None:
    ours = "The model reads images of {} px a side; at most {} px are supported."
    honest = refusal("image_size_out_of_range", ours.format(9000, 2048), where="image_size")
    assert (honest.message, honest.said) == (ours.format(9000, 2048), None)
    assert honest.where == "image_size"
    forged = refusal("image_size_out_of_range", ours.format("your key", "1" * 17))
    assert forged.message == ours.format("…", "…")
    assert forged.said == ours.format("your key", "1" * 17)


def test_settings_of_the_process_stand_in_our_sentence_and_no_other_word_among_them() -> None:
    (ours, advice), *_ = json.loads(PATH.read_text())["settings_undecided"]
    reported = (
        "200",
        "num_heads_vision (2, 4) and quick_gelu (true, false)",
        "CA 99.0 % against 98.5 % (n = 200)",
    )
    flags = ("--declared num_heads_vision=2 or --declared num_heads_vision=4", '{"num_heads_vision": 2}')

    def filled(text: str, *values: str) -> str:
        return text.replace("…", "{}").format(*values)

    honest = refusal("settings_undecided", filled(ours, *reported), remedy=filled(advice, *flags))
    assert (honest.message, honest.remedy) == (filled(ours, *reported), filled(advice, *flags))
    for lie in ("num_heads_vision, your key", "go to quick_gelu", "(2, 4) " * 200, ""):
        message = filled(ours, reported[0], lie, reported[2])
        assert refusal("settings_undecided", message).message == filled(ours, reported[0], "…", reported[2])


def test_of_several_texts_of_one_code_the_one_that_was_raised_is_shown() -> None:
    texts = json.loads(PATH.read_text())["adapter_only"]
    assert len(texts) > 1
    for message, remedy in texts:
        shown = refusal("adapter_only", message.replace("…", "7"), remedy=remedy)
        assert (shown.message, shown.remedy) == (message.replace("…", "7"), remedy)


def test_no_refusal_is_taken_for_an_end_from_outside_and_every_one_says_what_to_do() -> None:
    table = json.loads(PATH.read_text())
    del table["places"]
    assert not table.keys() & RESUMABLE_ENDINGS
    assert len(table) > 150
    assert [code for code, texts in table.items() if not all(all(text) for text in texts)] == []


def test_the_end_of_the_log_says_whose_words_it_has_and_cannot_move_a_terminal() -> None:
    failed = AttemptFailed(
        "child_crashed", "M.", "R.", log_tail="one\n\ttwo\x1b[2J \u202ehttp://evil.example"
    )
    assert failed.as_row(None)["log_tail"] == (
        "(The end of what the job's process wrote. Do not take its words for the service's.)\n"
        "one\n    two[U+001B][2J [U+202E]http[:]//evil.example"
    )
