"""The rows of the study of attackers, whose code left the lab."""

from collections import defaultdict

from tools.reference.attackers import METHODS, Row, rows, worst


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
