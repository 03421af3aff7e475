"""Why a sample is left out, and what each reason means for people who have to mend their data.

The keys are `BadSample.reason` and those of a dataset's `skipped_reasons`.
"""

from collections.abc import Iterator
from typing import Annotated

from annotated_types import MaxLen
from pydantic import AfterValidator

from cleanclip.vocabulary.phrases import Phrase, one_of

MEANINGS: dict[str, str] = {
    "no_image": "There is no image: a sample needs a .jpg, .jpeg, .png or .webp.",
    "no_caption": "There is no caption: a pair needs a .txt, or a .json with a “caption”, of the same name.",
    "no_label": "There is no label: a labelled image needs a .cls, or a class name in .txt or .json.",
    "unknown_label": "The label is not the number of a class, or its name is missing from the "
    "class names or there twice.",
    "empty_caption": "The caption is nothing but blanks and control characters.",
    "not_utf8": "A text is not valid UTF-8. Write texts again in UTF-8.",
    "labels_disagree": "The .cls and the .json, or two fields of the .json, give different labels.",
    "bad_json": "A .json is not a JSON object, or its caption or label is of the wrong type.",
    "image_damaged": "The image is cut off, corrupt, or neither JPEG, PNG nor WEBP.",
    "image_too_large": "It has over 20 MB or 50 million pixels (WEBP: 16; JPEG: 500 in all scans), or is "
    "over 100 times as long as wide.",
    "text_too_large": "A text has more than 64 KiB.",
    "unsafe_name": "The file's name is absolute, is in a folder, holds “..”, or is not valid UTF-8.",
    "not_regular_file": "It is a link, a device or a sparse file; only plain files are read.",
    "several_images": "Images of two kinds (.jpg and .png) have one name; keep one of them.",
    "duplicate_member": "The same name and extension comes twice in a row.",
    "outside_folder": "A row of the manifest, or an entry of a class folder, leads out of its folder.",
    "missing_file": "The file that a row or an entry names cannot be read.",
    "bad_row": "A row of the manifest has too few columns.",
}


SkipReason = Annotated[str, AfterValidator(one_of(*map(Phrase, MEANINGS)))]
EXAMPLE = {reason: Phrase("{key:sample}: " + reason) for reason in MEANINGS}
UNKNOWN_LABEL = Phrase("{key:sample}: unknown_label ({label:sample})")
"""One sample that was left out. What stands in quotes are the dataset's own words."""
SkippedExamples = Annotated[
    tuple[Annotated[str, AfterValidator(one_of(*EXAMPLE.values(), UNKNOWN_LABEL))], ...], MaxLen(1000)
]


def meaning(reason: str) -> str:
    """One or two sentences; of a reason that a newer worker gives, that it is unknown here."""
    return MEANINGS.get(reason, "This page does not know the reason; the examples say more.")


def skipped(kind: str, num_skipped: int, num_samples: int) -> Iterator[str]:
    """One sentence if any sample was left out."""
    if num_skipped:
        yield f"{num_skipped} of {num_samples} {kind} samples were bad and left out."
