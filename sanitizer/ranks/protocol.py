"""The protocol between the process that starts a training in several processes and each of them.

An order goes out, and events come back:

    caller ── RankOrder, "stop" ──▶ rank 0 … rank W-1      each `python -m sanitizer.rank`, on a share of
           ◀── events, RankEnded ──                        every batch; they meet by gloo or NCCL

JSON lines both ways, over the process's stdin and stdout. Starts nothing.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from cleanclip.vocabulary import errors
from cleanclip.vocabulary.bounds import StrictOptions
from cleanclip.vocabulary.errors import SanitizerError
from cleanclip.vocabulary.progress import SentEvent
from cleanclip.vocabulary.recipe import Recipe
from sanitizer.training.loop import Finetuned

STOP = b"stop\n"
CLASSES_NAME = "classes.safetensors"
"""In the meeting folder: the embeddings of the classes, for a method of labels."""


@dataclass(frozen=True, kw_only=True)
class RankOrder(StrictOptions):
    """What a rank is to do: the first line that it reads. `meeting_folder` is where ranks find each other."""

    rank: int
    num_ranks: int
    meeting_folder: Path
    checkpoint_folder: Path
    architecture: dict[str, Any]
    """open_clip's configuration: settled before, so that no rank settles it otherwise."""
    training_path: Path
    exclude: tuple[Path, ...] = ()
    recipe: Recipe
    seed: int
    device: Literal["cpu", "cuda"]
    state_folder: Path
    save_every_s: float
    has_classes: bool


@dataclass(frozen=True, kw_only=True)
class RankFailure:
    """A SanitizerError on its way; `kind` is the name of its class."""

    kind: str
    code: str
    message: str
    remedy: str
    where: str | None


@dataclass(frozen=True, kw_only=True)
class RankEnded:
    """The last line of a rank that did not crash."""

    type: Literal["rank_ended"] = "rank_ended"
    finetuned: Finetuned | None = None
    failure: RankFailure | None = None


ORDER: TypeAdapter[RankOrder] = TypeAdapter(RankOrder)
LINE: TypeAdapter[SentEvent | RankEnded] = TypeAdapter(
    Annotated[SentEvent | RankEnded, Field(discriminator="type")]
)


def as_failure(error: SanitizerError) -> RankFailure:
    """For the way to the caller."""
    return RankFailure(
        kind=type(error).__name__,
        code=error.code,
        message=error.message,
        remedy=error.remedy,
        where=error.where,
    )


def as_error(failure: RankFailure) -> SanitizerError:
    """The same error again."""
    kind = getattr(errors, failure.kind)
    error: SanitizerError = kind(failure.code, failure.message, failure.remedy, where=failure.where)
    return error
