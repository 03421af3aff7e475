"""Sentences on an order that may disappoint, for which a model must be at hand; the others are `cautions`.

Trains nothing.
"""

from __future__ import annotations

from typing import TypedDict

from cleanclip.spec.audit_figures import AuditFigures
from cleanclip.spec.judging import hopeless
from cleanclip.spec.recipe import Policy, PolicySource
from cleanclip.spec.recommended import Family, Size, size_of
from cleanclip.spec.scan_section import ScanSection
from sanitizer.checkpoints.architecture import ModifiedResNet
from sanitizer.checkpoints.model import LoadedCheckpoint


class Model(TypedDict):
    """What recommendations are told apart by."""

    family: Family
    size: Size | None


def model_of(checkpoint: LoadedCheckpoint) -> Model:
    """Family and size of a checkpoint's model."""
    is_resnet = isinstance(checkpoint.architecture.vision, ModifiedResNet)
    return Model(
        family="ModifiedResNet" if is_resnet else "VisionTransformer",
        size=size_of(sum(parameter.numel() for parameter in checkpoint.model.parameters())),
    )


def hopeless_or_refused(
    before: AuditFigures, gate: float, policy: Policy, source: PolicySource, scan: ScanSection | None
) -> list[str]:
    """That nothing could pass. Raises OptionsRejected where it is by limits that somebody gave."""
    refusals = hopeless(before, gate=gate, policy=policy, scan=scan)
    if refusals and source.given != "default":
        raise refusals[0]
    return [refusal.message for refusal in refusals]
