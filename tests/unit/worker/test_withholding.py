"""What the supervisor leaves a job's child of the labelled images, and what it keeps from it."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from cleanclip.evidence.statement import dataset_sha256
from cleanclip.kinds.specs import SPEC_ADAPTER
from cleanclip.vocabulary.jobspec import (
    GIVEN_NAME,
    WITHHELD_NAME,
    AuditSpec,
    SanitizeSpec,
    WithholdSpec,
)
from cleanclip.vocabulary.progress import ProgressEvent, ignore
from cleanclip.vocabulary.withholding import FEWEST, seed_of
from tests.fixtures.evidence import left_by_a_child
from worker.confinement.outcome import Wanted
from worker.failures import AttemptFailed
from worker.publishing.fresh_child import FreshSpec, Left
from worker.publishing.withholding import withhold
from worker.staging.stage import Staged
from worker.staging.transfer import file_sha256

LABELLED = "inputs/labelled"


class Parter:
    """In place of a fresh child: two shards of its own."""

    uses_cuda = False

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.order: WithholdSpec | None = None
        self.seen: list[str] = []

    def folder_of(self, _spec: FreshSpec) -> Path:
        return self.folder / "job"

    def run(
        self,
        spec: FreshSpec,
        inputs: Mapping[str, Path],
        wanted: Wanted,
        *,
        hear: Callable[[ProgressEvent], None] = ignore,
    ) -> Left:
        assert isinstance(spec, WithholdSpec)
        assert not inputs
        self.order = spec
        job = self.folder_of(spec)
        self.seen = sorted(str(path.relative_to(job)) for path in job.rglob("*") if path.is_file())
        for name in wanted:
            (self.folder / name).write_text(f"the shard {name}")
        return Left(files=tuple(self.folder / name for name in wanted), notes=())


def staged_with(folder: Path, num_samples: int, kind: str = "sanitize") -> Staged:
    staged, _ = left_by_a_child(folder, kind=kind)
    datasets = tuple(
        {**one, "num_samples": num_samples} if one["role"] == "labelled" else one for one in staged.datasets
    )
    return replace(staged, datasets=datasets)


def withheld(folder: Path, staged: Staged, fresh: Parter) -> Staged:
    return withhold(staged, fresh, job_folder=folder / "job", aside=folder / "withheld", check=lambda: None)


@pytest.mark.parametrize("kind", ["sanitize", "audit"])
def test_a_childs_folder_holds_a_part_of_the_images_and_its_order_says_so(kind: str, tmp_path: Path) -> None:
    staged, fresh = staged_with(tmp_path, 2 * FEWEST, kind), Parter(tmp_path / "fresh")
    whole = {
        Path(one.path).name: one.sha256 for one in staged.received if one.path.startswith(f"{LABELLED}/")
    }
    left = withheld(tmp_path, staged, fresh)
    digest = dataset_sha256("labelled", whole)
    assert fresh.order == WithholdSpec(num=FEWEST, seed=seed_of(digest))
    assert fresh.seen == [f"{LABELLED}/{name}" for name in ("0.tar", "1.tar", "classnames.txt")]
    folder = tmp_path / "job" / LABELLED
    assert sorted(path.name for path in folder.iterdir()) == ["classnames.txt", GIVEN_NAME]
    assert sorted(path.name for path in (tmp_path / "withheld").iterdir()) == [
        "classnames.txt",
        WITHHELD_NAME,
    ]
    assert not fresh.folder_of(fresh.order).exists(), "nobody needs the whole set any more"
    spec = SPEC_ADAPTER.validate_python(json.loads((tmp_path / "job/spec.json").read_bytes()))
    assert spec == left.spec
    assert isinstance(spec, SanitizeSpec | AuditSpec)
    assert spec.labelled_part is not None
    assert (spec.labelled_part.dataset_sha256, spec.labelled_part.num_withheld) == (digest, FEWEST)
    assert next(one for one in left.datasets if one["role"] == "labelled")["num_samples"] == FEWEST
    assert left.received == staged.received, "the statement names the files of the whole set"
    assert left.withheld is not None
    assert {one.path: one.sha256 for one in left.withheld.given} == {
        f"{LABELLED}/{name}": file_sha256(folder / name) for name in ("classnames.txt", GIVEN_NAME)
    }


def test_of_too_few_images_none_are_withheld(tmp_path: Path) -> None:
    staged, fresh = staged_with(tmp_path, 2 * FEWEST - 1), Parter(tmp_path / "fresh")
    assert withheld(tmp_path, staged, fresh) is staged
    assert fresh.order is None


def test_images_to_train_on_that_are_the_test_images_under_another_id_are_refused(tmp_path: Path) -> None:
    staged, fresh = staged_with(tmp_path, 2 * FEWEST), Parter(tmp_path / "fresh")
    shard = next(one for one in staged.received if one.path == f"{LABELLED}/1.tar")
    copied = replace(shard, path="inputs/pairs/another.tar")
    with pytest.raises(AttemptFailed) as refused:
        withheld(tmp_path, replace(staged, received=(*staged.received, copied)), fresh)
    assert refused.value.code == "trained_on_the_test"
