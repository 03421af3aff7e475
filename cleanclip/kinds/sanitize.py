"""Audit a checkpoint, clean it, audit it again; where nobody named a trigger, scan it before."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from cleanclip.kinds.audit import Auditing
from cleanclip.kinds.audit import passes as audit_passes
from cleanclip.kinds.facts import Facts
from cleanclip.kinds.kind import (
    MAX_CONFIG_BYTES,
    MAX_REPORT_BYTES,
    RETRIEVAL,
    SUSPECT,
    VERDICT_FOLLOWS,
    Input,
    Kind,
    labelled,
    trained_on_the_test,
)
from cleanclip.kinds.phase import Load, Phase, counted
from cleanclip.kinds.scan import SCANNING
from cleanclip.vocabulary.attack_options import of_same_pixels
from cleanclip.vocabulary.cautions import check_loss, check_words, has_sigmoid_loss, num_updates
from cleanclip.vocabulary.control import SEARCHES
from cleanclip.vocabulary.device_plan import inversion_flop, training_flop
from cleanclip.vocabulary.errors import SanitizerError
from cleanclip.vocabulary.jobspec import CONFIG_NAME, CURVE_NAME, REPORT_NAME, WEIGHTS_NAME, SanitizeSpec
from cleanclip.vocabulary.model_cost import ModelCost
from cleanclip.vocabulary.recipe import AuditOptions, AuditPrecision, Recipe
from cleanclip.vocabulary.scan_cost import num_ascents, passes_of_searches
from cleanclip.vocabulary.scan_options import MIN_SEARCHED
from cleanclip.vocabulary.uar_recipe import UARRecipe

TRAINING_PASSES = 12
"""Of each sample of an update: forward and backward, twice, with its text, and a teacher."""
REBOUND_PASSES = 4
"""That an update costs for each of its samples: forward and backward, and the caption."""

TRAINED = Input(
    column="dataset_id",
    pointer="/dataset_id",
    roles={"pairs": "pairs", "labelled": "training"},
    trains=True,
    counts_bad=True,
    title="Cleaned with",
)
LABELLED = labelled("audit")


def check(facts: Facts) -> Iterator[SanitizerError]:
    """Whether the recipe can train a model of this loss and tokenizer, on other data than are measured on."""
    trained_on = facts.named.get(TRAINED.column)
    for one in (LABELLED, RETRIEVAL):
        if trained_on is not None and facts.named.get(one.column) == trained_on:
            yield trained_on_the_test((one if one.fact else TRAINED).column)
    if (model := facts.models.get(SUSPECT.column)) is not None:
        yield from check_loss(facts.options, is_sigmoid=has_sigmoid_loss(model.config))
        has_other = model.option("text_cfg", "hf_tokenizer_name") is not None
        yield from check_words(facts.options, has_other_tokenizer=has_other)


def most_passes(spec: SanitizeSpec, sizes: Mapping[str, int]) -> int:
    """Of two audits with their searches, and of the training."""
    num_labelled = sizes.get("labelled", 0)
    searching = 3 * passes_of_searches(SEARCHES, num_labelled)
    cleaning = _cleaning_passes(spec, num_labelled, sizes.get("pairs") or sizes.get("training", 0))
    return 2 * audit_passes(spec.audit, sizes) + searching + cleaning


def _cleaning_passes(spec: SanitizeSpec, num_labelled: int, num_training: int) -> int:
    recipe, audit = spec.recipe, spec.audit
    trained, measured = num_updates(recipe, num_training) * recipe.batch_size, 0
    if isinstance(recipe, UARRecipe):
        num_steps = sum(stage.inversion_steps for stage in recipe.stages())
        trained += num_steps * recipe.num_inverted * recipe.batch_size
    if audit.rebound is not None:
        num_attacks = len(audit.attacks)
        trained += audit.rebound.num_updates(num_attacks) * recipe.batch_size
        sample = min(num_labelled, audit.rebound.max_images)
        measured = 2 * audit.rebound.num_points(num_attacks) * sample * (1 + num_attacks)
    return trained * TRAINING_PASSES + measured


class Training(Phase):
    """Trains by the order's recipe."""

    def precision_on_gpu(self, load: Load) -> AuditPrecision:
        return "fp32" if load.parts["recipe"].precision == "fp32" else "bf16"


class FineTuning(Training):
    """The model itself is trained."""

    def sentence(self, load: Load) -> str:
        recipe: Recipe = load.parts["recipe"]
        if (num_samples := load.num_training) is None:
            return "Fine-tunes; on how much data is not known."
        what = "pairs" if recipe.training_data == "pairs" else "labelled images"
        return (
            f"Fine-tunes by {recipe.method} on {num_samples:,} {what}: {counted(recipe.epochs, 'epoch')} of "
            f"{counted(num_samples // recipe.batch_size, 'update')} with {recipe.batch_size:,} each, "
            f"{counted(num_updates(recipe, num_samples), 'update')} in all.{_inversions(recipe)}"
        )

    def amount(self, load: Load) -> int | None:
        recipe: Recipe = load.parts["recipe"]
        return load.num_training and num_updates(recipe, load.num_training) * recipe.batch_size

    def flop(self, load: Load, cost: ModelCost) -> float | None:
        amount, recipe = self.amount(load), load.parts["recipe"]
        return None if amount is None else amount * training_flop(cost, recipe) + inversion_flop(cost, recipe)


def _inversions(recipe: Recipe) -> str:
    """What UAR computes beside its updates."""
    if not isinstance(recipe, UARRecipe):
        return ""
    num_steps = sum(stage.inversion_steps for stage in recipe.stages())
    if num_steps == 0 or recipe.num_inverted == 0:
        return ""
    patterns = counted(recipe.num_inverted, "pattern")
    return f" Beside that it inverts {patterns}, {counted(num_steps, 'step')} in all."


class FinalAudit(Auditing):
    """As before; and the weights are searched, and compared with those that came in."""

    def sentence(self, load: Load) -> str:
        return (
            "Searches the cleaned weights for patterns that control them, measures them with the same "
            f"triggers on the same images, and how far they moved: {self.measured_on(load)}"
        )

    def passes(self, load: Load) -> int:
        """Once more through the model that came in."""
        return super().passes(load) + 1

    def amount(self, load: Load) -> int | None:
        audited, num_labelled = super().amount(load), load.num_labelled or 0
        if audited is None or num_labelled < MIN_SEARCHED:
            return audited
        return audited + 3 * passes_of_searches(SEARCHES, num_labelled)

    def flop(self, load: Load, cost: ModelCost) -> float | None:
        """What is searched passes backward to the pixels alone."""
        audited, is_searched = super().flop(load, cost), (load.num_labelled or 0) >= MIN_SEARCHED
        return audited and audited - is_searched * cost.image.flop * num_ascents(SEARCHES)


class Rebound(Training):
    """Copies of the cleaned model are trained further, and measured."""

    def sentence(self, load: Load) -> str:
        rebound = load.parts["audit"].rebound
        copies = (
            f"Trains {counted(rebound.num_curves, 'copy', 'copies')} of the cleaned model further, "
            f"{counted(rebound.steps[-1], 'update')} each, and measures "
            f"{counted(len(rebound.steps), 'time')} on up to {counted(rebound.max_images, 'image')}."
        )
        if rebound.poisons:
            copies += (
                " Then two more for each attack that worked, with "
                f"{counted(rebound.poisons, 'poisoned sample')} among {rebound.relearning_samples:,}."
            )
        if rebound.interpolation_halvings:
            copies += " Measures the weights between the cleaned model and the input model, without training."
        return copies

    def amount(self, load: Load) -> int | None:
        """At most, as if every attack had worked."""
        audit: AuditOptions = load.parts["audit"]
        rebound, num_attacks = audit.rebound, len(audit.attacks)
        if rebound is None or load.num_labelled is None:
            return None
        batch_size: int = load.parts["recipe"].batch_size
        trained = rebound.num_updates(num_attacks) * batch_size * REBOUND_PASSES
        sample = min(load.num_labelled, rebound.max_images)
        measured = rebound.num_points(num_attacks) * sample * (1 + len(of_same_pixels(audit.attacks)))
        if rebound.poisons:
            measured += 2 * num_attacks * (1 + len(rebound.steps)) * sample * 2
        return trained + measured


SANITIZE = Kind(
    name="sanitize",
    title="Cleaning",
    computes=(
        replace(SCANNING, only_if=lambda order: order.get("scan") is not None),
        Auditing(name="baseline_audit", title="Audit before cleaning", weight=12),
        FineTuning(name="finetune", title="Clean by fine-tuning", weight=70, unit="samples", is_spread=True),
        FinalAudit(name="final_audit", title="Audit after cleaning", weight=12),
        Rebound(
            name="rebound",
            title="Train copies further",
            weight=20,
            only_if=lambda order: (order.get("audit") or {}).get("rebound") is not None,
        ),
    ),
    is_resumable=True,
    inputs=(
        SUSPECT,
        TRAINED,
        LABELLED,
        RETRIEVAL,
    ),
    options=Recipe,
    part="recipe",
    shows=VERDICT_FOLLOWS,
    judges=True,
    engine="sanitizer.work.cleaning",
    spec=SanitizeSpec,
    check=check,
    most_passes=most_passes,
    leaves={
        WEIGHTS_NAME: None,
        CONFIG_NAME: MAX_CONFIG_BYTES,
        REPORT_NAME: MAX_REPORT_BYTES,
        CURVE_NAME: MAX_REPORT_BYTES,
    },
    room_factor=2,
    weights_factor=4,  # float32, of what came in as float16, and once more in the uploaded layout
)
