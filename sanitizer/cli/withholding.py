"""`--withhold`: the labelled images that a job of the service is given, to repeat its figures."""

from collections.abc import Sequence
from pathlib import Path

from cleanclip.vocabulary.errors import OptionsRejected
from cleanclip.vocabulary.jobspec import CLASS_NAMES_NAME, GIVEN_NAME, TEMPLATES_NAME, LabelledPart
from cleanclip.vocabulary.withholding import FEWEST, num_withheld, seed_of
from sanitizer.data.labelled import open_labelled
from sanitizer.data.parting import drawn, write_samples
from sanitizer.pipeline.opening import ToExclude


def given_part(
    labelled_path: Path, exclude: Sequence[Path], folder: Path
) -> tuple[Path, LabelledPart, list[Path]]:
    """A labelled set in `folder` without the images that the service withholds, what it is a part of, and the
    lists of `exclude` that are of other datasets.

    Raises DatasetRejected, OSError; OptionsRejected, also `too_few_to_withhold`.
    """
    lists = ToExclude(exclude)
    labelled = lists.of(open_labelled(labelled_path))
    num = num_withheld(len(labelled))
    if num == 0:
        raise OptionsRejected(
            "too_few_to_withhold",
            f"The labelled set has {len(labelled)} images; the service withholds some of {2 * FEWEST} or "
            "more.",
            "Leave out --withhold: a job on these images was given all of them.",
        )
    folder.mkdir(parents=True)
    for name, lines in ((CLASS_NAMES_NAME, labelled.class_names), (TEMPLATES_NAME, labelled.templates)):
        if lines:
            (folder / name).write_bytes("".join(f"{line}\n" for line in lines).encode())
    _, indices = drawn(len(labelled), num, seed_of(labelled.files_sha256))
    write_samples(labelled, indices, folder / GIVEN_NAME, before_read=lambda: None)
    part = LabelledPart(dataset_sha256=labelled.files_sha256, num_withheld=num, excluded=labelled.excluded)
    return folder, part, lists.unused
