"""What the service knows of a job's checkpoint and data, apart from any child. Holds no code."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cleanclip.vocabulary.audit_figures import AuditFigures
from cleanclip.vocabulary.exclusions import ExcludedSamples
from cleanclip.vocabulary.null_set import Chosen, NullSet
from cleanclip.vocabulary.report_inputs import CheckpointInput, Origin
from worker.staging.weights import Tensors


@dataclass(frozen=True, kw_only=True)
class Known:
    """What we know of a job's checkpoint and data, before a child has seen them."""

    checkpoint: CheckpointInput
    """As reports have it: digests that we computed, and what the inspection found."""
    config: Mapping[str, Any]
    """The canonical config.json."""
    tensors: Tensors
    """Of the canonical weights."""
    origin: Origin | None = None
    class_names: tuple[str, ...] | None = None
    """Of the labelled set, by its validation."""
    null: NullSet | None = None
    """That a scan is judged by."""
    null_chosen: Chosen | None = None
    """By whom, when the scan was ordered."""
    anchor: CheckpointInput | None = None
    """A second checkpoint, which is trusted."""
    anchor_config: Mapping[str, Any] = field(default_factory=dict)
    """Its canonical config.json."""
    excluded: Mapping[str, ExcludedSamples] = field(default_factory=dict)
    """What is left out of which dataset, by its role."""
    num_skipped: Mapping[str, int] = field(default_factory=dict)
    """How many samples of which dataset its validation could not read, by its role: no job skips more."""
    before: AuditFigures | None = None
    """What the child of this attempt said of its first audit while it ran. Its report must say the same."""
    num_labelled: int = 0
    """Its readable images, where they are most of it: then enough are drawn. 0: not known."""
