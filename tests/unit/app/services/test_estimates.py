"""What a job computes, and how long, against arithmetic done by hand."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.services.estimates import Measured, Span, shipped_span, span_of, sum_of
from cleanclip.kinds.phase import PUBLISH, STAGE, Load, Unit
from cleanclip.kinds.sanitize import SANITIZE
from cleanclip.kinds.text_scan import TEXT_SCAN
from cleanclip.vocabulary.attack_options import BadNetOptions
from cleanclip.vocabulary.device_plan import CAPTION_SHARE, training_flop
from cleanclip.vocabulary.model_cost import ModelCost, cost_of
from cleanclip.vocabulary.probe_options import LinearProbeOptions
from cleanclip.vocabulary.rebound_options import ReboundOptions
from cleanclip.vocabulary.recipe import AuditOptions, CleanCLIPRecipe, PARRecipe
from cleanclip.vocabulary.recommended import model_of
from cleanclip.vocabulary.scan_cost import NUM_EDITS, num_passes
from cleanclip.vocabulary.scan_options import ScanOptions
from cleanclip.vocabulary.text_scan_options import TextScanOptions
from cleanclip.vocabulary.uar_recipe import UARRecipe
from tests.fixtures.model_configs import MODELS

_, BASELINE, FINETUNE, FINAL, REBOUND = SANITIZE.computes
FOUR = AuditOptions(target="banana")


def load(
    *, labelled: int | None = 1_000, training: int | None = 10_050, retrieval: int | None = None, **parts: Any
) -> Load:
    usual = {"recipe": CleanCLIPRecipe(epochs=3, batch_size=100), "audit": FOUR}
    sizes = {"labelled_dataset_id": labelled, "dataset_id": training, "retrieval_dataset_id": retrieval}
    return Load(parts=usual | parts, sizes=sizes)


def measured(seconds: float, amount: int, *, unit: Unit = "images", **values: Any) -> Measured:
    return Measured(
        **{"job_id": f"job_{seconds}_{amount}", "unit": unit, "method": None, "seconds": seconds}
        | values
        | {"amount": amount}
    )


SEARCHING = 384 + 4 * 12 * (3 * 8 * 32 + 384) + 24 * (3 * 8 * 64 + 384)
"""Forward passes: 384 images as they are; of 4 families 12 patterns each, 32 steps on 8 images forward and
backward, and the 384 images under it; of a patch at one place 24 patterns, 64 steps."""


def test_an_audit_sees_each_image_without_a_trigger_and_with_each() -> None:
    assert BASELINE.amount(load()) == 1_000 * (1 + 4)
    once_more = 1_000 * (1 + 4 + 1)
    assert FINAL.amount(load()) == once_more + SEARCHING, "and once more through the model that came in"
    few = load(labelled=100)
    assert FINAL.amount(few) == 100 * (1 + 4 + 1), "too few to search with"


def test_attacks_of_one_trigger_share_a_pass_but_in_retrieval() -> None:
    same = AuditOptions(target="banana", attacks=(BadNetOptions(), BadNetOptions(target="pear")))
    assert BASELINE.amount(load(audit=same)) == 1_000 * (1 + 1)
    assert BASELINE.amount(load(audit=same, retrieval=300)) == 1_000 * (1 + 1) + 300 * (1 + 2)


def test_a_linear_probe_is_one_more_pass_and_retrieval_a_pass_of_its_pairs_for_each_trigger() -> None:
    probed = AuditOptions(target="banana", linear_probe=LinearProbeOptions(), max_retrieval_pairs=200)
    assert BASELINE.amount(load(audit=probed)) == 1_000 * (1 + 4 + 1)
    assert FINAL.amount(load(audit=probed, retrieval=300)) == 1_000 * (1 + 4 + 2) + 200 * (1 + 4) + SEARCHING
    assert BASELINE.amount(load(audit=probed, retrieval=100)) == 1_000 * 6 + 100 * 5


def test_a_rebound_counts_what_its_copies_are_trained_and_measured_on() -> None:
    once = AuditOptions(target="banana", rebound=ReboundOptions(steps=(10, 50), max_images=400))
    trained, measured_on = 50 * 100 * 4, 3 * 400 * (1 + 4)
    assert REBOUND.amount(load(audit=once)) == trained + measured_on
    twice = AuditOptions(
        target="banana", rebound=ReboundOptions(steps=(10, 50), rates=(1, 3), max_images=2000)
    )
    assert REBOUND.amount(load(audit=twice)) == 2 * (trained + 3 * 1_000 * (1 + 4))
    assert REBOUND.amount(load()) is None


def test_training_sees_whole_batches_only() -> None:
    assert FINETUNE.amount(load()) == 3 * 100 * 100, "100 batches of 100 an epoch; 50 pairs are left over"


def test_what_is_not_known_has_no_amount() -> None:
    unknown = load(labelled=None, training=None)
    assert [phase.amount(unknown) for phase in (STAGE, BASELINE, FINETUNE, FINAL)] == [None] * 4
    assert PUBLISH.amount(unknown) == 1


def test_a_span_is_from_the_fastest_to_the_slowest_earlier_job_for_as_much_work() -> None:
    earlier = [measured(10, 1_000), measured(30, 2_000), measured(5, 1_000, unit="bytes")]
    assert span_of(4_000, "images", None, earlier) == Span(low_s=40, high_s=60, num_jobs=2)


def test_both_audits_of_one_job_are_one_earlier_job() -> None:
    both = [measured(10, 1_000, job_id="job_a"), measured(12, 1_000, job_id="job_a")]
    assert span_of(500, "images", None, both) == Span(low_s=5, high_s=6, num_jobs=1)


def test_training_by_another_method_tells_nothing() -> None:
    par = measured(10, 1_000, unit="samples", method=PARRecipe().method)
    assert span_of(1_000, "samples", "cleanclip", [par]) is None
    assert span_of(2_000, "samples", "par", [par]) == Span(low_s=20, high_s=20, num_jobs=1)


def test_an_audit_in_another_precision_tells_nothing() -> None:
    earlier = [measured(10, 1_000), measured(3, 1_000, precision="bf16")]
    assert span_of(2_000, "images", None, earlier) == Span(low_s=20, high_s=20, num_jobs=1)
    in_bf16 = span_of(2_000, "images", None, earlier, precision="bf16")
    assert in_bf16 == Span(low_s=6, high_s=6, num_jobs=1)


def test_a_scan_is_told_by_scans_of_similar_size_and_its_fixed_cost_is_not_multiplied() -> None:
    """A scan takes 10 s and 0.1 ms for each pass."""

    def scans(*amounts: int) -> list[Measured]:
        return [measured(10 + amount / 10_000, amount, unit="passes") for amount in amounts]

    whole, took_s = 44_000, 14.4
    assert span_of(whole, "passes", None, scans(300, 700, 1_100)) is None
    for amount in (11_000, 30_000, 60_000, 176_000):
        span = span_of(whole, "passes", None, scans(300, amount))
        assert span is not None
        assert span.num_jobs == 1
        assert span.low_s <= took_s <= span.high_s
    span = span_of(whole, "passes", None, scans(whole))
    assert span is not None
    assert (span.low_s, span.high_s) == (pytest.approx(took_s), pytest.approx(took_s))


@pytest.mark.parametrize("amount", [None, 1_000])
def test_nothing_is_said_where_nothing_was_measured(amount: int | None) -> None:
    assert span_of(amount, "images", None, []) is None
    assert span_of(None, "images", None, [measured(10, 1_000)]) is None


def test_the_sum_is_of_all_phases_that_are_known() -> None:
    one, two = Span(low_s=1, high_s=2, num_jobs=3), Span(low_s=10, high_s=20, num_jobs=1)
    assert sum_of([one, two]) == Span(low_s=11, high_s=22, num_jobs=1)
    assert sum_of([one, None]) == one
    assert sum_of([None, None]) is None


@pytest.mark.parametrize(
    ("inspection", "expected"),
    [
        ({"num_parameters": 102_000_000, "architecture_name": "RN50"}, ("ModifiedResNet", "full")),
        (
            {
                "num_parameters": 4_000_000,
                "architecture": {"model_cfg": {"vision_cfg": {"layers": [1, 1, 1, 1]}}},
            },
            ("ModifiedResNet", "small"),
        ),
        (
            {
                "num_parameters": 20_000_000,
                "architecture": {"model_cfg": {"vision_cfg": {"layers": 12}}},
                "architecture_name": "ViT-B/32",
            },
            ("VisionTransformer", None),
        ),
        ({}, None),
    ],
)
def test_family_and_size_are_read_off_an_inspection(inspection: dict[str, Any], expected: object) -> None:
    assert model_of(inspection) == expected


def test_the_plan_says_what_uar_computes_beside_its_updates() -> None:
    said = FINETUNE.sentence(load(training=640, recipe=UARRecipe()))
    assert "Fine-tunes by uar on 640 pairs: 5 epochs of 10 updates" in said
    assert said.endswith("Beside that it inverts 12 patterns, 160 steps in all.")
    none = load(recipe=UARRecipe(inversion_steps=0, reinversion_steps=0))
    assert "inverts" not in FINETUNE.sentence(none)


def test_of_a_small_set_a_third_is_inverted_on_and_unknown_sizes_are_not_guessed() -> None:
    options = ScanOptions(detectors=("residual",))
    each = 2 * NUM_EDITS
    assert num_passes(options, 10_000) == math.ceil((2 * 256 + 2 * 384 + each * 192) / 3)
    assert num_passes(options, 300) == math.ceil((2 * 300 + each * 192) / 3)
    assert num_passes(options, 150) == math.ceil((2 * 150 + each * 86) / 3), "64 are the fewest"
    assert num_passes(options, None) is None


ROOT = Path(__file__).resolve().parents[4]
MEASURED = json.loads((ROOT / "docs/performance.json").read_text(encoding="utf-8"))


def cost_of_model(name: str) -> ModelCost:
    cost = cost_of(MODELS[name])
    assert cost is not None
    return cost


@pytest.mark.parametrize("name", ["RN50", "ViT-B/32"])
def test_the_shipped_table_holds_what_was_measured_on_two_cores(name: str) -> None:
    [training] = [one for one in MEASURED["training"]["rows"] if one["model"] == name]
    [audit] = [one for one in MEASURED["audit"]["rows"] if one["model"] == name]
    cost, pairs, images = cost_of_model(name), training["pairs"], 9 * audit["images"]
    audited = images * cost.image.flop + audit["prompts"] * CAPTION_SHARE * cost.text.flop
    for amount, flop, measured_s in (
        (pairs, pairs * training_flop(cost, CleanCLIPRecipe()), training["ours_s"]["median"]),
        (images, audited, audit["ours_s"]["median"]),
    ):
        span = shipped_span(amount, flop)
        assert span is not None
        assert span.low_s <= measured_s <= span.high_s
        assert span.num_jobs == 0, "no job tells"


def test_a_trained_sample_costs_what_torch_counted() -> None:
    for row in MEASURED["where"]["rows"]:
        planned = training_flop(cost_of_model(row["model"]), CleanCLIPRecipe())
        assert row["gflop_a_pair"] == pytest.approx(planned / 1e9, rel=0.03)


def test_nothing_is_said_of_work_that_is_not_known() -> None:
    assert shipped_span(None, 1e9) is None
    assert shipped_span(100, None) is None
    cost = cost_of_model("RN50")
    assert FINETUNE.flop(load(training=None), cost) is None


def test_the_operations_of_a_job_are_those_of_its_passes() -> None:
    """4 classes with 80 templates; a cleaning's last audit searches, to the pixels alone."""
    cost = cost_of_model("ViT-B/32")
    job, texts = replace(load(), num_classes=4), 4 * 80 * CAPTION_SHARE * cost.text.flop
    assert BASELINE.flop(job, cost) == pytest.approx(5_000 * cost.image.flop + texts)
    climbing = 4 * 12 * 8 * 32 + 24 * 8 * 64
    final = 6_000 + SEARCHING - climbing
    assert FINAL.flop(job, cost) == pytest.approx(final * cost.image.flop + texts)
    pair = 6 * (cost.image.flop + CAPTION_SHARE * cost.text.flop)
    assert FINETUNE.flop(job, cost) == pytest.approx(3 * 100 * 100 * pair)
    uar = load(training=640, recipe=UARRecipe(trained_on="images_of_pairs"))
    inverted = 160 * 12 * 8 * 2 * cost.image.flop
    assert FINETUNE.flop(uar, cost) == pytest.approx(5 * 640 * 4 * cost.image.flop + inverted)


def test_a_text_scan_embeds_texts_and_the_images_of_its_class_means() -> None:
    cost = cost_of_model("ViT-B/32")
    options = TextScanOptions(trigger_words=("one", "two three"), num_texts=20, num_fine=50)
    [scanning], job = TEXT_SCAN.computes, load(text_scan=options)
    texts = 49_406 * 4 + (1 + 2 + 50 + 24) * 20
    assert scanning.amount(job) == texts
    assert scanning.num_images(job) == 1_000
    assert scanning.num_images(load(text_scan=options, labelled=None)) == 2_000
    captions = texts * CAPTION_SHARE * cost.text.flop
    assert scanning.flop(job, cost) == pytest.approx(1_000 * cost.image.flop + captions)
    alone = load(text_scan=replace(options, search=False))
    assert scanning.amount(alone) == 3 * 20
    assert "every token" not in scanning.sentence(alone)
    assert "2 triggers in 20 texts" in scanning.sentence(alone)
