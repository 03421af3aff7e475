"""The rows of the study of attackers, whose code left the lab."""

from collections import defaultdict

from tools.reference.attackers import METHODS, Row, carrier, dormant, rows, worst


def test_every_model_is_scanned_once_and_cleaned_by_every_method_on_the_same_images() -> None:
    models: dict[str, list[Row]] = defaultdict(list)
    for row in rows():
        models[row["model"]].append(row)
    assert len(models) >= 8
    for found in models.values():
        assert [one["method"] for one in found] == list(METHODS)
        assert ["p" in one for one in found] == [True, *[False] * 4]
        assert len({tuple(share["n"] for share in one["asr"]) for one in found}) == 1
        before = found[0]
        for one in found[1:]:
            lost = before["ca"]["value"] - one["ca"]["value"]
            assert abs(lost - one["lost"]["value"]) < 2e-6, "what is lost is the difference of the accuracies"
            assert worst(one)["value"] == max(share["value"] for share in one["asr"])


def test_of_a_dormant_trigger_the_highest_is_that_of_its_curve_and_it_wakes_before_a_cleaning() -> None:
    models: dict[str, dict[str, Row]] = defaultdict(dict)
    for row in dormant():
        models[row["model"]][row["method"]] = row
        shares = [one["asr"]["value"] for one in row["asr_after_training"]]
        assert row["highest"]["asr"]["value"] == max(shares)
        assert len({one["asr"]["n"] for one in row["asr_after_training"]} | {row["asr"]["n"]}) == 1
    complete = [found for found in models.values() if "before" in found]
    assert len(complete) >= 2
    for found in complete:
        before = found["before"]
        assert before["asr"]["high"] < 0.2 < before["highest"]["asr"]["low"]
        for one in found.values():
            assert abs(before["ca"]["value"] - one["ca"]["value"] - one["lost"]["value"]) < 2e-6


def test_a_natural_carrier_is_what_uar_leaves_and_every_model_has_one_that_was_never_poisoned() -> None:
    models: dict[str, dict[str, Row]] = defaultdict(dict)
    for row in carrier():
        models[row["model"]][row["method"]] = row
    assert len(models) == 4
    for found in models.values():
        assert list(found) == [*METHODS, "uar, pairs without", "never poisoned"]
        assert len({one["asr"]["n"] for one in found.values()}) == 1
        asr, floor = {name: one["asr"] for name, one in found.items()}, found["never poisoned"]["asr"]
        assert asr["before"]["low"] > 0.9
        assert asr["uar"]["low"] > asr["cleanclip then uar"]["high"]
        assert asr["uar, pairs without"]["low"] < max(floor["high"], 0.01)
        assert found["never poisoned"]["lost"] is None is found["before"]["lost"]
        for name in (*list(METHODS)[1:], "uar, pairs without"):
            lost = found["before"]["ca"]["value"] - found[name]["ca"]["value"]
            assert abs(lost - found[name]["lost"]["value"]) < 2e-6
