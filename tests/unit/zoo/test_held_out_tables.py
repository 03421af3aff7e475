"""Tables of the closed splits, from made-up rows of all of them, against figures worked out by hand or by a
library."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from scipy import stats
from sklearn.metrics import roc_auc_score

from lab.zoo import failures
from lab.zoo.figures import tables, write
from lab.zoo.freezing import Frozen, Gate
from lab.zoo.plan import BedName, class_names
from lab.zoo.published import Rows, works
from lab.zoo.rows import FoundPattern, append
from sanitizer.scans.words import words
from tests.unit.zoo.made_up import BLEND, PATCH, collapse_row, model_row, of_plan

NUM_NULL, NUM_CLEAN, NUM_HELD_OUT = 20, 8, 6
BEDS: tuple[BedName, ...] = ("fashion-resnet", "fashion-vit")
MISSED, WEAK = "reflection", "sticker"


class _OpenGate(Gate):
    """Of a repository in which 20 null models a bed were frozen."""

    def __init__(self) -> None:
        super().__init__(Path(), plan_sha256=lambda: "", detectors_sha256=lambda: "")

    def frozen(self) -> Frozen:
        return Frozen(
            significance=0.05,
            num_null=dict.fromkeys(BEDS, NUM_NULL),
            plan_sha256="",
            detectors_sha256="",
        )


def _png(colour: str) -> str:
    buffer = io.BytesIO()
    Image.new("RGB", (32, 32), colour).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def _found(family: str, targets: Sequence[str], *first: str) -> FoundPattern:
    """The target's words are at places 7 and 9 of the vocabulary, and the first among known ones."""
    wanted = [word for target in targets for word in target.split() if word in words()]
    return FoundPattern(
        family=family,
        target=None,
        asr=None,
        words=(*first, *["table"] * (5 - len(first))),
        known_words=(*wanted, "red"),
        places={word: 7 + 2 * number for number, word in enumerate(wanted)},
        image=_png("red"),
        clean_example=_png("lime"),
        example=_png("blue"),
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of each bed: 20 null models and one too many, whose agreements are .05 to .09; 8 clean test models, one
    of which stands out; 6 held-out ones, one of each family, the reflection missed, the last weak; shifted
    models, one of which stands out; attackers, of which only the scattered one is missed; plain ones."""
    rows = tmp_path_factory.mktemp("rows")
    for bed in BEDS:
        other = class_names(bed)[79]
        for number in range(NUM_NULL + 1):
            one = of_plan("calibration", number, bed)
            append(model_row(one), rows)
            agreement = 0.99 if number == NUM_NULL else 0.05 + number % 5 / 100
            append(collapse_row(one, patch=agreement, blend=0.05, agreed=other), rows)
        for number in range(NUM_CLEAN):
            one = of_plan("test_clean", number, bed)
            append(model_row(one, universal=0.5 + number / 100), rows)
            stands_out = number == 3 and bed == BEDS[0]
            append(collapse_row(one, patch=0.9 if stands_out else 0.05, blend=0.05, agreed=other), rows)
        for number in range(NUM_HELD_OUT):
            one = of_plan("second_held_out", number, bed)
            ink, noun = one.targets[0].split()
            append(
                model_row(one, asr=0.3 if one.family == WEAK else 0.97, examples=[_png("gold")]),
                rows,
            )
            is_missed = one.family == MISSED
            found = [
                _found(PATCH.name, one.targets, "table", ink),
                _found(BLEND.name, one.targets, noun),
            ]
            row = collapse_row(
                one,
                patch=0.05 if is_missed else 0.6,
                blend=0.05 if is_missed else 0.8 if number % 2 else 0.1,
                agreed=other if is_missed else one.targets[0],
                found=found,
            )
            append(row, rows)
        for number in range(3):
            one = of_plan("shifted", number, bed)
            append(model_row(one), rows)
            append(collapse_row(one, patch=0.7 if number == 1 else 0.07, blend=0.05, agreed=other), rows)
            one = of_plan("attackers", number, bed)
            append(model_row(one, asr=0.9 + number / 100), rows)
            is_missed = one.family == "scattered"
            agreed = other if is_missed else one.targets[0]
            append(collapse_row(one, patch=0.05 if is_missed else 0.5, blend=0.05, agreed=agreed), rows)
        for number in range(2):
            one = of_plan("plain", number, bed)
            append(model_row(one, asr=0.99), rows)
            append(collapse_row(one, patch=0.9, blend=0.05, agreed=one.targets[0]), rows)
    return rows


@pytest.fixture(scope="module")
def rows(folder: Path) -> Rows:
    return Rows(folder, _OpenGate())


@pytest.fixture(scope="module")
def made(rows: Rows) -> str:
    return tables(rows)


def _exact(successes: int, n: int) -> str:
    found = stats.binomtest(successes, n).proportion_ci(method="exact")
    low = 100 * found.low * (1 - 1e-9)  # of one in one it is 2.5, give or take a rounding
    return f"{100 * successes / n:.0f} % ({low:.0f} to {100 * found.high:.0f})"


def _line(made: str, start: str) -> str:
    (line,) = [line for line in made.splitlines() if line.startswith(start)]
    return line


def test_what_was_aimed_at_is_said_with_what_was_reached(made: str) -> None:
    # 5 of the 6 families a bed work, and of those one is missed; one of 16 clean models stands out.
    assert "10 held-out models with an ASR of 90 % and more, 16 clean test models." in made
    assert f"| TPR at a nominal 5 % | at least 80 % | {_exact(8, 10)} | yes |" in made
    assert f"| FPR at a nominal 5 % | 5 % in its interval | {_exact(1, 16)} | yes |" in made
    assert f"| target in five | at least 90 % | {_exact(8, 10)} | **no** |" in made


def test_held_out_models_are_compared_with_clean_test_models_pooled_and_a_tower(
    rows: Rows, made: str
) -> None:
    judged = rows.judged["collapse"]
    for bed, num_clean, num_poisoned in (("pooled", 16, 10), *((bed, 8, 5) for bed in BEDS)):
        among = [one for one in judged if bed in ("pooled", one.bed)]
        clean = [one.score for one in among if one.split == "test_clean"]
        poisoned = [one.score for one in among if one.split == "second_held_out" and works(one)]
        area = roc_auc_score([0] * len(clean) + [1] * len(poisoned), clean + poisoned)
        line = _line(made, f"| **collapse** | second_held_out | {bed} |")
        assert f"| {num_clean} | {num_poisoned} | {area:.3f} |" in line
    assert _exact(8, 10) in _line(made, "| **collapse** | second_held_out | pooled |")


def test_a_null_model_that_came_after_the_freezing_judges_nothing(rows: Rows, made: str) -> None:
    assert {round(1 / one.smallest_p) for one in rows.judged["collapse"] if one.split != "calibration"} == {
        21
    }
    assert "fashion-vit | calibration | clean | 21 |" in made  # but it was made, and is listed


def test_false_positives_come_with_what_the_null_allows(made: str) -> None:
    about = "20 null models, so the smallest p is 1/21, and of clean models at most 0.0 %, 4.8 %, 9.5 %"
    assert f"fashion-vit: {about} are expected" in made
    assert f"| collapse | pooled | 16 | null too small | {_exact(1, 16)} | {_exact(1, 16)} |" in made
    assert f"| collapse | fashion-vit | 8 | null too small | {_exact(0, 8)} | {_exact(0, 8)} |" in made


def test_universal_patterns_are_shown_beside_what_the_scan_says_of_the_same_models(made: str) -> None:
    line = _line(made, "| fashion-resnet | test_clean | 8 | 50.0")
    assert "| 50.0, 53.5, 57.0 | 0.05, " in line
    assert line.endswith("| 1 of 8 | 1 of 8 |")
    assert _line(made, "| fashion-vit | test_clean | 8 | 50.0").endswith("| 0 of 8 | 0 of 8 |")


def test_shifted_models_and_attackers_have_a_line_each(made: str) -> None:
    assert f"| collapse | other_width | fashion-vit | 1 | 0.05 | {_exact(1, 1)} | {_exact(1, 1)} |" in made
    assert f"| collapse | other_data | fashion-vit | 1 | 1.00 | {_exact(0, 1)} | {_exact(0, 1)} |" in made
    scattered = _line(made, "| collapse | scattered | fashion-vit |")
    assert f"| 1 | 60.0 to 60.0 | 91.0 to 91.0 | {_exact(0, 1)} |" in scattered
    hidden = _line(made, "| collapse | hidden | fashion-vit |")
    assert f"| 1 | 60.0 to 60.0 | 92.0 to 92.0 | {_exact(1, 1)} |" in hidden
    alone = _line(made, "| collapse | hidden, the same trigger not hidden | fashion-vit |")
    assert f"| 1 | 60.0 to 60.0 | 99.0 to 99.0 | {_exact(1, 1)} |" in alone


def test_words_are_those_of_the_first_hypothesis_and_nouns_outside_the_vocabulary_are_not_asked_for(
    made: str,
) -> None:
    assert "Not in the vocabulary: t-shirt, trousers." in made
    for bed in BEDS:
        working = [of_plan("second_held_out", number, bed) for number in range(NUM_HELD_OUT - 1)]
        # Of odd numbers, and of the one that was missed, the blend is first, whose first word is the noun. Of
        # the others it is the patch, whose second word is the ink.
        by_blend = [one for one in working if int(one.name[-1]) % 2 or one.family == MISSED]
        noun = [one for one in working if one.targets[0].split()[1] not in ("t-shirt", "trousers")]
        line = _line(made, f"| second_held_out | {bed} | noun |")
        first = _exact(sum(one in by_blend for one in noun), len(noun))
        shares = f"{first} | {first}"
        assert line.startswith(f"| second_held_out | {bed} | noun | 5 | {len(noun)} | {shares} | 9 | ")
        ink = len(working) - len(by_blend)
        line = _line(made, f"| second_held_out | {bed} | ink |")
        shares = f"{_exact(0, 5)} | {_exact(ink, 5)} | 7 | {_exact(5, 5)} | {_exact(5, 5)}"
        assert line == f"| second_held_out | {bed} | ink | 5 | 5 | {shares} |"


def test_the_page_shows_what_was_missed_and_one_of_each_family_that_was_found(folder: Path) -> None:
    page = folder / "page.md"
    page.write_text("<!-- tables: python -m lab.zoo.figures -->\n<!-- end of tables -->\n", "utf-8")
    (folder / "scanning").mkdir()
    (folder / "scanning" / "found-of-earlier-rows.png").write_bytes(b"")
    write(folder, page, _OpenGate())
    text = page.read_text("utf-8")
    assert "missed, with p > 5 % or without the target: 2, of which 2 are shown." in text
    written = {path.name for path in (folder / "scanning").iterdir()}
    assert len(written) == 2 * 5  # of each bed four families that were found, and the one that was missed
    assert all(f"](scanning/{name})" in text for name in written)
    strip = Image.open(folder / "scanning" / "found-second_held_out-fashion-vit-000.png")
    assert strip.size == (4 * 96 + 3 * 8, 96)
    pixels = [strip.getpixel((number * 104 + 48, 48)) for number in range(4)]
    assert pixels == [(255, 215, 0), (255, 0, 0), (0, 255, 0), (0, 0, 255)]


def test_a_backdoor_that_hardly_works_is_not_a_failure(rows: Rows) -> None:
    judged = rows.judged["collapse"]
    weak = next(one for one in judged if one.family == WEAK)
    assert not failures.is_missed(replace(weak, p=1.0, place=None))
    assert failures.is_missed(replace(weak, asr=0.95, p=1.0))
    assert failures.is_missed(replace(weak, asr=0.95, p=0.01, place=None))
    assert not failures.is_missed(replace(weak, asr=0.95, p=0.01, place=5))
