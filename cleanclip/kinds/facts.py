"""What is known of an order before anything is computed, and of an opened model or dataset: what `check` of a
kind reads. Where a dry run or a child knows less, less is checked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cleanclip.vocabulary.anchors import Model


@dataclass(frozen=True, kw_only=True)
class Data:
    """Of a dataset. None: not known."""

    kind: str | None = None
    sha256: str | None = None
    num_good: int | None = None
    class_names: Sequence[str] | None = None
    num_classes_used: int | None = None
    """That have images."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """The keys of the mappings are columns of a job's row (`Input.column`)."""

    options: Any
    """Of the kind's own part of the order."""
    named: Mapping[str, str] = field(default_factory=dict)
    """Ids of what the order names, also of what is not known yet."""
    models: Mapping[str, Model] = field(default_factory=dict)
    data: Mapping[str, Data] = field(default_factory=dict)
