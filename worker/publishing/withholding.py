"""Withholds labelled images from a job's child, before it runs: a second audit measures on them.

A child that is taken over can fit the weights that it hands in to every image that it has. A fresh child,
which reads no weights and decodes no image, parts the samples in two shards. Which are withheld follows from
the dataset alone: so no job's child ever has those of another job on the same data, nor an attempt those of
an earlier one, whose saved state goes on.
"""

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath

from cleanclip.evidence.statement import dataset_sha256
from cleanclip.kinds.kind import trained_on_the_test
from cleanclip.vocabulary.jobspec import (
    GIVEN_NAME,
    LABELLED_PATH,
    PAIRS_PATH,
    TRAINING_PATH,
    WITHHELD_NAME,
    LabelledPart,
    WithholdSpec,
    exclude_path,
)
from cleanclip.vocabulary.withholding import num_withheld, seed_of
from worker.failures import AttemptFailed
from worker.publishing.fresh_child import Fresh, take_input
from worker.staging.stage import Received, Staged, WithheldImages, ordered_as
from worker.staging.transfer import file_sha256, interruptible

_EXCLUDED = exclude_path("labelled")


def withhold(
    staged: Staged, fresh: Fresh, *, job_folder: Path, aside: Path, check: Callable[[], None]
) -> Staged:
    """Leave only a part of the labelled images in `job_folder`, and the rest in `aside`; what is staged then.

    Unchanged where the set is too small. Raises AttemptFailed, Stopped, OSError.
    """
    spec, known = staged.judged, staged.known
    labelled = next((one for one in staged.datasets if one["role"] == "labelled"), None)
    if spec is None or known is None or labelled is None:
        return staged
    num = num_withheld(labelled["num_samples"] or 0)
    if num == 0:
        return staged
    _check_apart(staged)
    files = [one for one in staged.received if PurePosixPath(one.path).parent == PurePosixPath(LABELLED_PATH)]
    lists = [one for one in staged.received if one.path == _EXCLUDED]
    of_set = dataset_sha256("labelled", {PurePosixPath(one.path).name: one.sha256 for one in files})
    order = WithholdSpec(num=num, seed=seed_of(of_set), exclude=bool(lists))
    place = fresh.folder_of(order)
    for one in (*files, *lists):
        take_input(job_folder, one, place, check)
    left = fresh.run(order, {}, {GIVEN_NAME: None, WITHHELD_NAME: None})
    shards = {path.name: path for path in left.files}
    aside.mkdir(mode=0o700)
    texts = [one for one in files if not one.path.endswith(".tar")]
    for one in texts:
        take_input(place, one, job_folder, check)
        shutil.copyfile(job_folder / one.path, aside / PurePosixPath(one.path).name)
    os.replace(shards[WITHHELD_NAME], aside / WITHHELD_NAME)
    given = job_folder / LABELLED_PATH / GIVEN_NAME
    os.replace(shards[GIVEN_NAME], given)
    shutil.rmtree(place)
    part = LabelledPart(
        dataset_sha256=of_set, num_withheld=num, excluded=known.excluded.get("labelled") if lists else None
    )
    spec = replace(
        spec, exclude=tuple(role for role in spec.exclude if role != "labelled"), labelled_part=part
    )
    staged = ordered_as(staged, job_folder, spec)
    shard = Received(
        path=f"{LABELLED_PATH}/{GIVEN_NAME}",
        size_bytes=given.stat().st_size,
        sha256=interruptible(partial(file_sha256, given), check),
    )
    return replace(
        staged,
        datasets=tuple(
            {**one, "num_samples": one["num_samples"] - num} if one is labelled else one
            for one in staged.datasets
        ),
        known=replace(known, num_labelled=max(0, known.num_labelled - num)),
        withheld=WithheldImages(files=tuple(sorted(aside.iterdir())), given=(*texts, shard)),
    )


def _check_apart(staged: Staged) -> None:
    """That no shard of the labelled images is one to train on, under whatever id. Raises AttemptFailed."""
    if _shards(staged, PAIRS_PATH, TRAINING_PATH) & _shards(staged, LABELLED_PATH):
        refusal = trained_on_the_test()
        raise AttemptFailed(refusal.code, refusal.message, refusal.remedy)


def _shards(staged: Staged, *folders: str) -> set[str]:
    """Their digests."""
    return {
        one.sha256
        for one in staged.received
        if one.path.endswith(".tar") and str(PurePosixPath(one.path).parent) in folders
    }
