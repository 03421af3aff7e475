"""What methods and attacks are called on a page, and what they are, in a sentence. Of their options
that stands in the fields (`cleanclip.vocabulary.bounds.label`)."""

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
