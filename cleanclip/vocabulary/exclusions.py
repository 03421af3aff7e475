"""Samples of a dataset that are to be left out: the file that `vet` writes and `--exclude` reads. Free of
torch.

The list names the dataset by its digest. The digest fixes the order of the samples, so a sample is its place;
its key is for people, and is compared with the dataset too.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Interval, Len, MaxLen
from pydantic import StringConstraints, TypeAdapter

from cleanclip.vocabulary.errors import OptionsRejected
from cleanclip.vocabulary.strict_json import refuse_many

MAX_LIST_BYTES = 256 * 2**20
"""Of the file."""
_MAX_PARTS = 6_000_000
"""Two million samples."""

Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Key = Annotated[str, MaxLen(1000)]
"""Of a sample, as messages show it."""


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """One sample: its place in the dataset, counted from 0 with the bad ones, and its key."""

    index: Annotated[int, Interval(ge=0, le=2**53)]
    key: Key


@dataclass(frozen=True, kw_only=True)
class Exclusions:
    """The samples of one dataset that are not to be used, in the order of the dataset, and why."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    kind: Literal["exclusions"] = "exclusions"
    schema_version: Literal[1] = 1
    dataset_sha256: Digest
    num_samples: Annotated[int, Interval(ge=1, le=2**53)]
    """Of the dataset, the bad ones included."""
    reason: Annotated[str, Len(1, 500)]
    samples: tuple[LeftOut, ...]

    def __post_init__(self) -> None:
        places = [one.index for one in self.samples]
        if any(later <= earlier for earlier, later in pairwise(places)):
            raise ValueError("samples must be in the order of the dataset, each once")
        if places and places[-1] >= self.num_samples:
            raise ValueError(f"sample {places[-1]} is beyond the end of {self.num_samples} samples")


@dataclass(frozen=True, kw_only=True)
class ExcludedSamples:
    """What a report says of them: how many samples were left out of a dataset before it was used, and why."""

    num: Annotated[int, Interval(ge=0, le=2**53)]
    reason: Annotated[str, Len(1, 500)]
    list_sha256: Digest
    """Of the file that named them."""


@cache
def _adapter() -> TypeAdapter[Exclusions]:
    return TypeAdapter(Exclusions)


def dump_exclusions(exclusions: Exclusions) -> bytes:
    """UTF-8 JSON, a line for each sample."""
    head, _, samples = _adapter().dump_json(exclusions).partition(b'"samples":')
    return head + b'"samples":' + samples.replace(b'},{"index"', b'},\n{"index"') + b"\n"


def of_another_dataset(dataset_sha256: str | None) -> OptionsRejected:
    """Refuses a list of a dataset that is not used."""
    return OptionsRejected(
        "exclusions_of_another_dataset",
        f"A list of exclusions is of the dataset {(dataset_sha256 or 'unknown')[:12]}…, which is not among "
        "those given.",
        "Give the list that was made for one of these datasets, or vet the dataset again.",
    )


def given_twice() -> OptionsRejected:
    """Refuses a second list of one dataset."""
    return OptionsRejected(
        "exclusions_given_twice",
        "Two lists of exclusions are of the same dataset.",
        "Give one list for each dataset.",
    )


def check_samples(exclusions: Exclusions, num_samples: int, key: Callable[[int], str]) -> None:
    """That a list names samples of its dataset, which has so many with these keys.

    Raises OptionsRejected `exclusions_of_another_dataset`.
    """
    strange = (one for one in exclusions.samples if one.index >= num_samples or key(one.index) != one.key)
    first = next(strange, None)
    if first is not None or exclusions.num_samples != num_samples:
        raise OptionsRejected(
            "exclusions_of_another_dataset",
            "The list of exclusions names the dataset, but not its samples"
            + (f" (number {first.index})." if first else "."),
            "The list was changed: vet the dataset again.",
        )


def load_exclusions(data: bytes) -> Exclusions:
    """Raises ValueError."""
    refuse_many(data, _MAX_PARTS)
    return _adapter().validate_json(data, strict=True)
