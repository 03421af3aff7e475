"""Patches at one place: shares and judgements are what a plain count says."""

import json
from dataclasses import asdict
from math import exp, log
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cleanclip.vocabulary.scan_options import PatternFamily
from cleanclip.vocabulary.scan_statistics import CollapseFigures, CollapseRestart, ScanStatistics
from tools.reference import one_place
from tools.reference.one_place import Looks, judged_row, log_odds, p_values, statistic

N = 40
FAMILIES = [
    PatternFamily(family="patch", budget=0.25, placement="fixed"),
    PatternFamily(family="blend", budget=0.1),
]


def _search(draws: np.random.Generator, places: int, each: int) -> dict[str, Any]:
    starts = []
    for place in range(places):
        for _ in range(each):
            classes = draws.integers(0, 5, N).tolist()
            sent = {str(one): classes.count(one) for one in set(classes)}
            starts.append({"at": [place / 10, 0.5], "sent": sent})
    return {"n": N, "starts": starts}


@pytest.mark.parametrize("seed", range(5))
def test_shares_of_all_starts_of_a_place_and_of_one_start_are_counted_plainly(seed: int) -> None:
    row = _search(np.random.default_rng(seed), places=3, each=4)
    of_class = [[start["sent"].get(str(one), 0) / N for start in row["starts"]] for one in range(5)]
    assert statistic(row, "agreement")[0] == pytest.approx(max(np.mean(shares) for shares in of_class))
    at_place = [np.mean(shares[first : first + 4]) for shares in of_class for first in (0, 4, 8)]
    assert statistic(row, "place")[0] == pytest.approx(max(at_place))
    best, towards = statistic(row, "best")
    assert best == max(max(shares) for shares in of_class)
    assert best in of_class[int(towards)]


def _measured(fixed: list[int], blend: list[int], agreement: float) -> ScanStatistics:
    figures = [
        CollapseFigures(
            family=family,
            n=N,
            restarts=tuple(CollapseRestart(values=(0.5,), towards=1, num_sent=num) for num in sent),
            agreed_class=1,
            agreement=agreement,
        )
        for family, sent in zip(FAMILIES, (fixed, blend), strict=True)
    ]
    return ScanStatistics(
        weights_sha256="a" * 64,
        class_names_sha256="b" * 64,
        images_sha256="c" * 64,
        seed=1,
        num_passes=1,
        wall_s=1.0,
        collapse=tuple(figures),
    )


def test_half_an_image_is_added_to_both_sides() -> None:
    assert log_odds(0, N) == -log_odds(N, N)
    odds = exp(log_odds(30, N))
    assert odds == pytest.approx(30.5 / 10.5)


def test_each_rule_takes_the_best_start_where_it_says_so() -> None:
    measured = _measured([3, 38, 5], [7, 2, 9], agreement=0.2)
    patch, blend = (family.name for family in FAMILIES)
    assert judged_row(measured, "best starts") == {
        "collapse": {patch: log(38.5 / 2.5), blend: pytest.approx(log(9.5 / 31.5))}
    }
    assert judged_row(measured, "best start at one place")["collapse"][blend] == 0.2
    assert set(judged_row(measured, "agreement")["collapse"].values()) == {0.2}


def _looks(folder: Path, split: str, measured: list[ScanStatistics]) -> Looks:
    """Of made-up models; both files are as the zoo writes them."""
    folder.mkdir()
    made = {"bed": one_place.BED, "weights_sha256": "a" * 64, "split": split}
    names = [{"name": f"{split}-{number}"} for number in range(len(measured))]
    models = [json.dumps(name | made) for name in names]
    looks = [
        json.dumps(name | made | {"detector": "collapse", "measured": asdict(one)})
        for name, one in zip(names, measured, strict=True)
    ]
    for file, lines in (("models.jsonl", models), ("scans.jsonl", looks)):
        (folder / file).write_text("\n".join(lines), encoding="utf-8")
    return Looks(folder)


def test_a_start_that_leads_nearly_all_images_is_found_although_no_two_starts_agree(tmp_path: Path) -> None:
    clean = [
        _measured([8 + number % 5, 4], [6, number % 3], agreement=0.1 + number / 100) for number in range(19)
    ]
    null = _looks(tmp_path / "null", "calibration", clean)
    suspects = _looks(tmp_path / "held", "one_place", [_measured([40, 4], [6, 1], agreement=0.15), clean[3]])
    p = p_values(suspects, null, "best starts", ("collapse",))
    assert p["one_place-0"] == pytest.approx(1 / 20)
    assert p["one_place-1"] > 0.1
    assert p_values(suspects, null, "agreement", ("collapse",))["one_place-0"] > 0.5
    assert min(p_values(null, null, "best starts", ("collapse",)).values()) >= 1 / 19


def test_looks_at_other_weights_and_models_of_other_beds_do_not_count(tmp_path: Path) -> None:
    looks = _looks(tmp_path / "rows", "calibration", [_measured([1], [1], agreement=0.1)])
    assert looks.seen_by(("collapse",), "calibration") == ["calibration-0"]
    assert looks.seen_by(("collapse",), "test_clean") == looks.seen_by(("collapse", "edits")) == []
    rows = tmp_path / "rows" / "models.jsonl"
    rows.write_text(rows.read_text(encoding="utf-8").replace("a" * 64, "d" * 64), encoding="utf-8")
    assert Looks(tmp_path / "rows").seen_by(("collapse",)) == []
    assert Looks(tmp_path / "rows", "fashion-vit").seen_by(("collapse",)) == []
