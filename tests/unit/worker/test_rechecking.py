"""A second audit: when it is made, what it is given, and what it makes of other figures."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from app.domain.states import JobKind, JobPhase
from cleanclip.spec.jobspec import RECHECKED_ADAPTER, AuditSpec, RecheckedFigures, SanitizeSpec
from cleanclip.spec.progress import Advanced, ProgressEvent
from cleanclip.spec.recipe import AuditOptions, CleanCLIPRecipe
from cleanclip.spec.report import AuditFigures, Report
from cleanclip.spec.settled import COMPARED, SettledArchitecture
from sanitizer.audits.statistics import wilson
from tests.fixtures.evidence import ENDED_AT, left_by_a_child
from worker.confinement.outcome import Wanted
from worker.failures import AttemptFailed
from worker.publishing.believing import believe_report
from worker.publishing.fresh_child import FreshSpec, Left
from worker.publishing.packing import Packing
from worker.publishing.rechecking import confirm, differences, share_of_job
from worker.publishing.statement import Recheck
from worker.staging.stage import Staged
from worker.tracker import Tracker

Change = Callable[[AuditFigures], AuditFigures]


@dataclass
class Auditor:
    """In place of a fresh child: finds what the report says, but for a `change`."""

    folder: Path
    report: Report
    change: Change = lambda figures: figures
    architecture: SettledArchitecture | None = None
    failure: AttemptFailed | None = None
    uses_cuda: bool = False
    seen: tuple[str, ...] = ()

    def folder_of(self, _spec: FreshSpec) -> Path:
        return self.folder

    def run(
        self,
        _spec: FreshSpec,
        inputs: Mapping[str, Path],
        _wanted: Wanted,
        *,
        hear: Callable[[ProgressEvent], None],
    ) -> Left:
        moved = [str(path.relative_to(self.folder)) for path in self.folder.rglob("*") if path.is_file()]
        self.seen = tuple(sorted([*moved, *inputs]))
        if self.failure is not None:
            raise self.failure
        hear(Advanced(phase="final_audit", done=1, total=4))
        figures = self.change(self.report.after or self.report.before)
        architecture = self.architecture or self.report.architecture
        assert architecture is not None
        found = RecheckedFigures(figures=figures, architecture=architecture)
        path = self.folder / "figures.json"
        path.write_bytes(RECHECKED_ADAPTER.dump_json(found))
        return Left(files=(path,), notes=())


class Job:
    """A job whose child has ended, with a checked report."""

    def __init__(self, folder: Path, kind: str = "sanitize", *, recheck: bool | None = True) -> None:
        staged, outputs = left_by_a_child(folder, kind=kind)
        document = json.loads((outputs / "report.json").read_bytes())
        document["audit"]["recheck"] = recheck
        (outputs / "report.json").write_text(json.dumps(document))
        assert isinstance(staged.spec, SanitizeSpec | AuditSpec)
        spec = replace(staged.spec, audit=replace(staged.spec.audit, recheck=recheck))
        self.staged: Staged = replace(staged, spec=spec)
        self.inputs = folder / "job"
        self.packing = Packing(sorted(outputs.iterdir()), folder / "package", lambda: None)
        assert staged.known is not None
        self.report = believe_report(
            self.packing.path("report.json").read_bytes(),
            spec,
            staged.known,
            cleaned_sha256=self.packing.sha256.get("model.safetensors"),
            at=datetime.fromisoformat(ENDED_AT),
            uses_cuda=False,
        )
        self.auditor = Auditor(folder / "fresh", self.report)
        self.tracker = Tracker(JobKind(kind))

    def confirm(self, *, signs: bool = False, is_resumed: bool = False) -> Recheck:
        return confirm(
            self.packing,
            self.staged,
            self.report,
            self.auditor,
            inputs=self.inputs,
            signs=signs,
            is_resumed=is_resumed,
            tracker=self.tracker,
            check=lambda: None,
        )

    def refusal(self) -> AttemptFailed:
        with pytest.raises(AttemptFailed) as failed:
            self.confirm()
        return failed.value


def other_count(num_images: int) -> Change:
    """So many images fewer are classified right."""

    def change(figures: AuditFigures) -> AuditFigures:
        return replace(figures, ca=wilson(figures.ca.successes - num_images, figures.ca.n))

    return change


def test_a_second_audit_is_given_weights_and_test_data_and_nothing_that_came_from_the_upload(
    tmp_path: Path,
) -> None:
    job = Job(tmp_path)
    job.tracker.begin(JobPhase.PUBLISH)
    assert job.confirm() == Recheck(done=True, why="ordered", figures="after", tolerated_share=0.0)
    assert job.auditor.seen == (
        "inputs/checkpoint/config.json",
        "inputs/checkpoint/model.safetensors",
        "inputs/cleaned/config.json",
        "inputs/cleaned/model.safetensors",
        "inputs/labelled/0.tar",
        "inputs/labelled/1.tar",
        "inputs/labelled/classnames.txt",
        "inputs/retrieval/0.tar",
    )
    assert job.tracker.take_notes()[-1]["message"].startswith("A second audit, in a process that never read")
    assert job.tracker.snapshot()[1]["message"] == "Checking the figures again."


@pytest.mark.parametrize("kind", ["sanitize", "audit"])
def test_one_image_that_is_counted_otherwise_fails_the_job(kind: str, tmp_path: Path) -> None:
    job = Job(tmp_path, kind)
    job.auditor.change = other_count(1)
    failed = job.refusal()
    assert (failed.code, failed.retry_in_s) == ("figures_not_confirmed", None)
    assert failed.message.endswith("it differs at ca.")


def settled_anew(job: Job, option: str, **changes: Any) -> SettledArchitecture:
    """What the report says, but for one setting."""
    told = job.report.architecture
    assert told is not None
    settings = [replace(one, **changes) if one.option == option else one for one in told.settings]
    return replace(told, settings=tuple(settings))


@pytest.mark.parametrize("kind", ["sanitize", "audit"])
@pytest.mark.parametrize("uses_cuda", [False, True])
@pytest.mark.parametrize("option", COMPARED)
def test_heads_or_activation_that_a_fresh_child_settles_otherwise_fail_the_job(
    option: str, uses_cuda: bool, kind: str, tmp_path: Path
) -> None:
    """Under wrong ones poisoned weights could look clean: those of a cleaning are measured again, too."""
    job = Job(tmp_path, kind)
    job.auditor.uses_cuda = uses_cuda
    job.auditor.architecture = settled_anew(job, option, value="7")
    failed = job.refusal()
    assert (failed.code, "architecture" in failed.message) == ("figures_not_confirmed", True)


@pytest.mark.parametrize("on", ["a CPU", "a CPU, it claims another before", "CUDA", "another machine before"])
def test_on_a_cpu_the_figures_by_which_a_setting_is_settled_are_compared_to_the_bit(
    on: str, tmp_path: Path
) -> None:
    job = Job(tmp_path)
    job.auditor.uses_cuda = on == "CUDA"
    if "claims" in on:
        assert job.report.training is not None
        training = replace(job.report.training, resumed_from_steps=(10,))
        job.report = replace(job.report, training=training)
    told = job.report.architecture
    assert told is not None
    job.auditor.architecture = replace(told, chance=0.5000001)
    if on.startswith("a CPU"):
        assert "architecture" in job.refusal().message
    else:
        assert job.confirm(is_resumed=on == "another machine before").done


def test_a_child_that_changed_its_test_images_is_found_out(tmp_path: Path) -> None:
    job = Job(tmp_path)
    path = job.inputs / "inputs/labelled/0.tar"
    path.write_bytes(path.read_bytes()[::-1])
    assert "changed its own inputs" in job.refusal().message


def test_no_file_is_taken_through_a_link_out_of_the_childs_folder(tmp_path: Path) -> None:
    job = Job(tmp_path)
    folder = job.inputs / "inputs/labelled"
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    assert "changed its own inputs" in job.refusal().message
    assert (tmp_path / "elsewhere/0.tar").exists()


@pytest.mark.parametrize(
    ("code", "retry_in_s", "expected"),
    [("child_killed", 30.0, "child_killed"), ("settings_at_chance", None, "figures_not_confirmed")],
)
def test_an_outage_is_tried_again_and_a_refusal_confirms_nothing(
    code: str, retry_in_s: float | None, expected: str, tmp_path: Path
) -> None:
    job = Job(tmp_path)
    job.auditor.failure = AttemptFailed(code, "M.", "R.", retry_in_s=retry_in_s)
    failed = job.refusal()
    assert (failed.code, failed.retry_in_s) == (expected, retry_in_s)


@pytest.mark.parametrize("num_images", [1, 2])
def test_on_cuda_and_in_bf16_one_image_of_200_may_be_counted_otherwise(
    num_images: int, tmp_path: Path
) -> None:
    """Of the 300 of this figure one, not two."""
    job = Job(tmp_path)
    job.auditor.uses_cuda = True
    job.auditor.change = other_count(num_images)
    if num_images == 1:
        assert job.confirm().tolerated_share == 0.005
    else:
        assert job.refusal().message.endswith("it differs at ca.")


def test_with_a_tolerance_every_share_is_still_compared(tmp_path: Path) -> None:
    report = Job(tmp_path).report
    told, architecture = report.after, report.architecture
    assert told is not None
    assert architecture is not None

    def move(value: Any) -> Any:
        """The same figures with ten images more or fewer in each share."""
        if isinstance(value, dict) and "successes" in value:
            by = 10 if value["successes"] + 10 <= value["n"] else -10
            return value | {"successes": value["successes"] + by}
        if isinstance(value, dict):
            return {name: move(one) for name, one in value.items()}
        return [move(one) for one in value] if isinstance(value, list) else value

    unmoved = replace(architecture, ca=None, settings=())
    document = json.loads(RECHECKED_ADAPTER.dump_json(RecheckedFigures(figures=told, architecture=unmoved)))
    found = RECHECKED_ADAPTER.validate_python(move(document)).figures
    places = list(differences(told, found, 0.005, ()))
    assert len(places) == json.dumps(document).count('"successes"') > 50
    assert list(differences(told, told, 0.005, ())) == []


def test_without_an_order_a_second_audit_is_made_where_it_is_signed_and_cheap(tmp_path: Path) -> None:
    options = AuditOptions(target="x")
    spec = SanitizeSpec(recipe=CleanCLIPRecipe(), audit=options)
    sizes = {"pairs": 100_000, "labelled": 10_000}
    assert share_of_job(spec, sizes) < 0.1 < share_of_job(spec, sizes | {"pairs": 10_000})
    assert share_of_job(AuditSpec(audit=options), sizes) == 1.0
    job = Job(tmp_path, recheck=None)
    assert job.confirm(signs=False) == Recheck(done=False, why="not_signed")
    assert job.confirm(signs=True) == Recheck(done=False, why="costs_too_much")
    many = tuple(dict(one) | {"num_samples": 10**6} for one in job.staged.datasets if one["role"] == "pairs")
    job.staged = replace(job.staged, datasets=many)
    assert job.confirm(signs=True).why == "by_default"
