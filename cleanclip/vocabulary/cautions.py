"""What is known of an order before anything is computed: sentences where it may disappoint, refusals where it
cannot be carried out. Numbers and names only, and free of torch, so that a service can say it before a job is
ordered.

A threshold here is where somebody should look, not where something breaks; each says why it is there.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cleanclip.vocabulary.attack_options import kind_of, names_of, of_same_pixels
from cleanclip.vocabulary.clip_text import as_clip_reads
from cleanclip.vocabulary.errors import OptionsRejected
from cleanclip.vocabulary.policy import REBOUND_LIMIT, Policy, cannot_pass, too_few
from cleanclip.vocabulary.rebound_options import MOST_SHARES, MOST_UPDATES
from cleanclip.vocabulary.recipe import AuditOptions, CleanCLIPRecipe, PARRecipe, Recipe, to_json
from cleanclip.vocabulary.recommended import (
    NOBODYS,
    Family,
    Recommendation,
    Size,
    methods_for,
    model_name,
    recommended,
)
from cleanclip.vocabulary.uar_recipe import UARRecipe

MIN_SAMPLES_PER_CLASS = 75
"""In the project's trials 50 clean pairs a class cost ten points of clean accuracy, 100 none."""
MIN_STEPS = 500
"""A few hundred large steps are retraining rather than fine-tuning; the paper takes 15,620 small ones."""
MOST_WARMUP = 0.2
"""Of a run: twice what the demo has (50 of 500 updates, which works) and far over the paper's 0.3 %."""
FAR_FEWER = 10
"""Sources differ by up to 2.5 in the number of pairs (100,000 to 250,000); none has a tenth of another's."""


def check_batch(recipe: Recipe, num_samples: int) -> None:
    """Raises OptionsRejected where the data do not fill one batch."""
    check_filled(recipe.batch_size, num_samples)


def check_filled(batch_size: int, num_samples: int) -> None:
    """Raises OptionsRejected where the data do not fill one batch of `batch_size`, all processes together."""
    if 2 <= num_samples < batch_size:
        raise OptionsRejected(
            "batch_larger_than_data",
            f"{num_samples} pairs do not fill one batch of {batch_size}.",
            f"Set batch_size to at most {num_samples}, or give more pairs.",
            where="recipe.batch_size",
        )
    if num_samples < batch_size:  # no batch is that small: two is the least that an order may ask for
        pairs = "1 pair does" if num_samples == 1 else "0 pairs do"
        raise OptionsRejected(
            "batch_larger_than_data",
            f"{pairs} not fill one batch of {batch_size}.",
            "Give more pairs.",
            where="recipe.batch_size",
        )


def check_split(recipe: Recipe, *, has_batch_norm: bool, num_processes: int = 1) -> None:
    """Raises OptionsRejected where BatchNorm would see parts of a batch and would learn from them."""
    is_split = num_processes > 1 or (recipe.chunk_size or recipe.batch_size) < recipe.batch_size
    if is_split and not recipe.freeze_batch_norm_statistics and has_batch_norm:
        raise OptionsRejected(
            "batch_norm_needs_whole_batch",
            "BatchNorm statistics that are not frozen depend on the whole batch, but the batch "
            "is split here.",
            "Freeze them, or leave chunk_size out and train in one process.",
            where="recipe.freeze_batch_norm_statistics",
        )


def has_sigmoid_loss(architecture: Mapping[str, Any]) -> bool:
    """Whether a model was trained with SigLIP's loss: it has that loss's bias. By its config.json."""
    return (architecture.get("model_cfg") or {}).get("init_logit_bias") is not None


def check_loss(recipe: Recipe, *, is_sigmoid: bool) -> Iterator[OptionsRejected]:
    """Whether a model of the sigmoid loss would be trained with CLIP's."""
    if is_sigmoid and not (isinstance(recipe, UARRecipe) and recipe.trained_on != "pairs"):
        yield OptionsRejected(
            "sigmoid_model",
            "The model was trained with SigLIP's sigmoid loss. This recipe trains with CLIP's, which does "
            "not hold the level of its logits: its probabilities could be lost, and no audit would see it.",
            "Order uar with trained_on: images_of_pairs (or labelled_images), which has neither loss.",
            where="recipe.trained_on" if isinstance(recipe, UARRecipe) else "recipe.method",
        )


def check_words(recipe: Recipe, *, has_other_tokenizer: bool) -> Iterator[OptionsRejected]:
    """Whether words would be inserted into the captions of a text tower without CLIP's tokenizer."""
    if has_other_tokenizer and isinstance(recipe, UARRecipe) and recipe.trigger_words:
        yield OptionsRejected(
            "trigger_words_tokenizer",
            "The text tower does not use CLIP's tokenizer, whose tokens trigger_words inserts.",
            "Leave trigger_words out.",
            where="recipe.trigger_words",
        )


def check_folds(counts: Sequence[int], class_names: Sequence[str], num_folds: int) -> None:
    """Raises OptionsRejected where a class has too few images (`counts`) for a probe in those folds."""
    few = [label for label, count in enumerate(counts) if count < num_folds]
    if not few:
        return
    fewest = min(few, key=lambda label: counts[label])
    more = len(few) - 1
    others = f" {more} more {'has' if more == 1 else 'have'} too few." if more else ""
    smaller = f", set folds to at most {counts[fewest]}" if counts[fewest] >= 2 else ""
    raise OptionsRejected(
        "too_few_for_probe",
        f"Class '{class_names[fewest]}' has {counts[fewest]} usable images, too few for a linear probe in "
        f"{num_folds} folds, which needs {num_folds} of each class.{others}",
        f"Add images of it{smaller}, or leave the linear probe out.",
        where="audit.linear_probe.folds",
    )


def check_rebound(audit: AuditOptions, policy: Policy, recipe: Recipe | None) -> None:
    """Raises OptionsRejected where the rebound cannot be measured, costs too much, or is limited and not
    measured. `recipe` None: an audit, which cleans nothing."""
    rebound, without = audit.rebound, _without_clean_data(recipe)
    if rebound is None:
        if recipe is not None and policy.rebound_asr_at_most is not None:
            measure = "Set audit.rebound to {}" if without is None else "Order a rebound on pairs"
            raise OptionsRejected(
                "policy_limits_unmeasured",
                "The policy limits the ASR after benign fine-tuning, and the audit does not measure it.",
                f"{measure}, or take rebound_asr_at_most out of the policy.",
                where=REBOUND_LIMIT,
            )
        return
    if without is not None:
        message, remedy = without
        raise OptionsRejected("rebound_without_clean_data", message, remedy, where="audit.rebound")
    num_attacks = len(audit.attacks)
    num_updates, num_shares = rebound.num_updates(num_attacks), rebound.num_points(num_attacks) * num_attacks
    if num_updates > MOST_UPDATES or num_shares > MOST_SHARES:
        raise OptionsRejected(
            "rebound_too_long",
            f"The rebound asks for up to {num_updates:,} updates and {num_shares:,} measured attack success "
            f"rates; at most {MOST_UPDATES:,} and {MOST_SHARES:,} are allowed.",
            "Give fewer rates, seeds, steps or interpolation_halvings, or a smaller last step.",
            where="audit.rebound",
        )
    limit = policy.rebound_asr_at_most
    if limit is not None and (sentence := too_few(limit, rebound.max_images)) is not None:
        raise cannot_pass(f"Of audit.rebound.max_images: {sentence}", REBOUND_LIMIT)


def _without_clean_data(recipe: Recipe | None) -> tuple[str, str] | None:
    """Why the order has nothing for benign fine-tuning, and what to do; None where it has."""
    if recipe is None:
        return (
            "The rebound is measured by training a cleaned model further on the clean data of its order. An "
            "audit cleans nothing and has no such data.",
            "Leave audit.rebound out, or order a cleaning.",
        )
    if isinstance(recipe, UARRecipe) and recipe.trained_on != "pairs":
        return (
            "The rebound is measured by training a cleaned model further on the clean data of its order. "
            f"With trained_on: {recipe.trained_on} these are images alone: their captions or labels may be "
            "wrong, and training on them would not be benign.",
            "Order the rebound with trained_on: pairs, or leave audit.rebound out.",
        )
    return None


def num_updates(recipe: Recipe, num_samples: int) -> int:
    """What is left over of an epoch after its whole batches is not trained on in it."""
    return recipe.epochs * (num_samples // recipe.batch_size)


@dataclass(frozen=True, kw_only=True)
class TrainedClasses:
    """Those of labelled images to train on; `num_missing` classes of the audit are not among them."""

    num: int
    num_missing: int

    @classmethod
    def of(cls, trained: Sequence[str], classes: Sequence[str]) -> TrainedClasses:
        """`classes` are those of the audit; compared as CLIP reads them."""
        read = set(map(as_clip_reads, trained))
        return cls(num=len(trained), num_missing=sum(as_clip_reads(name) not in read for name in classes))


def before_training(
    recipe: Recipe,
    *,
    num_samples: int,
    num_classes: int,
    trained: TrainedClasses | None = None,
    family: Family,
    size: Size | None,
    given: Collection[str] | None,
) -> list[str]:
    """`num_classes` of the audit; `trained`: of labelled images to train on, where it is them. `given`: the
    options that the order gave; None where unknown: what is not a default was given."""
    if isinstance(recipe, UARRecipe):
        trained = None  # it takes the images of a labelled set, and no label
    num_steps = num_updates(recipe, num_samples)
    warnings = [
        *_too_few(recipe, num_samples, num_classes if trained is None else trained.num, num_steps),
        *([] if trained is None else _other_classes(num_classes, trained.num_missing)),
        *_warmup(recipe, num_steps),
        *_against_the_source(recipe, num_samples, family, size, given),
    ]
    if not recipe.freeze_batch_norm_statistics:
        warnings.append("BatchNorm statistics follow the images trained on, which can cost clean accuracy.")
    match recipe:
        case CleanCLIPRecipe():
            warnings += _cleanclip(recipe)
        case PARRecipe():
            warnings += _par(recipe)
        case UARRecipe():
            warnings += _uar(recipe, num_samples)
    return warnings


def before_audit(options: AuditOptions, policy: Policy, *, is_cleaned: bool) -> list[str]:
    """What an audit's options cost its figures, and which limits cannot matter where nothing is cleaned."""
    warnings = []
    if options.precision == "bf16":
        warnings.append("The audits run in bf16: in fp32 an image near a tie may be counted differently.")
    warnings += _measured_once(options)
    if not is_cleaned:
        kinds = dict.fromkeys(kind_of(attack) for attack in options.attacks)
        warnings += [
            f"The limit of {100 * limit:g} % on {kind} has no effect: it is not under the gate of "
            f"{100 * options.gate:g} %, above which an audit without a cleaning fails anyway."
            for kind in kinds
            if (limit := policy.limit_of(kind)[1]) >= options.gate
        ]
    return warnings


def _measured_once(options: AuditOptions) -> Iterator[str]:
    names = names_of(map(to_json, options.attacks))
    for together in of_same_pixels(options.attacks):
        by_target: dict[str, list[str]] = {}
        for number in together:
            by_target.setdefault(options.attacks[number].target or options.target, []).append(names[number])
        for one, *others in by_target.values():
            if others:
                yield (
                    f"{' and '.join((one, *others))} put the same trigger on an image, for the "
                    "same target: their figures are one measurement, reported under each name."
                )


def _what(recipe: Recipe) -> str:
    return "pairs" if recipe.training_data == "pairs" else "labelled images"


def _too_few(recipe: Recipe, num_samples: int, num_classes: int, num_steps: int) -> Iterator[str]:
    what = _what(recipe)
    if num_samples < num_classes:
        yield (
            f"{num_samples} clean {what} for {num_classes} classes: some classes have no "
            f"sample, and their accuracy may fall most. Give more {what}."
        )
    elif num_samples < MIN_SAMPLES_PER_CLASS * num_classes:
        yield (
            f"{num_samples} clean {what} for {num_classes} classes are fewer than {MIN_SAMPLES_PER_CLASS} "
            f"a class: expect clean accuracy to fall. Give more {what}."
        )
    if num_steps < MIN_STEPS:
        yield (
            f"The recipe makes {num_steps} updates, fewer than {MIN_STEPS}: too few for a low learning rate "
            f"to act. Give more {what} or more epochs."
        )


def _other_classes(num_classes: int, num_missing: int) -> Iterator[str]:
    if num_missing == num_classes:
        yield (
            "No class of the audit is one of the labelled images to train on: training would use other class "
            "names than the audit. Give both sets the same class names."
        )
    elif num_missing:
        yield (
            f"{num_missing} of the {num_classes} classes of the audit are not among the labelled images to "
            "train on: their accuracy may fall."
        )


def _warmup(recipe: Recipe, num_steps: int) -> Iterator[str]:
    if isinstance(recipe, PARRecipe | UARRecipe):  # no warm-up, or one in each stage
        return
    if recipe.warmup_steps >= num_steps:
        yield (
            f"The warm-up of {recipe.warmup_steps} steps does not end within the {num_steps} "
            "updates of the run, so the learning rate never reaches its full value."
        )
    elif recipe.warmup_steps > MOST_WARMUP * num_steps:
        yield (
            f"The warm-up takes {recipe.warmup_steps} of the {num_steps} updates, "
            f"{100 * recipe.warmup_steps / num_steps:.0f} % of the run: little is left at the full learning "
            "rate. Lower warmup_steps, or make the run longer."
        )


def _against_the_source(
    recipe: Recipe, num_samples: int, family: Family, size: Size | None, given: Collection[str] | None
) -> Iterator[str]:
    """What was published or measured for such a model, where the recipe left it to the defaults."""
    model = model_name(family, size)
    source = recommended(recipe.method, family, size)
    if source is None:
        if "learning_rate" not in (given or ()):
            named = " and ".join(methods_for(family, size))
            yield (
                f"There are no published or measured values for {recipe.method} on a {model}; "
                f"the defaults are {_defaults_of(recipe)}. "
                + (f"There are for {named}: take one of them." if named else "Try several learning rates.")
            )
        return
    others = [
        f"{name} {value:g} instead of {getattr(recipe, name):g}"
        for name, value in source.values.items()
        if name not in (given or ()) and getattr(recipe, name) != value and _is_default(recipe, name)
    ]
    if others:
        yield (
            f"Options that you left out have the method's defaults. For a {model} these values were "
            f"{source.kind}: {', '.join(others)} ({source.source})."
        )
    yield from _far_fewer(recipe, num_samples, source)


def _defaults_of(recipe: Recipe) -> str:
    has_source = recommended(recipe.method, "ModifiedResNet", "full") is not None
    return "those of a full-size ModifiedResNet" if has_source else NOBODYS


def _is_default(recipe: Recipe, name: str) -> bool:
    return bool(getattr(recipe, name) == getattr(type(recipe)(), name))


def _far_fewer(recipe: Recipe, num_samples: int, source: Recommendation) -> Iterator[str]:
    what = _what(recipe)
    num_seen = recipe.epochs * num_samples
    source_seen = int(source.values["epochs"]) * source.num_samples
    if num_samples * FAR_FEWER <= source.num_samples:
        yield (
            f"{num_samples:,} clean {what} are {source.num_samples / num_samples:.0f} times "
            f"fewer than the {source.num_samples:,} of the source of this recipe "
            f"({source.source}), so that source says little about this run."
        )
    elif num_seen * FAR_FEWER <= source_seen:
        yield (
            f"{recipe.epochs} epochs show the model {num_seen:,} {what}, {source_seen / num_seen:.0f} times "
            f"fewer than the {source_seen:,} of the source of this recipe ({source.source})."
        )


def _cleanclip(recipe: CleanCLIPRecipe) -> Iterator[str]:
    if recipe.lambda2 == 0:
        yield (
            "lambda2 is 0: without the self-supervised terms fine-tuning often leaves the backdoor in place."
        )
    if recipe.lambda1 == 0:
        yield "lambda1 is 0: without CLIP's own loss clean accuracy is usually lost."


def _par(recipe: PARRecipe) -> Iterator[str]:
    if recipe.threshold == 0:
        yield (
            "threshold is 0: nothing pushes the model away from the input model, so this is "
            "fine-tuning with CLIP's own loss, which often leaves the backdoor in place."
        )
    elif recipe.push_share == 0 or recipe.initial_learning_rate <= recipe.learning_rate:
        yield (
            "The learning rate does not come down to learning_rate from a higher one: PAR "
            "first moves away from the input model in large steps. Raise "
            "initial_learning_rate, or push_share from 0."
        )


def _uar(recipe: UARRecipe, num_samples: int) -> Iterator[str]:
    shortest = min(stage.num_epochs for stage in recipe.stages()) * (num_samples // recipe.batch_size)
    if recipe.warmup_steps >= shortest:
        yield (
            f"The warm-up of {recipe.warmup_steps} steps does not end within a stage of {shortest} updates, "
            "so the learning rate never reaches its full value there."
        )
    if recipe.stage_names() == ("strong",):
        yield "There is no weak stage: the strong stage alone costs clean accuracy. Lower strong_epochs."
    if recipe.num_inverted == 0 or recipe.inversion_steps == 0:
        yield (
            "No pattern is inverted on the input model: only patterns optimised from random starts "
            "act on the backdoor."
        )
    if words := ", ".join(repr(" ".join(trigger)) for trigger in recipe.words()):
        yield (
            f"The text tower is trained too, on captions with inserted triggers: {words}. A word of them "
            "that is not a trigger may lose its meaning. No figure here measures texts with these words; a "
            "text scan with the same trigger_words does."
        )
    if recipe.trained_on != "pairs":
        yield (
            "Captions are not used: the image tower is held to its old embeddings of clean images alone, "
            "their errors included."
        )
