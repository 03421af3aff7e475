"""What the fetching process is told, and what it answers: two small JSON files in its folder."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

ERRAND_NAME, ANSWER_NAME, FETCHED_NAME = "errand.json", "answer.json", "fetched"
Sha1 = Annotated[str, Field(pattern="^[0-9a-f]{40}$")]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Code = Literal[
    "source_not_found",
    "source_not_public",
    "source_leads_elsewhere",
    "source_unreachable",
    "source_too_large",
    "source_too_slow",
    "source_changed",
    "source_without_weights",
    "source_not_understood",
]


CONFIGURATIONS = ("open_clip_config.json", "config.json", "preprocessor_config.json")
"""What a hub keeps beside weights, and a model's folder says what the tensors do not."""


@dataclass(frozen=True, kw_only=True)
class Beside:
    """A configuration in the folder of the pinned file."""

    name: Literal["open_clip_config.json", "config.json", "preprocessor_config.json"]
    size_bytes: Annotated[int, Field(ge=0, lt=2**63)] | None = None
    sha256: Sha256 | None = None
    git_sha1: Sha1 | None = None


@dataclass(frozen=True, kw_only=True)
class Pinned:
    """What a source was found to be before any byte of it came: later bytes are held against it.

    A hub tells commit, path and size, the SHA-256 of what it keeps apart (LFS), and git's SHA-1 of the rest.
    """

    commit: Sha1 | None = None
    path: Annotated[str, Field(max_length=2048)] | None = None
    size_bytes: Annotated[int, Field(ge=0, lt=2**63)] | None = None
    sha256: Sha256 | None = None
    git_sha1: Sha1 | None = None
    beside: Annotated[tuple[Beside, ...], Field(max_length=len(CONFIGURATIONS))] = ()


@dataclass(frozen=True, kw_only=True)
class Errand:
    """One thing to do. `pinned` None: ask the hub what the source is; else bring it."""

    source: str
    pinned: Pinned | None = None
    hub_url: str
    allowed_hosts: tuple[str, ...]
    denied_networks: tuple[str, ...]
    allow_loopback: bool
    max_bytes: int
    timeout_s: float
    min_bytes_per_s: float
    """A slower server is left."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """`pinned` where the errand was done, else `code`; `said` is quoted from the process."""

    pinned: Pinned | None = None
    code: Code | None = None
    said: Annotated[str, Field(max_length=1000)] = ""


ERRAND = TypeAdapter(Errand)
ANSWER = TypeAdapter(Answer)
