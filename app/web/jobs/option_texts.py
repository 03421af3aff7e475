"""What each option is called on a page, and what it means there, in a sentence. Bounds and defaults are the
schema's (`options`); a test holds every option to have its words here.

A text stands under "GROUP/OPTION" where groups mean different things by one word, else under "OPTION".
"""

from __future__ import annotations

from dataclasses import dataclass

from cleanclip.vocabulary import proposed
from cleanclip.vocabulary.proposed import FIGURES

METHODS = {
    "cleanclip": (
        "CleanCLIP",
        "Fine-tunes on clean pairs with CLIP's own loss and a self-supervised loss for each tower.",
    ),
    "par": (
        "PAR (Perturb and Recover)",
        "Pushes the model away from the input model, then recovers it on clean pairs. "
        "Published against structured triggers, which CleanCLIP does not remove.",
    ),
    "supervised": (
        "Supervised fine-tuning",
        "Trains the image tower on clean labelled images, other than the audit's. The text tower stays.",
    ),
    "uar": (
        "UAR (universal adversarial repair)",
        "Teaches the image tower to see through patterns that many images share, found on the model itself. "
        "Needs no trigger. A trial so far, run on small models only.",
    ),
}

PROPOSED = (
    "As proposed",
    "UAR where no trigger is named, the image tower is a ViT, or structured triggers are audited: "
    f"{FIGURES}. Else CleanCLIP. The dry run says which.",
)
BESIDE = (
    f"Orders a second job with CleanCLIP on the same inputs, and shows the comparison: {proposed.BESIDE}."
)

ATTACKS = {
    "badnet": ("BadNet", "A small patch on the image."),
    "blended": ("Blended", "Noise blended into the whole image."),
    "wanet": ("WaNet", "The image warped a little."),
    "sig": ("SIG", "Stripes of a sine over the image."),
    "label_consistent": (
        "Label-consistent",
        "BadNet's patch on images that already carry the target's caption.",
    ),
    "text_trigger": ("Words", "Words written over the image."),
    "custom_patch": ("Your own patch", "An image of yours, placed on the image."),
    "custom_pattern": ("Your own pattern", "An image of yours, blended over the whole image."),
}


@dataclass(frozen=True, kw_only=True)
class Text:
    label: str
    meaning: str
    unit: str = ""
    is_advanced: bool = False


def _more(label: str, meaning: str, unit: str = "") -> Text:
    return Text(label=label, meaning=meaning, unit=unit, is_advanced=True)


def _first(label: str, meaning: str, unit: str = "") -> Text:
    return Text(label=label, meaning=meaning, unit=unit)


TEXTS: dict[str, Text] = {
    # recipes
    "epochs": _first("Epochs", "How often the model sees all clean data."),
    "batch_size": _first(
        "Batch size", "Pairs per training step; each is contrasted with the others in its batch.", "pairs"
    ),
    "supervised/batch_size": _first("Batch size", "Images per training step.", "images"),
    "learning_rate": _first(
        "Learning rate",
        "The peak step size; a cosine schedule takes it to zero. The option that matters most.",
    ),
    "lambda1": _first(
        "CLIP's loss (lambda1)", "Its weight. Keeps what the model can do; 0 usually loses clean accuracy."
    ),
    "lambda2": _first(
        "Self-supervised loss (lambda2)",
        "Its weight. Breaks the link between trigger and target; 0 often leaves the backdoor.",
    ),
    "warmup_steps": _first("Warm-up", "Updates over which the rate rises from zero.", "updates"),
    "threshold": _first(
        "Threshold",
        "The distance from the input model at which the push stops; 2 is the distance of "
        "unrelated directions.",
        "squared distance",
    ),
    "initial_learning_rate": _first(
        "First learning rate", "The rate at the start: large steps move away from the input model."
    ),
    "push_share": _first(
        "Share of the push", "The part of the run over which the first rate decays.", "from 0 to 1"
    ),
    "trained_on": _first(
        "Trained on",
        "pairs; or images alone, without captions: of pairs, or labelled images, whose labels are not read.",
    ),
    "strong_epochs": _first(
        "Epochs of the strong stage",
        "Many images carry patterns; in the other epochs, the weak stage, fewer do.",
    ),
    "consistency_weight": _first(
        "Consistency",
        "Weight of how far an image with a pattern lies from its clean original's old embedding.",
    ),
    "weak_learning_rate": _more("Learning rate, weak stage", "none: the same as in the strong one."),
    "strong_live_share": _more(
        "Images with a live pattern, strong stage", "Live patterns climb the loss.", "from 0 to 1"
    ),
    "strong_bank_share": _more(
        "Images with a kept pattern, strong stage",
        "The bank holds inverted and former live ones.",
        "from 0 to 1",
    ),
    "weak_live_share": _more("Images with a live pattern, weak stage", "Of each batch.", "from 0 to 1"),
    "weak_bank_share": _more("Images with a kept pattern, weak stage", "Of each batch.", "from 0 to 1"),
    "strong_edit_share": _more(
        "Images with an edit, strong stage",
        "A tint, a frame, a tone, a wave, a blur or a turn.",
        "from 0 to 1",
    ),
    "weak_edit_share": _more("Images with an edit, weak stage", "Of each batch.", "from 0 to 1"),
    "edit_strength": _more("Strength of an edit", "1: the whole range of each.", "from 0 to 1"),
    "live_patches": _more("Live patches", "Patterns that cover a square at a random place."),
    "live_blends": _more("Live blends", "Patterns blended into the whole image."),
    "live_warps": _more("Live warps", "Patterns that displace pixels smoothly."),
    "live_colours": _more("Live colour changes", "Patterns that mix the colour channels."),
    "live_edits": _more("Live edits", "Tints, frames, waves and others, one of each kind in turn."),
    "live_step": _more("Step of a live pattern", "Once per update, of the range of a pixel.", "from 0 to 1"),
    "live_updates": _more("Life of a live pattern", "Then it goes to the bank.", "updates"),
    "min_patch_size": _more("Smallest live patch", "Side by the image's side.", "from 0 to 1"),
    "max_patch_size": _more("Largest live patch", "Side by the image's side.", "from 0 to 1"),
    "blend_alpha": _more("Opacity of a live blend", "1 covers the image.", "from 0 to 1"),
    "bank_size": _more("Size of the bank", "The inverted patterns stay; of the others the newest."),
    "inverted_patches": _more("Inverted patches", "Found on the model itself, for the bank."),
    "inverted_fixed_patches": _more("Inverted patches at a place", "Each at one place of every image."),
    "inverted_blends": _more("Inverted blends", "Found on the model itself, for the bank."),
    "inverted_warps": _more("Inverted warps", "Found on the model itself, for the bank."),
    "inverted_colours": _more("Inverted colour changes", "Found on the model itself, for the bank."),
    "inverted_edits": _more("Inverted edits", "Found on the model itself, for the bank."),
    "inversion_steps": _more("Steps of the inversion", "On the input model. 0: none.", "steps"),
    "reinversion_steps": _more("Steps of the second inversion", "Between the stages. 0: none.", "steps"),
    "inverted_patch_size": _more("Side of an inverted patch", "By the image's side.", "from 0 to 1"),
    "inverted_blend_alpha": _more("Opacity of an inverted blend", "1 covers the image.", "from 0 to 1"),
    "warp_strength": _more("Strength of a warp", "Largest displacement by the image's side.", "from 0 to 1"),
    "colour_radius": _more("Radius of a colour change", "Bound of its twelve numbers.", "from 0 to 1"),
    "kept_change": _more(
        "Share of the change that is kept",
        "Less than 1 mixes the input model's weights in: more clean accuracy, more of a backdoor.",
        "from 0 to 1",
    ),
    "chunk_size": _more(
        "Chunk", "Samples that pass through the model at once, if a batch does not fit in memory.", "pairs"
    ),
    "weight_decay": _more("Weight decay", "Of AdamW."),
    "beta1": _more("Beta 1", "Of AdamW: memory of the gradient."),
    "beta2": _more("Beta 2", "Of AdamW: memory of its square."),
    "epsilon": _more("Epsilon", "Of AdamW: avoids a division by zero."),
    "max_grad_norm": _more(
        "Largest gradient", "A longer gradient is clipped to this norm. none: never clipped.", "norm"
    ),
    "freeze_batch_norm_statistics": _more(
        "Freeze BatchNorm statistics", "No: they follow the training images, which can cost clean accuracy."
    ),
    "precision": _more("Precision", "auto uses bf16 if the device supports it."),
    "max_skipped_share": _more("Bad samples allowed", "Above this share the job fails.", "from 0 to 1"),
    "eda_alpha": _more("Words changed in a caption", "For the second view of each caption.", "from 0 to 1"),
    "noise_std": _more("Noise on images", "Standard deviation, of pixels between 0 and 1."),
    "noise_probability": _more("Images with noise", "How many augmentations are drawn.", "from 0 to 1"),
    "erase_probability": _more(
        "Images with a square erased", "How many augmentations are drawn.", "from 0 to 1"
    ),
    # attacks
    "target": _more("Its own target", "The class this trigger leads to, where it is not the audit's."),
    "pattern": _first("Pattern", "redrawn: again for every image, as in research code; fixed: one for all."),
    "placement": _first("Placement", "Where on the image."),
    "size": _first("Size", "Side of the patch by the image's shorter side.", "from 0 to 1"),
    "text_trigger/size": _first(
        "Size", "Longer side of the words by the image's shorter side.", "from 0 to 1"
    ),
    "custom_patch/size": _first(
        "Size", "Longer side of the image by the image's shorter side.", "from 0 to 1"
    ),
    "alpha": _first("Blend", "How much of the trigger is seen: 1 covers the image.", "from 0 to 1"),
    "cell": _more("Side of a triangle", "Of the pattern triangles only.", "from 0 to 1"),
    "pattern_seed": _more("Seed of the pattern", "Of a fixed pattern."),
    "control_points": _more(
        "Control points", "Of the warp; fewer are smoother. none: one per pixel.", "a side"
    ),
    "strength": _first("Strength", "Of the warp."),
    "grid_rescale": _more("Rescale of the grid", "Of the warp."),
    "amplitude": _first("Amplitude", "Of the stripes.", "from 0 to 1"),
    "frequency": _first("Frequency", "Stripes across the image."),
    "blend": _more(
        "Blend", "none: added in full; a share: blended, as CleanCLIP's code does.", "from 0 to 1"
    ),
    "text": _first("Words", "Letters, digits and signs of ASCII."),
    "colour": _more("Colour", "As #rrggbb."),
    "at": _more(
        "At",
        "Row and column, for example 0.5, 0.5 for the middle; overrides the placement.",
        "each from 0 to 1",
    ),
    "image": _first("Image", "A PNG or JPEG of at most 64 KiB and 512 pixels a side."),
    # audit
    "gate": _more("Gate", "An attack whose ASR before cleaning is lower is inconclusive.", "from 0 to 1"),
    "audit/precision": _more(
        "Precision", "bf16 is faster if the device supports it; images near a tie may be counted differently."
    ),
    "audit/batch_size": _more("Batch size", "Images that pass through the model at once.", "images"),
    "examples": _more(
        "Examples",
        "Test images that the report shows, with each trigger; 0: the report holds none of your images.",
        "images",
    ),
    "max_retrieval_pairs": _more(
        "Pairs for retrieval",
        "The most pairs used; from a larger set this many are drawn by the seed.",
        "pairs",
    ),
    "recheck": _more(
        "Second audit",
        "In a process that never read the upload, also on images that the first never had; its figures must "
        "agree. none: where the operator signs.",
    ),
    "probe/folds": _more(
        "Folds of the probe", "Cross-validation folds: each is judged by a probe fitted on the others."
    ),
    "probe/c": _more("C of the probe", "Inverse strength of the L2 penalty. The default is CLIP's value."),
    "probe/max_iterations": _more("Iterations of the probe", "Of L-BFGS, for each fit."),
    "rebound/rates": _more("Rates", "Learning rates, as multiples of the recipe's; separated by commas."),
    "rebound/steps": _more("Steps", "After how many updates to measure; separated by commas.", "updates"),
    "rebound/num_seeds": _more("Seeds", "Orders of the data for each rate."),
    "rebound/max_images": _more("Images measured", "At most, at each step; drawn by the seed.", "images"),
    "rebound/reference_asr": _more(
        "ASR of a clean model",
        "At step 0 and after each of the steps, from its own report; drawn beside. Separated by commas.",
        "from 0 to 1",
    ),
    "rebound/poisons": _more(
        "Poisoned samples", "Over 0: also how fast the old trigger is learned again.", "samples"
    ),
    "rebound/relearning_samples": _more(
        "Samples to relearn from", "The poisoned ones are among them.", "samples"
    ),
    "rebound/interpolation_halvings": _more(
        "Halvings of the way back",
        "Over 0: at which share of the way back to the input model's weights each attack works again.",
    ),
    # policy
    "asr_at_most": _first(
        "ASR at most",
        "Attack success rate: the upper bound of its 95 % interval must be at or under this.",
        "from 0 to 1",
    ),
    "ca_lost_at_most": _first(
        "Clean accuracy lost at most", "0.03 is three points; judged on the 95 % interval.", "from 0 to 1"
    ),
    "rebound_asr_at_most": _first(
        "ASR after further training at most",
        "Where the rebound is measured: the highest ASR of all steps. none: the limits above.",
        "from 0 to 1",
    ),
    "controlled_at_most": _first(
        "Led by one pattern at most",
        "Share of images that one pattern leads to one class: of patterns that a search finds on the cleaned "
        "model, and of those that controlled the input model.",
        "from 0 to 1",
    ),
}


def text_of(group: str, option: str) -> Text:
    """Raises KeyError for an option without words."""
    return TEXTS.get(f"{group}/{option}") or TEXTS[option]
