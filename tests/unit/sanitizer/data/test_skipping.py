"""The ledger of bad samples: each counted once, refused above the share."""

import pickle
import re
from pathlib import Path

import pytest

import cleanclip.local_data
import sanitizer.data.skipping
from cleanclip.vocabulary.errors import DatasetRejected
from cleanclip.vocabulary.skip_reasons import MEANINGS, meaning
from sanitizer.data.skipping import BadSample, SkipLedger, Skipped, printable


def skipped(index: int, reason: str = "image_damaged") -> Skipped:
    return Skipped(index=index, key=f"{index:04d}", reason=reason, detail="why")


def test_a_sample_is_counted_once_however_often_it_is_met() -> None:
    ledger = SkipLedger(100, 0.05)
    for _ in range(10):
        ledger.add(skipped(3))
    assert (ledger.num_skipped, ledger.reasons) == (1, {"image_damaged": 1})
    assert ledger.examples == ("'0003': image_damaged",)


def test_the_share_itself_is_tolerated_and_one_more_is_not() -> None:
    ledger = SkipLedger(100, 0.05)
    for index in range(5):
        ledger.add(skipped(index))
    with pytest.raises(DatasetRejected, match="6 samples are bad") as caught:
        ledger.add(skipped(5))
    assert caught.value.code == "too_many_bad_samples"
    assert "0000: image_damaged" in caught.value.message


def test_share_nought_refuses_the_first() -> None:
    with pytest.raises(DatasetRejected):
        SkipLedger(1000, 0.0).add(skipped(0))


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        ("no_caption", "no_captions"),
        ("no_image", "no_images"),
        ("no_label", "no_labels"),
        ("unknown_label", "unknown_labels"),
        ("not_utf8", "too_many_bad_samples"),
    ],
)
def test_the_code_is_that_of_the_reason_that_explains_most(reason: str, code: str) -> None:
    ledger = SkipLedger(10, 0.2)
    ledger.add(skipped(0, "image_damaged"))
    ledger.add(skipped(1, reason))
    with pytest.raises(DatasetRejected) as caught:
        ledger.add(skipped(2, reason))
    assert caught.value.code == code


def test_without_a_leading_reason_the_code_is_the_general_one() -> None:
    ledger = SkipLedger(10, 0.1)
    ledger.add(skipped(0, "no_caption"))
    with pytest.raises(DatasetRejected) as caught:
        ledger.add(skipped(1, "image_damaged"))
    assert caught.value.code == "too_many_bad_samples"


def test_hostile_keys_are_shown_short_and_printable() -> None:
    shown = printable("\x1b[31m\n" + "x" * 500)
    assert shown.isprintable()
    assert len(shown) <= 81


def test_a_bad_sample_survives_pickling() -> None:
    copy = pickle.loads(pickle.dumps(BadSample("no_image", "none")))
    assert (copy.reason, copy.detail) == ("no_image", "none")


def test_each_reason_that_a_reader_gives_is_explained_and_no_other() -> None:
    sources = Path(sanitizer.data.skipping.__file__).parent.glob("*.py")
    sources = [*sources, Path(cleanclip.local_data.__file__)]
    text = "".join(source.read_text(encoding="utf-8") for source in sources)
    assert set(re.findall(r'BadSample\(\s*"([a-z0-9_]+)"', text)) <= set(MEANINGS)
    assert all(f'"{reason}"' in text for reason in MEANINGS)
    assert "does not know" in meaning("of_tomorrow")
