"""Opens what an audit or a cleaning is given, and refuses what cannot be used before anything is computed."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from pathlib import Path

from cleanclip.spec.errors import DatasetRejected
from cleanclip.spec.recipe import AuditOptions, OrderedRecipe
from sanitizer.attacks.catalogue import build_triggers
from sanitizer.audits.targets import find_targets
from sanitizer.checkpoints.model import LoadedCheckpoint, load_canonical
from sanitizer.data.labelled import LabelledDataset, open_labelled
from sanitizer.data.pairs import PairDataset, open_pairs, refuse_equal_captions
from sanitizer.data.training_data import LabelsAsCaptions, TrainingData


@dataclass(frozen=True, kw_only=True)
class ForAudit:
    """What both audits of a job read."""

    checkpoint: LoadedCheckpoint
    labelled: LabelledDataset
    retrieval: PairDataset | None


def open_for_audit(
    checkpoint_folder: Path, labelled_path: Path, retrieval_path: Path | None, options: AuditOptions
) -> ForAudit:
    """Raises CheckpointRejected, DatasetRejected, OptionsRejected."""
    labelled = open_labelled(labelled_path)
    find_targets(options, labelled.class_names)
    build_triggers(options.attacks)  # an image that cannot be used is refused now
    checkpoint = load_canonical(checkpoint_folder)
    retrieval = None if retrieval_path is None else _open_retrieval(retrieval_path, checkpoint)
    return ForAudit(checkpoint=checkpoint, labelled=labelled, retrieval=retrieval)


def _tokens_by(checkpoint: LoadedCheckpoint) -> Callable[[str], Hashable]:
    """What the model sees of a caption."""
    return lambda caption: tuple(checkpoint.tokenize([caption])[0].tolist())


def _open_retrieval(path: Path, checkpoint: LoadedCheckpoint) -> PairDataset:
    pairs = open_pairs(path)
    if len(pairs) < 2:
        raise DatasetRejected(
            "too_few_for_retrieval",
            "The retrieval set holds one pair, so retrieval cannot be measured.",
            "Give more pairs; recall is meaningful from a few hundred pairs on.",
        )
    refuse_equal_captions(pairs, _tokens_by(checkpoint))
    return pairs


def open_training_data(path: Path, recipe: OrderedRecipe) -> PairDataset | LabelsAsCaptions:
    """What the recipe's method trains on. Raises DatasetRejected."""
    return open_pairs(path) if recipe.training_data == "pairs" else LabelsAsCaptions(open_labelled(path))


def open_training(path: Path, recipe: OrderedRecipe, test: ForAudit) -> TrainingData:
    """Raises DatasetRejected, also where what is to be trained on is what the audits measure on."""
    data = open_training_data(path, recipe)
    measured: PairDataset | LabelledDataset | None
    if isinstance(data, PairDataset):
        refuse_equal_captions(data, _tokens_by(test.checkpoint))
        measured, what = test.retrieval, "pairs"
    else:
        measured, what = test.labelled, "labelled images"
    if measured is not None and data.sha256 == measured.sha256:
        raise DatasetRejected(
            "trained_on_the_test",
            f"The {what} to train on are those of the audit, so the audit would show nothing.",
            f"Give other {what} for training.",
        )
    return data
