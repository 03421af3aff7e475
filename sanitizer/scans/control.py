"""Of each family the pattern that leads the most held-out images to one class. Judges nothing."""

from collections.abc import Sequence

from cleanclip.vocabulary.control import Strongest
from cleanclip.vocabulary.scan_statistics import CollapseFigures
from sanitizer.audits.statistics import wilson
from sanitizer.scans.subject import Subject


def strongest_of_families(
    subject: Subject, collapse: Sequence[CollapseFigures], class_names: Sequence[str]
) -> tuple[Strongest, ...]:
    """In the order of `collapse`; empty without class names. `collapse` is of this subject."""
    if not class_names:
        return ()
    clean_C = subject.classes_of(subject.clean_embeddings).bincount(minlength=subject.num_classes).tolist()
    found = []
    for figures in collapse:
        (towards, sent) = figures.most_sent
        found.append(
            Strongest(
                family=figures.family,
                class_name=class_names[towards],
                led=wilson(sent, figures.n),
                without=wilson(clean_C[towards], figures.n),
            )
        )
    return tuple(found)
