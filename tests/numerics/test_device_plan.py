"""The plan before a GPU is rented, against what torch counts of the library's own steps on fake tensors.

`MemTracker` follows each tensor of a whole update, search or pass of full-size models; `FlopCounterMode`
counts operations with attention as matrix products, because it has no formula for the fast path. Both see a
processor's arithmetic; what autocast does otherwise on CUDA is put in by hand. What a GPU's allocator and
libraries add is not measured here.
"""

from dataclasses import replace
from unittest import mock

import pytest
import torch
from open_clip import transformer

from cleanclip.vocabulary.control import SEARCHES
from cleanclip.vocabulary.device_memory import RUNTIME_BYTES, Memory, check_memory, memory_of, sharing
from cleanclip.vocabulary.device_plan import training_flop
from cleanclip.vocabulary.model_cost import ModelCost, cost_of
from cleanclip.vocabulary.recipe import AuditOptions, CleanCLIPRecipe, PARRecipe, Recipe, SupervisedRecipe
from cleanclip.vocabulary.uar_recipe import UARRecipe
from tests.fixtures import fake_memory
from tests.fixtures.fake_memory import Measured
from tests.fixtures.model_configs import MODELS
from tests.suites import mostly_full

TOLERANCE = 0.05
"""Of memory, in the sum; docs/full-size.md has each model's."""
RECIPES: tuple[Recipe, ...] = (
    CleanCLIPRecipe(),
    PARRecipe(batch_size=64),
    SupervisedRecipe(batch_size=64),
    UARRecipe(inversion_steps=0, reinversion_steps=0, inverted_patches=0, inverted_blends=0),
)
SIZES = (
    {"batch_size": 64, "precision": "fp32"},
    {"batch_size": 64, "chunk_size": 32, "precision": "bf16"},
    {"batch_size": 8, "precision": "bf16"},
)


def cost_of_model(name: str) -> ModelCost:
    cost = cost_of(MODELS[name])
    assert cost is not None
    return cost


def planned(name: str, phase: str, recipe: Recipe, *, is_half: bool, is_cuda: bool = False) -> Memory:
    audit = AuditOptions(target="x", precision="bf16" if is_half else "fp32", batch_size=64)
    memory = memory_of(cost_of_model(name), recipe=recipe, audit=audit, is_cuda=is_cuda)
    [found] = [one for one in memory if one.phase == phase]
    return found


def off(plan: Memory, measured: Measured) -> float:
    return (plan.total_bytes - RUNTIME_BYTES) / measured.total - 1


GRID = {
    f"{name}, {recipe.method}, {sizes}": (name, replace(recipe, **sizes))
    for name in MODELS
    for recipe in RECIPES
    for sizes in SIZES
}
DAILY = [[*GRID][number] for number in (0, 16, 31, 47)]
"""Each model and each method once, all sizes."""


@pytest.mark.parametrize("case", mostly_full(GRID, daily=DAILY))
def test_an_update_takes_the_memory_that_was_planned(case: str) -> None:
    name, recipe = GRID[case]
    is_half = recipe.precision == "bf16"
    measured = fake_memory.training_step(MODELS[name], recipe, is_half=is_half)
    plan = planned(name, "finetune", recipe, is_half=is_half)
    assert abs(off(plan, measured)) < TOLERANCE, (plan, measured)
    assert plan.parameters_bytes == pytest.approx(measured.parameters, rel=0.01)


@pytest.mark.parametrize(
    ("name", "is_half"),
    [
        ("RN50", False),
        ("ViT-B/32", True),
        pytest.param("ViT-B/16", True, marks=pytest.mark.full),
        pytest.param("ViT-L/14", False, marks=pytest.mark.full),
    ],
)
def test_a_search_and_an_audit_take_the_memory_that_was_planned(name: str, is_half: bool) -> None:
    """The last audit of a cleaning holds the input model too, and 640 images."""
    plan = planned(name, "final_audit", CleanCLIPRecipe(), is_half=is_half)
    measured = fake_memory.search(MODELS[name], SEARCHES[0], at_once=plan.at_once, is_half=is_half)
    beside = 4 * cost_of_model(name).parameters + 640 * 3 * 224**2
    assert abs((plan.total_bytes - RUNTIME_BYTES - beside) / measured.total - 1) < TOLERANCE
    plan = planned(name, "baseline_audit", CleanCLIPRecipe(), is_half=is_half)
    measured = fake_memory.audit(MODELS[name], at_once=plan.at_once, is_half=is_half)
    texts = 256 * cost_of_model(name).text.passing_bytes(is_half=is_half)
    assert plan.activations_bytes == pytest.approx(max(measured.activations, texts), rel=0.1)


@pytest.mark.parametrize("name", mostly_full(["RN50", "ViT-B/32"], daily=["RN50"]))
def test_an_inversion_of_uar_takes_the_memory_that_was_planned(name: str) -> None:
    options = replace(SEARCHES[1], families=SEARCHES[1].families[:1])
    measured = fake_memory.search(MODELS[name], options, at_once=256, is_half=False, trains=True)
    recipe = UARRecipe(batch_size=192, chunk_size=96, precision="fp32")
    plan, images = planned(name, "finetune", recipe, is_half=False), (2 * 192 + 512) * 3 * 224**2
    assert plan.activations_bytes - images == pytest.approx(measured.activations, rel=TOLERANCE)


@pytest.mark.parametrize("name", ["ViT-B/32"])
def test_on_cuda_the_inputs_of_norms_are_kept_in_float32(name: str) -> None:
    recipe = CleanCLIPRecipe(precision="bf16")
    with mock.patch.object(transformer.LayerNorm, "forward", transformer.LayerNormFp32.forward):
        measured = fake_memory.training_step(MODELS[name], recipe, is_half=True)
    assert abs(off(planned(name, "finetune", recipe, is_half=True, is_cuda=True), measured)) < TOLERANCE


@pytest.mark.parametrize("case", mostly_full([*GRID][2::14], daily=[[*GRID][2], [*GRID][44]]))
def test_operations_are_those_that_torch_counts(case: str) -> None:
    name, recipe = GRID[case]
    measured = fake_memory.training_step(MODELS[name], recipe, is_half=False, flop=True)
    each = training_flop(cost_of_model(name), recipe, caption_share=1.0)
    assert each * recipe.batch_size == pytest.approx(measured.flop, rel=0.03)


@pytest.mark.parametrize("name", mostly_full(["RN50", "ViT-B/32"], daily=["RN50"]))
def test_a_search_computes_twice_a_pass_and_an_audit_once(name: str) -> None:
    each = cost_of_model(name).image.flop
    measured = fake_memory.search(MODELS[name], SEARCHES[0], at_once=256, is_half=False, flop=True)
    assert measured.flop == pytest.approx(2 * 192 * each, rel=0.05)
    assert fake_memory.audit(MODELS[name], at_once=8, is_half=False, flop=True).flop == pytest.approx(
        8 * each
    )


@pytest.mark.parametrize("name", MODELS)
def test_parameters_are_counted_one_by_one(name: str) -> None:
    with torch.device("meta"):
        model = fake_memory.clip(MODELS[name])
    cost = cost_of_model(name)
    assert cost.parameters == sum(one.numel() for one in model.parameters())
    assert cost.image.parameters == sum(one.numel() for one in model.visual.parameters())


@pytest.mark.parametrize("name", MODELS)
def test_the_largest_number_fits_and_one_more_does_not(name: str) -> None:
    def total(at_once: int) -> int:
        recipe = CleanCLIPRecipe(batch_size=30_000, chunk_size=at_once)
        return planned(name, "finetune", recipe, is_half=True, is_cuda=True).total_bytes

    plan = planned(name, "finetune", CleanCLIPRecipe(batch_size=30_000), is_half=True, is_cuda=True)
    for size, most in plan.largest.items():
        if most:
            assert total(most) <= int(size) * 10**9 < total(most + 1)


def test_what_cannot_fit_is_refused_with_what_would() -> None:
    audit, cost = AuditOptions(target="x"), cost_of_model("ViT-L/14")
    limit = 24 * 10**9
    refused = memory_of(cost, recipe=CleanCLIPRecipe(), audit=audit, worker_bytes=limit)
    errors = {error.where: error for error in check_memory(refused, limit)}
    assert set(errors) == {"recipe.chunk_size", "audit.batch_size"}
    assert {error.code for error in errors.values()} == {"does_not_fit"}
    most = {one.option: one.largest_here for one in refused}
    assert f"that fits is {most['recipe.chunk_size']}." in errors["recipe.chunk_size"].remedy
    smaller = memory_of(
        cost,
        recipe=CleanCLIPRecipe(chunk_size=most["recipe.chunk_size"]),
        audit=AuditOptions(target="x", batch_size=most["audit.batch_size"] or 1),
        worker_bytes=limit,
    )
    assert not list(check_memory(smaller, limit))
    assert not list(check_memory(refused, None)), "nothing is known of the workers"
    [error, *_] = check_memory(memory_of(cost, audit=audit, worker_bytes=10**9), 10**9)
    assert (error.code, "batch_size" in error.remedy) == ("does_not_fit", False), "none fits"


def test_devices_share_whole_parts_of_a_batch() -> None:
    assert [sharing(CleanCLIPRecipe(batch_size=size), 8) for size in (64, 100, 7)] == [8, 5, 7]
    assert sharing(CleanCLIPRecipe(freeze_batch_norm_statistics=False), 8) == 1
    one, eight = (
        memory_of(
            cost_of_model("ViT-B/32"),
            recipe=CleanCLIPRecipe(),
            audit=AuditOptions(target="x"),
            most_devices=number,
        )[1]
        for number in (1, 8)
    )
    assert (one.at_once, eight.at_once) == (64, 8)
    assert eight.activations_bytes < one.activations_bytes / 4


def test_a_model_that_its_configuration_does_not_describe_has_no_cost() -> None:
    assert cost_of({}) is None
    assert cost_of({"model_cfg": {"embed_dim": 512, "vision_cfg": {"timm_model_name": "x"}}}) is None
