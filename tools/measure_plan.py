"""Writes the plan beside what torch counts on fake tensors, for published models, into docs/full-size.md.

python -m tools.measure_plan
"""

from dataclasses import replace
from pathlib import Path

from cleanclip.vocabulary.device_memory import GB, RUNTIME_BYTES, memory_of
from cleanclip.vocabulary.model_cost import cost_of
from cleanclip.vocabulary.recipe import AuditOptions, CleanCLIPRecipe, PARRecipe, Recipe, SupervisedRecipe
from cleanclip.vocabulary.uar_recipe import UARRecipe
from tests.fixtures import fake_memory
from tests.fixtures.model_configs import MODELS

PAGE = Path(__file__).parents[1] / "docs" / "full-size.md"
BEGIN, END = "<!-- begin: tools.measure_plan -->\n", "<!-- end: tools.measure_plan -->\n"
HEAD = (
    "| model | method | parameters, GB | gradients and optimizer | activations | plan | counted | off |\n"
    "|---|---|---:|---:|---:|---:|---:|---:|\n"
)
RECIPES: tuple[Recipe, ...] = (
    CleanCLIPRecipe(),
    PARRecipe(),
    SupervisedRecipe(),
    UARRecipe(inverted_patches=0, inverted_blends=0, inversion_steps=0, reinversion_steps=0),
)


def row(name: str, recipe: Recipe) -> str:
    """One model and method: an update of 64 in bf16, as on a processor."""
    recipe = replace(recipe, batch_size=64, precision="bf16")
    cost = cost_of(MODELS[name])
    assert cost is not None
    plan = memory_of(cost, recipe=recipe, audit=AuditOptions(target="x"), is_cuda=False)[1]
    measured = fake_memory.training_step(MODELS[name], recipe, is_half=True)
    parts = (plan.parameters_bytes, plan.training_bytes, plan.activations_bytes)
    total = plan.total_bytes - RUNTIME_BYTES
    figures = [f"{part / GB:.2f}" for part in (*parts, total, measured.total)]
    figures.append(f"{100 * (total / measured.total - 1):+.1f} %")
    return f"| {name} | {recipe.method} | {' | '.join(figures)} |\n"


def main() -> None:
    """Between the two marks of the page."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    rows = "".join(row(name, recipe) for name in MODELS for recipe in RECIPES)
    PAGE.write_text(before + BEGIN + HEAD + rows + END + rest.partition(END)[2], encoding="utf-8")


if __name__ == "__main__":
    main()
