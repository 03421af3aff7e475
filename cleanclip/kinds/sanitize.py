"""Audit a checkpoint, clean it, audit it again; where nobody named a trigger, scan it before."""

from collections.abc import Iterator

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
)
from cleanclip.vocabulary.cautions import check_loss, check_words, has_sigmoid_loss
from cleanclip.vocabulary.errors import SanitizerError
from cleanclip.vocabulary.jobspec import CONFIG_NAME, CURVE_NAME, REPORT_NAME, WEIGHTS_NAME, SanitizeSpec


def check(facts: Facts) -> Iterator[SanitizerError]:
    """Whether the recipe can train a model of this loss and tokenizer."""
    if (model := facts.models.get(SUSPECT.column)) is not None:
        yield from check_loss(facts.options, is_sigmoid=has_sigmoid_loss(model.config))
        has_other = model.option("text_cfg", "hf_tokenizer_name") is not None
        yield from check_words(facts.options, has_other_tokenizer=has_other)


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
        Input(
            column="dataset_id",
            pointer="/dataset_id",
            roles={"pairs": "pairs", "labelled": "training"},
            trains=True,
            title="Cleaned with",
        ),
        labelled("audit"),
        RETRIEVAL,
    ),
    part="recipe",
    shows=VERDICT_FOLLOWS,
    judges=True,
    engine="sanitizer.work.cleaning",
    spec=SanitizeSpec,
    check=check,
    leaves={
        WEIGHTS_NAME: None,
        CONFIG_NAME: MAX_CONFIG_BYTES,
        REPORT_NAME: MAX_REPORT_BYTES,
        CURVE_NAME: MAX_REPORT_BYTES,
    },
    room_factor=2,
    weights_factor=4,  # float32, of what came in as float16, and once more in the uploaded layout
)
