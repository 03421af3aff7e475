"""Audit a checkpoint, clean it, audit it again; where nobody named a trigger, scan it before."""

from collections.abc import Iterator, Mapping

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
from cleanclip.vocabulary.cautions import check_loss, check_words, has_sigmoid_loss, num_updates
from cleanclip.vocabulary.control import SEARCHES
from cleanclip.vocabulary.errors import SanitizerError
from cleanclip.vocabulary.jobspec import CONFIG_NAME, CURVE_NAME, REPORT_NAME, WEIGHTS_NAME, SanitizeSpec
from cleanclip.vocabulary.scan_cost import passes_of_searches
from cleanclip.vocabulary.uar_recipe import UARRecipe

TRAINING_PASSES = 12
"""Of each sample of an update: forward and backward, twice, with its text, and a teacher."""


TRAINED = Input(
    column="dataset_id",
    pointer="/dataset_id",
    roles={"pairs": "pairs", "labelled": "training"},
    trains=True,
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


SANITIZE = Kind(
    name="sanitize",
    title="Cleaning",
    computes=("scan", "baseline_audit", "finetune", "final_audit", "rebound"),
    only_if={
        "scan": lambda order: order.get("scan") is not None,
        "rebound": lambda order: (order.get("audit") or {}).get("rebound") is not None,
    },
    is_resumable=True,
    inputs=(
        SUSPECT,
        TRAINED,
        LABELLED,
        RETRIEVAL,
    ),
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
