"""Find the samples of a dataset that look poisoned, with the model that it trained or is to clean."""

from collections.abc import Iterator, Mapping

from cleanclip.kinds.facts import Data, Facts
from cleanclip.kinds.kind import ANCHOR, MAX_REPORT_BYTES, SUSPECT, Input, Kind, anchor, check_anchor
from cleanclip.kinds.phase import Load, Phase, counted
from cleanclip.vocabulary.errors import DatasetRejected, OptionsRejected, SanitizerError
from cleanclip.vocabulary.jobspec import REPORT_NAME, VetSpec
from cleanclip.vocabulary.vet_options import VetOptions
from cleanclip.vocabulary.vet_plan import (
    NO_ANCHOR,
    NO_TRUSTED,
    fewest_samples,
    fewest_trusted,
    num_embedded,
    plan,
)
from cleanclip.vocabulary.vet_report import DOES_NOT_SHOW, EXCLUDED_NAME, MAX_SCORES_BYTES, VET_SCORES_NAME

VETTED = Input(
    column="dataset_id",
    pointer="/vet/dataset_id",
    roles={"pairs": "pairs", "labelled": "labelled"},
    about="The dataset that is vetted: every sample of it is scored.",
    counts_bad=True,
    used_for="vetting",
    title="Vetted",
)
TRUSTED = Input(
    column="trusted_dataset_id",
    pointer="/vet/trusted_dataset_id",
    roles={"pairs": "trusted", "labelled": "trusted"},
    fact="has_trusted",
    about="Samples of the same kind that you trust, from another source. Without them there are ranks and no "
    "p-values.",
    counts_bad=True,
    most="max_trusted",
    used_for="trusted",
    title="Trusted samples",
)
USE_OF_ANCHOR = (
    "It finds captions that the checkpoint was taught to believe: with one a trial found 38 of 40 poisoned "
    "pairs, without 6, by chance 2."
)


def check(facts: Facts) -> Iterator[SanitizerError]:
    try:
        plan(facts.options, has_anchor=ANCHOR in facts.named)
    except OptionsRejected as error:
        yield error
    yield from check_anchor(facts)
    yield from check_samples(facts)


def check_samples(facts: Facts) -> Iterator[SanitizerError]:
    """Whether there are enough, and whether the trusted ones are others."""
    options: VetOptions = facts.options
    vetted, trusted = facts.data.get(VETTED.column, Data()), facts.data.get(TRUSTED.column, Data())
    if vetted.num_good is not None and vetted.num_good < (least := fewest_samples(options)):
        yield DatasetRejected(
            "too_few_to_vet",
            f"The dataset has {vetted.num_good} good samples, and {least} are the fewest for "
            f"{options.neighbours} neighbours each.",
            "Use a larger dataset, or set a lower number of neighbours.",
            where="dataset_id",
        )
    num = None if trusted.num_good is None else min(trusted.num_good, options.max_trusted)
    if num is not None and num < (least := fewest_trusted(options)):
        yield DatasetRejected(
            "too_few_trusted",
            f"{num} good trusted samples can be used. With a share of {options.share:g} it takes {least}: "
            "half of them fit, and p-values are counted from the other half.",
            "Give more trusted samples, or none: samples are then sorted by ranks.",
            where="trusted_dataset_id",
        )
    if None not in {vetted.kind, trusted.kind} and vetted.kind != trusted.kind:
        yield DatasetRejected(
            "trusted_wrong_kind",
            f"The trusted dataset is of kind '{trusted.kind}', the one that is vetted '{vetted.kind}'.",
            "Give trusted samples of the same kind.",
            where="trusted_dataset_id",
        )
    elif trusted.sha256 is not None and trusted.sha256 == vetted.sha256:
        yield overlap("The trusted set is the set that is vetted")


def overlap(what: str, where: str = "trusted_dataset_id") -> DatasetRejected:
    """`what` the two sets have in common; `where`, if a sample shows it, that."""
    return DatasetRejected(
        "trusted_overlaps",
        f"{what}, so it cannot say what is unusual there.",
        "Give trusted samples from another source, or take those of the vetted set out of it.",
        where=where,
    )


def warnings(facts: Facts) -> Iterator[str]:
    if TRUSTED.column not in facts.named:
        yield NO_TRUSTED
    if ANCHOR not in facts.named:
        yield NO_ANCHOR


def most_passes(spec: VetSpec, sizes: Mapping[str, int]) -> int:
    vetted = sizes.get("pairs") or sizes.get("labelled", 0)
    return num_embedded(spec.vet, vetted, sizes.get("trusted"), has_anchor=spec.has_anchor)


class Vetting(Phase):
    """Every sample is embedded by each model."""

    def sentence(self, load: Load) -> str:
        options: VetOptions = load.parts["vet"]
        models = "the model and the anchor" if load.has_anchor else "the model"
        if load.num_training is None:
            return f"Embeds every sample by {models}; how many is not known."
        trusted, num_trusted = "", load.sizes.get(TRUSTED.column)
        if num_trusted is not None:
            trusted = f" and {counted(min(num_trusted, options.max_trusted), 'trusted one')}"
        return (
            f"Embeds {counted(load.num_training, 'sample')}{trusted} by {models}, scores them, and sets the "
            f"worst {100 * options.share:g} % aside."
        )

    def amount(self, load: Load) -> int | None:
        if load.num_training is None:
            return None
        num_trusted = load.sizes.get(TRUSTED.column)
        return num_embedded(load.parts["vet"], load.num_training, num_trusted, has_anchor=load.has_anchor)


VET = Kind(
    name="vet",
    title="Vetting",
    about=(
        "Find the samples of a dataset that look poisoned, with the model that it trained or is to clean. "
        "A cleaning or an audit can leave them out."
    ),
    page="vettings",
    then_clean=("exclude", "Clean without these"),
    measures_model=False,
    computes=(Vetting(name="vet", title="Score every sample"),),
    inputs=(SUSPECT, VETTED, TRUSTED, anchor("vet", USE_OF_ANCHOR)),
    options=VetOptions,
    shows=(
        "The samples that are set aside are the worst by their scores, and the list to leave out names "
        "exactly these."
    ),
    does_not_show=DOES_NOT_SHOW,
    engine="sanitizer.work.vetting",
    spec=VetSpec,
    check=check,
    warnings=warnings,
    most_passes=most_passes,
    leaves={
        REPORT_NAME: MAX_REPORT_BYTES,
        EXCLUDED_NAME: 64 * 2**20,  # half a million samples and more: the list is read into memory
        VET_SCORES_NAME: MAX_SCORES_BYTES,
    },
    room_factor=2,
    lists_samples=True,
)
