"""What can be deleted and why, and what lies where of it."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class DeletionSubject(StrEnum):
    UPLOAD = "upload"
    CHECKPOINT = "checkpoint"
    DATASET = "dataset"
    JOB = "job"
    JOB_OUTPUTS = "job_outputs"
    """The files of a finished job, which itself stays: what retention takes."""
    PROJECT = "project"


class DeletionReason(StrEnum):
    REQUESTED = "requested"
    """By a key of the project."""
    RETENTION = "retention"
    OPERATOR = "operator"


@dataclass(frozen=True, kw_only=True)
class DeletionPlan:
    """The places of the object store that must be empty afterwards: folders (`…/`) and single keys."""

    places: tuple[str, ...]
    digests: tuple[dict[str, Any], ...]
    """[{"name", "sha256", "size_bytes"}], as far as they are known."""
