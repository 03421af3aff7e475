"""Datasets without some of their samples, as a list of exclusions asks for.

The samples that are left are counted from 0 again.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from cleanclip.vocabulary import exclusions
from cleanclip.vocabulary.errors import DatasetRejected, OptionsRejected
from cleanclip.vocabulary.exclusions import MAX_LIST_BYTES, ExcludedSamples, Exclusions, load_exclusions
from sanitizer.data.labelled import LabelledDataset
from sanitizer.data.pairs import PairDataset

Dataset = TypeVar("Dataset", PairDataset, LabelledDataset)


@dataclass(frozen=True, kw_only=True)
class ExclusionList:
    """A list and the digest of its file."""

    path: Path
    exclusions: Exclusions
    sha256: str

    @property
    def reported(self) -> ExcludedSamples:
        """What a report says of it."""
        return ExcludedSamples(
            num=len(self.exclusions.samples), reason=self.exclusions.reason, list_sha256=self.sha256
        )


def read_exclusions(path: Path) -> ExclusionList:
    """Raises OptionsRejected `exclusions_unreadable`."""
    try:
        if path.stat().st_size > MAX_LIST_BYTES:
            raise ValueError("it is too large")
        data = path.read_bytes()
        sha256 = hashlib.sha256(data).hexdigest()
        return ExclusionList(path=path, exclusions=load_exclusions(data), sha256=sha256)
    except (OSError, ValueError) as error:
        what = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
        raise OptionsRejected(
            "exclusions_unreadable",
            f"{path.name} is not a list of exclusions: {str(what)[:200]}.",
            "Give excluded.json, as vet wrote it.",
            where=path.name,
        ) from error


def without(dataset: Dataset, given: ExclusionList) -> Dataset:
    """The dataset without the samples of the list. Raises OptionsRejected `exclusions_of_another_dataset`,
    and DatasetRejected `everything_excluded`."""
    wanted = given.exclusions
    if wanted.dataset_sha256 != dataset.files_sha256:
        raise exclusions.of_another_dataset(wanted.dataset_sha256)
    exclusions.check_samples(wanted, len(dataset), dataset.key)
    if len(wanted.samples) == len(dataset):
        raise DatasetRejected(
            "everything_excluded", "The list excludes every sample of the dataset.", "Exclude fewer samples."
        )
    return dataset.without([one.index for one in wanted.samples], given.reported)
