"""What can be deleted and why. Knows no table and no store."""

from __future__ import annotations

from enum import StrEnum


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
