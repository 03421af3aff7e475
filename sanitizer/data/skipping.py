"""Bad samples: what makes a sample bad, how many are tolerated, and how a dataset is refused for them.

A reader raises `BadSample`; whoever iterates keeps a `SkipLedger`, which
counts each bad sample once and raises `DatasetRejected` when the stated share is passed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Protocol, TypeVar

from cleanclip.vocabulary.errors import DatasetRejected
from cleanclip.vocabulary.skip_reasons import EXAMPLE, UNKNOWN_LABEL, SkipReason

NUM_EXAMPLES = 10
MAX_EXCERPT = 80


class BadSample(Exception):
    """This sample cannot be used: why, in a short sentence, and the label of one that is not known."""

    def __init__(self, reason: SkipReason, detail: str, label: str | None = None) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
        self.label = label

    def __reduce__(self) -> tuple[type[BadSample], tuple[SkipReason, str, str | None]]:
        return BadSample, (self.reason, self.detail, self.label)


def missing_file(why: str) -> BadSample:
    return BadSample("missing_file", why)


def bad_json(why: str) -> BadSample:
    return BadSample("bad_json", why)


@dataclass(frozen=True, kw_only=True)
class Skipped:
    """One bad sample: its index in the dataset, its key, and why."""

    index: int
    key: str
    reason: SkipReason
    detail: str
    label: str | None = None

    @classmethod
    def of(cls, index: int, key: str, bad: BadSample) -> Skipped:
        return cls(index=index, key=key, reason=bad.reason, detail=bad.detail, label=bad.label)

    @property
    def example(self) -> str:
        """For a report."""
        if self.label is not None:
            return UNKNOWN_LABEL(key=self.key, label=self.label)
        return EXAMPLE[self.reason](key=self.key)

    def __str__(self) -> str:
        return f"{printable(self.key)}: {self.reason} ({self.detail})"


Sample_co = TypeVar("Sample_co", covariant=True)
Batch = TypeVar("Batch")


class Readable(Protocol[Sample_co]):
    """A dataset, read by index."""

    def read(self, index: int) -> Sample_co: ...

    def key(self, index: int) -> str: ...


def good_ones(
    dataset: Readable[Sample_co], indices: Iterable[int], skipped: list[Skipped]
) -> Iterator[tuple[int, Sample_co]]:
    """Index and sample of each good one; the bad ones are appended to `skipped`. One is read at a time."""
    for index in indices:
        try:
            sample = dataset.read(index)
        except BadSample as bad:
            skipped.append(Skipped.of(index, dataset.key(index), bad))
            continue
        yield index, sample


def printable(text: str, limit: int = MAX_EXCERPT) -> str:
    """A short excerpt of hostile text that is safe in a log, a terminal and JSON."""
    shown = "".join(character if character.isprintable() else "�" for character in text[:limit])
    return shown + "…" if len(text) > limit else shown


CODE_OF_REASON = {
    "no_caption": (
        "no_captions",
        'Pairs need a caption (.txt, or .json with a "caption") beside every image.',
    ),
    "no_image": ("no_images", "Every sample needs a .jpg, .jpeg, .png or .webp member."),
    "no_label": ("no_labels", "Labelled samples need a .cls member with the index of the class."),
    "unknown_label": ("unknown_labels", "Labels must be indices or names of the lines of classnames.txt."),
}
ANY_REASON = ("too_many_bad_samples", "Repair or remove these samples, or raise max_skipped_share.")


@dataclass
class SkipLedger:
    """Counts bad samples, each once, and refuses more than `max_skipped_share` of `num_samples`."""

    num_samples: int
    max_skipped_share: float
    _skipped: dict[int, Skipped] = field(default_factory=dict)

    @property
    def num_skipped(self) -> int:
        return len(self._skipped)

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """Every bad sample met so far, in the order in which they were met."""
        return tuple(self._skipped.values())

    @property
    def reasons(self) -> dict[SkipReason, int]:
        """Reason → how many, the commonest first."""
        return dict(Counter(one.reason for one in self._skipped.values()).most_common())

    @property
    def examples(self) -> tuple[str, ...]:
        """The first few, for a report."""
        return tuple(one.example for one in islice(self._skipped.values(), NUM_EXAMPLES))

    def add(self, skipped: Skipped) -> None:
        """Count one. Raises DatasetRejected when the share of all samples is passed."""
        if skipped.index in self._skipped:
            return
        self._skipped[skipped.index] = skipped
        if self.num_skipped > self.max_skipped_share * self.num_samples:
            raise self.rejection()

    def rejection(self) -> DatasetRejected:
        """The refusal; its code is that of the one reason that explains most of the skipped."""
        reason, count = next(iter(self.reasons.items()))
        explains_most = 2 * count > self.num_skipped
        code, remedy = CODE_OF_REASON.get(reason, ANY_REASON) if explains_most else ANY_REASON
        what = f"All {self.num_samples} samples are bad"
        if self.num_skipped < self.num_samples:
            what = (
                f"{self.num_skipped} samples are bad, more than the share {self.max_skipped_share:g}"
                f" of {self.num_samples} (reading stopped there)"
            )
        examples = [str(one) for one in islice(self._skipped.values(), 3)]
        return DatasetRejected(code, f"{what}. Examples: {'; '.join(examples)}.", remedy, where=examples[0])


class CountsSkipped:
    """Whatever reads a dataset in batches and counts its bad samples in `_ledger`."""

    _ledger: SkipLedger

    def _counted(self, built: Iterable[tuple[Batch | None, Sequence[Skipped]]]) -> Iterator[Batch]:
        """Batches that have a good sample. Raises DatasetRejected when too many are bad."""
        for batch, all_skipped in built:
            for skipped in all_skipped:
                self._ledger.add(skipped)
            if batch is not None:
                yield batch

    @property
    def num_skipped(self) -> int:
        """How many different samples were found bad so far."""
        return self._ledger.num_skipped

    @property
    def skipped_examples(self) -> tuple[str, ...]:
        return self._ledger.examples
