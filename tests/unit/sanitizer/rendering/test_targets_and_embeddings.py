"""Targets of single attacks, their ranks, drift and the linear probe, as the pages tell them."""

import copy
import json
from typing import Any

import pytest
from pydantic import ValidationError

from cleanclip.vocabulary.recipe import to_json
from cleanclip.vocabulary.report import load_json
from sanitizer.audits.statistics import mean_distance
from sanitizer.audits.target_ranks import rank_distribution
from tests.fixtures.html_page import Page
from tests.fixtures.kept_reports import document, drawn_from
from tests.unit.sanitizer.rendering.test_page import estimates


def of_several_targets() -> dict[str, Any]:
    """The first of three triggers leads to "<b>" instead."""
    written = copy.deepcopy(document("cleaned"))
    written["audit"]["attacks"][0]["target"] = "<b>"
    for audit in (written["before"], written["after"]):
        audit["attacks"][0] |= {"target": "<b>", "options": written["audit"]["attacks"][0]}
        audit["further_targets"] = [
            {"target": "<b>"} | {name: one for name, one in audit.items() if name.startswith("untriggered")}
        ]
    return written


def with_ranks() -> dict[str, Any]:
    """The places of its targets told, too."""
    written = of_several_targets()
    for audit in (written["before"], written["after"]):
        for floor in (audit, *audit["further_targets"]):
            floor["untriggered_target_rank"] = rank(floor["untriggered_target_rate"]["n"], 3)
        for attack in audit["attacks"]:
            attack["target_rank"] = rank(attack["asr"]["n"], 1)
    return written


def rank(n: int, median: int) -> dict[str, Any]:
    few = rank_distribution([median - 1] * 7 + [5], num_classes=6)
    return to_json(few) | {"n": n, "high": 4}


def test_the_place_of_each_target_stands_in_both_pages_with_interval_quartiles_and_n() -> None:
    written = with_ranks()
    source, markdown = drawn_from(written)
    page = Page(source)
    shown = {one.attributes["data-figure"]: one for one in page.all("data")}
    expected = {path: value for path, value in estimates(written) if "median" in value}
    assert len(expected) == 2 * (2 + 3)
    for path, reported in expected.items():
        for part in ("median", "low", "high", "first_quartile", "third_quartile", "n"):
            assert shown[f"{path}.{part}"].text == str(reported[part])
    n = written["before"]["attacks"][2]["asr"]["n"]
    place = f"1 (1 to 4; 1 and 1; n = {n})"
    assert f"| Target, rank, sig to “yellow seven” | {place} | {place} |" in markdown
    assert "| “yellow seven” without trigger, rank | 3 (3 to 4; 3 and 3; n = " in markdown


def test_each_trigger_is_told_with_its_own_target_and_the_floor_under_it() -> None:
    source, markdown = drawn_from(of_several_targets())
    page = Page(source)
    first = page.all("section")[0].text
    assert "call images its target (“<b>”, “yellow seven”)" in first
    assert "ASR badnet to “<b>”" in first
    assert "ASR sig to “yellow seven”" in first
    assert "Any target class but “<b>”, “yellow seven”" in first
    rows = {row.all("bdi")[0].text: row for row in page.all("tr") if row.all("bdi")}
    floor = rows["“<b>” without trigger"].all("data")[0].attributes["data-figure"]
    assert floor == "before.further_targets.0.untriggered_target_rate.value"
    assert "“yellow seven” without trigger" in rows
    blocks = [one.text for one in page.all("div") if one.attributes.get("class") == "attack"]
    assert ["Target: “<b>”." in block for block in blocks] == [True, False, False]
    assert ["Target: “yellow seven”." in block for block in blocks] == [False, True, True]
    assert "ASR badnet to “\\<b\\>”" in markdown


def test_the_drift_of_the_embeddings_stands_in_both_pages() -> None:
    written = copy.deepcopy(document("cleaned"))
    reported = {"images": mean_distance([0.1, 0.2, 0.4]), "classes": mean_distance([0.01, 0.03])}
    written["drift"] = {name: to_json(one) for name, one in reported.items()}
    source, markdown = drawn_from(written)
    shown = {one.attributes["data-figure"]: one for one in Page(source).all("data")}
    for name, one in written["drift"].items():
        for part in ("mean", "low", "high", "std"):
            element = shown[f"drift.{name}.{part}"]
            assert json.loads(element.attributes["value"]) == one[part]
            assert element.text == f"{one[part]:.4f}"
        assert shown[f"drift.{name}.n"].text == str(one["n"])
    assert (
        "images without a trigger mean 0.2333 (95 % interval 0.0000 to 0.6128, n = 3); classes mean 0.0200 ("
        in markdown
    )
    for change in ({"mean": 0.3}, {"std": 1.9}, {"n": 0}, {"high": 0.7}, {"mean": 2.0005}):
        wrong = copy.deepcopy(written)
        wrong["drift"]["images"] |= change
        with pytest.raises(ValidationError, match=r"drift\.images"):
            load_json(json.dumps(wrong))


def with_probe() -> dict[str, Any]:
    written = copy.deepcopy(document("cleaned"))
    written["audit"]["linear_probe"] = {"folds": 4}
    for audit in (written["before"], written["after"]):
        reported = {"accuracy": audit["ca"], "num_iterations": 77, "is_converged": True}
        audit["linear_probe"] = reported
        for attack in audit["attacks"]:
            floor = audit["untriggered_target_rate"]
            shares = {"asr": attack["asr"], "untriggered_target_rate": floor, "pa": attack["pa"]}
            attack["linear_probe"] = shares
    return written


def test_every_share_of_a_linear_probe_stands_in_both_pages() -> None:
    written = with_probe()
    source, markdown = drawn_from(written)
    page = Page(source)
    shown = {one.attributes["data-figure"]: one.attributes["value"] for one in page.all("data")}
    expected = {path: value for path, value in estimates(written) if ".linear_probe." in path}
    assert len(expected) == 2 * (1 + 3 * 3)
    for path, reported in expected.items():
        for part in ("value", "low", "high", "successes", "n"):
            assert json.loads(shown[f"{path}.{part}"]) == reported[part]
    text = " ".join(source.split())
    assert "in 4 parts of the test images" in text
    assert "Longest fit: 77 steps before, 77 after." in text
    assert "| Linear probe, accuracy | " in markdown
    assert "| Linear probe, ASR, badnet | 99.49 % (95 % interval 99.17 to 99.69 %, n = 2965) | " in markdown
