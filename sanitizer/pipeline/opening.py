"""Opens what an audit or a cleaning is given, and refuses what cannot be used before anything is computed."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cleanclip.kinds.kind import trained_on_the_test
from cleanclip.vocabulary import exclusions
from cleanclip.vocabulary.jobspec import JudgedSpec, RecheckSpec
from cleanclip.vocabulary.recipe import Recipe
from sanitizer.attacks.catalogue import build_triggers
from sanitizer.audits.gallery import too_few_for_retrieval
from sanitizer.audits.targets import find_targets
from sanitizer.checkpoints.model import LoadedCheckpoint, load_canonical
from sanitizer.data.excluding import Dataset, read_exclusions, without
from sanitizer.data.labelled import LabelledDataset, open_labelled
from sanitizer.data.pairs import PairDataset, open_pairs, refuse_equal_captions
from sanitizer.data.training_data import LabelsAsCaptions
from sanitizer.pipeline.places import Places


@dataclass(frozen=True, kw_only=True)
class ForAudit:
    """What both audits of a job read."""

    checkpoint: LoadedCheckpoint
    labelled: LabelledDataset
    retrieval: PairDataset | None


class ToExclude:
    """The lists of samples to leave out that an order gives. Each is of one of the datasets that it uses."""

    def __init__(self, paths: Sequence[Path]) -> None:
        """Raises OptionsRejected `exclusions_unreadable`."""
        self.paths = tuple(paths)
        self._unused = [read_exclusions(path) for path in paths]

    def of(self, dataset: Dataset) -> Dataset:
        """The dataset without what its lists name. Raises as `excluding.without` does."""
        mine = [one for one in self._unused if one.exclusions.dataset_sha256 == dataset.files_sha256]
        self._unused = [one for one in self._unused if one not in mine]
        if len(mine) > 1:
            raise exclusions.given_twice()
        return without(dataset, mine[0]) if mine else dataset

    @property
    def unused(self) -> list[Path]:
        """Those that are of none of the datasets so far."""
        return [one.path for one in self._unused]

    def check_all_used(self) -> None:
        """Raises OptionsRejected `exclusions_of_another_dataset` where a list is of no dataset that was
        given."""
        if self._unused:
            raise exclusions.of_another_dataset(self._unused[0].exclusions.dataset_sha256)


def open_for_audit(places: Places, spec: JudgedSpec | RecheckSpec, exclude: ToExclude) -> ForAudit:
    """Raises CheckpointRejected, DatasetRejected, OptionsRejected."""
    labelled = open_labelled(places.data)
    part = spec.labelled_part
    labelled = exclude.of(labelled) if part is None else labelled.as_part(part)
    find_targets(spec.audit, labelled.class_names)
    build_triggers(spec.audit.attacks)  # an image that cannot be used is refused now
    checkpoint = load_canonical(places.checkpoint)
    retrieval = None if places.retrieval is None else _open_retrieval(places.retrieval, checkpoint, exclude)
    return ForAudit(checkpoint=checkpoint, labelled=labelled, retrieval=retrieval)


def _tokens_by(checkpoint: LoadedCheckpoint) -> Callable[[str], Hashable]:
    """What the model sees of a caption."""
    return lambda caption: tuple(checkpoint.tokenize([caption])[0].tolist())


def _open_retrieval(path: Path, checkpoint: LoadedCheckpoint, exclude: ToExclude) -> PairDataset:
    pairs = exclude.of(open_pairs(path))
    if len(pairs) < 2:
        raise too_few_for_retrieval()
    refuse_equal_captions(pairs, _tokens_by(checkpoint))
    return pairs


def open_training_data(path: Path, recipe: Recipe, exclude: ToExclude) -> PairDataset | LabelsAsCaptions:
    """What the recipe's method trains on. Raises DatasetRejected, OptionsRejected."""
    if recipe.training_data == "pairs":
        return exclude.of(open_pairs(path))
    return LabelsAsCaptions(exclude.of(open_labelled(path)))


def open_training(
    path: Path, recipe: Recipe, test: ForAudit, exclude: ToExclude
) -> PairDataset | LabelsAsCaptions:
    """Raises DatasetRejected, also where what is to be trained on is what the audits measure on;
    OptionsRejected where a list of exclusions is of no dataset that was given."""
    data = open_training_data(path, recipe, exclude)
    exclude.check_all_used()
    measured: PairDataset | LabelledDataset | None
    if isinstance(data, PairDataset):
        refuse_equal_captions(data, _tokens_by(test.checkpoint))
        measured = test.retrieval
    else:
        measured = test.labelled
    if measured is not None and data.files_sha256 == measured.files_sha256:
        raise trained_on_the_test()
    return data
