"""What each phase of a job computes, in a sentence, with the numbers that are known."""

from app.domain.states import JobPhase
from app.services.estimates import Load
from cleanclip.vocabulary.attack_options import of_same_pixels
from cleanclip.vocabulary.cautions import num_updates
from cleanclip.vocabulary.recipe import Recipe
from cleanclip.vocabulary.uar_recipe import UARRecipe


def describe_phase(phase: JobPhase, load: Load) -> str:
    """In a sentence, with the numbers that are known."""
    match phase:
        case JobPhase.STAGE:
            return "Copies the checkpoint and the data to the worker and checks their digests."
        case JobPhase.SCAN:
            return _scanning(load)
        case JobPhase.TEXT_SCAN:
            return _text_scanning(load)
        case JobPhase.VET:
            return _vetting(load)
        case JobPhase.BASELINE_AUDIT:
            assert load.audit is not None, "an audit is ordered"
            triggers = _count(len(of_same_pixels(load.audit.attacks)), "trigger")
            found = f", and up to {load.num_found} that the scan finds" if load.num_found else ""
            return f"Measures clean accuracy and {triggers}{found}: {_measured(phase, load)}"
        case JobPhase.FINETUNE:
            return _training(load)
        case JobPhase.FINAL_AUDIT:
            return (
                "Searches the cleaned weights for patterns that control them, measures them with the same "
                f"triggers on the same images, and how far they moved: {_measured(phase, load)}"
            )
        case JobPhase.REBOUND:
            return _rebound(load)
        case JobPhase.PUBLISH:
            return "Writes the report and the statement, and stores all files."
        case _:
            return "Does what this kind of job is for; how much that is, is not known before."


def _count(number: int, noun: str, nouns: str | None = None) -> str:
    return f"{number:,} {noun if number == 1 else nouns or f'{noun}s'}"


def _scanning(load: Load) -> str:
    scan, passes = load.scan, load.amount(JobPhase.SCAN)
    assert scan is not None, "the phase is there where it was ordered"
    if passes is None:
        return "Looks for triggers in the model; how long depends on the number of classes."
    among = "" if not load.num_classes else f" for {_count(load.num_classes, 'class', 'classes')}"
    return (
        f"Looks for triggers in the model by {_count(len(scan.detectors), 'detector')}{among} "
        f"({', '.join(scan.detectors)}): {passes:,} images forward and backward, at most; then measures "
        "the best on held-out images."
    )


def _text_scanning(load: Load) -> str:
    options, images = load.text_scan, load.num_images(JobPhase.TEXT_SCAN)
    assert options is not None, "the phase is there where it was ordered"
    words = []
    if options.trigger_words:
        words.append(f"{_count(len(options.trigger_words), 'trigger')} in {options.num_texts:,} texts")
    if options.search:
        words.append(
            f"every token of CLIP's vocabulary in {options.num_screen_texts} texts, and the first "
            f"{options.num_fine:,} of them in {options.num_texts:,} others"
        )
    return f"Embeds up to {images:,} images for the class means; then {'; '.join(words)}."


def _vetting(load: Load) -> str:
    assert load.vet is not None, "the phase is there where it was ordered"
    models = "the model and the anchor" if load.has_anchor else "the model"
    if load.num_training is None:
        return f"Embeds every sample by {models}; how many is not known."
    trusted = ""
    if load.num_trusted is not None:
        trusted = f" and {_count(min(load.num_trusted, load.vet.max_trusted), 'trusted one')}"
    return (
        f"Embeds {_count(load.num_training, 'sample')}{trusted} by {models}, scores them, and sets the worst "
        f"{100 * load.vet.share:g} % aside."
    )


def _measured(phase: JobPhase, load: Load) -> str:
    assert load.audit is not None, "an audit is ordered"
    if load.num_labelled is None:
        return "how many images is not known."
    reported = f"{_count(load.num_labelled, 'image')}, each {load.passes(phase)} times through a model."
    if load.num_retrieval is not None:
        pairs = min(load.num_retrieval, load.audit.max_retrieval_pairs)
        times = 1 + len(load.audit.attacks) + load.num_found
        reported += f" Retrieval on {_count(pairs, 'pair')}, each {times} times."
    return reported


def _rebound(load: Load) -> str:
    rebound = None if load.audit is None else load.audit.rebound
    assert rebound is not None, "the phase is there where it was ordered"
    reported = (
        f"Trains {_count(rebound.num_curves, 'copy', 'copies')} of the cleaned model further, "
        f"{_count(rebound.steps[-1], 'update')} each, and measures {_count(len(rebound.steps), 'time')} on "
        f"up to {_count(rebound.max_images, 'image')}."
    )
    if rebound.poisons:
        reported += (
            f" Then two more for each attack that worked, with {_count(rebound.poisons, 'poisoned sample')} "
            f"among {rebound.relearning_samples:,}."
        )
    if rebound.interpolation_halvings:
        reported += " Measures the weights between the cleaned model and the input model, without training."
    return reported


def _training(load: Load) -> str:
    recipe, num_samples = load.recipe, load.num_training
    if recipe is None or num_samples is None:
        return "Fine-tunes; on how much data is not known."
    what = "pairs" if recipe.training_data == "pairs" else "labelled images"
    return (
        f"Fine-tunes by {recipe.method} on {num_samples:,} {what}: {_count(recipe.epochs, 'epoch')} of "
        f"{_count(num_samples // recipe.batch_size, 'update')} with {recipe.batch_size:,} each, "
        f"{_count(num_updates(recipe, num_samples), 'update')} in all.{_inversions(recipe)}"
    )


def _inversions(recipe: Recipe) -> str:
    """What UAR computes beside its updates."""
    if not isinstance(recipe, UARRecipe):
        return ""
    num_steps = sum(stage.inversion_steps for stage in recipe.stages())
    if num_steps == 0 or recipe.num_inverted == 0:
        return ""
    patterns = _count(recipe.num_inverted, "pattern")
    return f" Beside that it inverts {patterns}, {_count(num_steps, 'step')} in all."
