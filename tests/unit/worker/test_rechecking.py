"""A second audit: when it is made, what it is given, and what it makes of other figures."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from app.domain.states import JobKind, JobPhase
from cleanclip.vocabulary.audit_figures import AuditFigures, Measured, Withheld
from cleanclip.vocabulary.control import ControlFigures
from cleanclip.vocabulary.jobspec import (
    RECHECKED_ADAPTER,
    AuditSpec,
    RecheckedFigures,
    RecheckSpec,
    SanitizeSpec,
)
from cleanclip.vocabulary.progress import Advanced, ProgressEvent
from cleanclip.vocabulary.report import Report, dump_json
from cleanclip.vocabulary.settled import COMPARED, SettledArchitecture
from sanitizer.audits.statistics import wilson
from tests.fixtures.evidence import ENDED_AT, claimed_job, left_by_a_child
from tests.fixtures.made_reports import newcombe, searched
from worker.confinement.outcome import Wanted
from worker.failures import AttemptFailed
from worker.publishing.checking import check_report
from worker.publishing.ending import Publication
from worker.publishing.fresh_child import FreshSpec, Left
from worker.publishing.packing import Packing
from worker.publishing.rechecking import confirm, differences
from worker.publishing.statement import Recheck
from worker.staging.stage import Staged, WithheldImages
from worker.tracker import Tracker

Change = Callable[[Measured], Measured]


@dataclass
class Auditor:
    """In place of a fresh child: finds what the report says, but for a `change`."""

    folder: Path
    report: Report
    change: Change = lambda measured: measured
    architecture: SettledArchitecture | None = None
    withheld: Withheld | None = None
    control: ControlFigures | None = None
    failure: AttemptFailed | None = None
    uses_cuda: bool = False
    seen: tuple[str, ...] = ()

    def folder_of(self, _spec: FreshSpec) -> Path:
        return self.folder

    def run(
        self,
        spec: FreshSpec,
        inputs: Mapping[str, Path],
        _wanted: Wanted,
        *,
        hear: Callable[[ProgressEvent], None],
    ) -> Left:
        assert isinstance(spec, RecheckSpec)
        self.order = spec
        moved = [str(path.relative_to(self.folder)) for path in self.folder.rglob("*") if path.is_file()]
        self.seen = tuple(sorted([*moved, *inputs]))
        if self.failure is not None:
            raise self.failure
        hear(Advanced(phase="final_audit", done=1, total=4))
        found = RecheckedFigures(
            measured=self.change(self.report.measured),
            rebound=self.report.rebound,
            architecture=self.architecture or self.report.architecture,
            withheld=self.withheld,
            control=self.control,
        )
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
        self.report = check_report(
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
        work = Publication(
            job=claimed_job(self.staged.spec.kind),
            packing=self.packing,
            staged=self.staged,
            inputs=self.inputs,
            fresh=self.auditor,
            signs=signs,
            is_resumed=is_resumed,
            ended_at=ENDED_AT,
            tracker=self.tracker,
            check=lambda: None,
        )
        self.published, recheck = confirm(work, self.report)
        return recheck

    def refusal(self) -> AttemptFailed:
        with pytest.raises(AttemptFailed) as failed:
            self.confirm()
        return failed.value


def other_count(num_images: int, side: str = "before") -> Change:
    """So many images fewer are classified right."""

    def change(measured: Measured) -> Measured:
        audit: AuditFigures = getattr(measured, side)
        fewer = replace(audit, ca=wilson(audit.ca.successes - num_images, audit.ca.n))
        return replace(measured, **{side: fewer})

    return change


def test_a_second_audit_is_given_weights_and_test_data_and_nothing_that_came_from_the_upload(
    tmp_path: Path,
) -> None:
    job = Job(tmp_path)
    job.tracker.begin(JobPhase.PUBLISH)
    assert job.confirm() == Recheck(done=True, why="ordered", tolerated_share=0.0)
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


@pytest.mark.parametrize(
    ("kind", "side"), [("sanitize", "before"), ("sanitize", "after"), ("audit", "before")]
)
def test_one_image_that_is_counted_otherwise_fails_the_job(kind: str, side: str, tmp_path: Path) -> None:
    """A verdict hangs on the audit before a cleaning as well: what never worked is not removed."""
    job = Job(tmp_path, kind)
    job.auditor.change = other_count(1, side)
    failed = job.refusal()
    assert (failed.code, failed.retry_in_s) == ("figures_not_confirmed", None)
    assert failed.message.endswith(f"it differs at {side}.ca.")


@pytest.mark.parametrize("name", ["ca_lost", "attack_changes", "classes_lost", "drift", "retrieval_lost"])
def test_what_was_lost_between_the_audits_is_measured_again(name: str, tmp_path: Path) -> None:
    job = Job(tmp_path)
    empty = () if name in {"attack_changes", "classes_lost"} else None
    assert getattr(job.report, name)
    job.auditor.change = lambda measured: replace(measured, **{name: empty})
    assert job.refusal().message.endswith(f"it differs at {name}.")


def test_the_examples_that_are_published_are_those_of_the_second_audit(tmp_path: Path) -> None:
    job = Job(tmp_path)
    assert job.report.examples is not None
    ours = replace(job.report.examples, side=1)
    job.auditor.change = lambda measured: replace(measured, examples=ours)
    job.confirm()
    assert job.published.examples == ours


def on_withheld(report: Report, *, works_after: bool, works_before: bool = True) -> Withheld:
    """The report's figures on 500 other images, of which 450 are not of a target."""

    def audit(reported: AuditFigures, works: bool, number: int) -> AuditFigures:
        share = wilson(440 if works else 1, 450)
        attacks = tuple(
            replace(one, asr=share, towards=replace(one.towards, triggered=share)) for one in reported.attacks
        )
        return replace(reported, seed=99, ca=wilson(number, 500), attacks=attacks, ca_per_class=())

    assert report.after is not None
    measured = replace(
        report.measured,
        before=audit(report.before, works_before, 420),
        after=audit(report.after, works_after, 418),
        ca_lost=newcombe(both=416, lost=4, gained=2, neither=78),
    )
    return Withheld(seed=99, num_samples=500, num_skipped=0, measured=measured)


@pytest.mark.parametrize(
    ("works_before", "works_after", "outcome"),
    [(True, False, "pass"), (True, True, "fail"), (False, False, "inconclusive")],
)
def test_the_verdict_must_hold_on_the_withheld_images_as_well(
    works_before: bool, works_after: bool, outcome: str, tmp_path: Path
) -> None:
    """Weights fitted to the images of the first child pass on those, and fail here."""
    job = Job(tmp_path)
    assert job.report.verdict.outcome == "pass"
    given = tuple(one for one in job.staged.received if one.path.startswith("inputs/labelled/"))
    job.staged = replace(job.staged, withheld=WithheldImages(files=(tmp_path / "withheld.tar",), given=given))
    job.auditor.withheld = on_withheld(job.report, works_after=works_after, works_before=works_before)
    assert job.confirm().num_withheld == 500
    assert job.published.verdict.outcome == outcome
    assert "On the withheld images: " in job.published.verdict.attacks[0].reason
    assert job.published.withheld == job.auditor.withheld
    assert "inputs/withheld/withheld.tar" in job.auditor.seen


@pytest.mark.parametrize(("led", "outcome"), [(30, "pass"), (199, "fail")])
def test_what_one_pattern_does_is_the_word_of_the_second_process(
    led: int, outcome: str, tmp_path: Path
) -> None:
    """With a seed that is drawn when the first one is dead, and is not the order's."""
    job = Job(tmp_path)
    job.auditor.control = searched(led, 200)
    job.confirm()
    assert job.auditor.order is not None
    assert job.auditor.order.control_seed not in (None, job.staged.spec.seed)
    assert job.report.control != job.auditor.control
    assert job.published.control == job.auditor.control
    assert job.published.verdict.control is not None
    assert job.published.verdict.control.outcome == outcome


def test_a_process_that_was_told_not_to_search_hands_in_no_search(tmp_path: Path) -> None:
    job = Job(tmp_path)
    for seed, searches in ((job.report.seed, False), (77, True)):
        spec = replace(job.staged.spec, searches=searches)
        lie = dump_json(replace(job.report, control=searched(1, 200, seed=seed)))
        with pytest.raises(AttemptFailed, match="control"):
            check_report(
                lie,
                spec,
                job.staged.known,
                cleaned_sha256=job.packing.sha256.get("model.safetensors"),
                at=datetime.fromisoformat(ENDED_AT),
                uses_cuda=False,
            )


@pytest.mark.parametrize("withholds", [False, True])
def test_the_seed_for_withheld_images_is_no_order_s(withholds: bool, tmp_path: Path) -> None:
    """It is drawn when the first child is dead, and two jobs with one seed get two of them."""
    seeds = []
    for number in range(2):
        job = Job(tmp_path / str(number))
        if withholds:
            job.staged = replace(job.staged, withheld=WithheldImages(files=(), given=()))
        job.confirm()
        seeds.append(job.auditor.order.withheld_seed)
        assert job.auditor.order.seed == 7
    assert seeds == [None, None] if not withholds else seeds[0] != seeds[1]


def settled_anew(job: Job, option: str, **changes: Any) -> SettledArchitecture:
    """What the report says, but for one setting."""
    reported = job.report.architecture
    assert reported is not None
    settings = [replace(one, **changes) if one.option == option else one for one in reported.settings]
    return replace(reported, settings=tuple(settings))


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
    reported = job.report.architecture
    assert reported is not None
    job.auditor.architecture = replace(reported, chance=0.5000001)
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
        assert job.refusal().message.endswith("it differs at before.ca.")


def test_with_a_tolerance_every_share_and_every_loss_is_still_compared(tmp_path: Path) -> None:
    reported = replace(Job(tmp_path).report.measured, examples=None, classes_lost=(), retrieval_lost=None)

    def move(value: Any) -> Any:
        """The same figures with ten images more or fewer in each share and each loss."""
        if isinstance(value, dict) and "successes" in value:
            by = 10 if value["successes"] + 10 <= value["n"] else -10
            return value | {"successes": value["successes"] + by}
        if isinstance(value, dict) and "gained" in value:
            return value | {"lost": value["lost"] + 10}
        if isinstance(value, dict):
            return {name: move(one) for name, one in value.items()}
        return [move(one) for one in value] if isinstance(value, list) else value

    adapter = TypeAdapter(Measured)
    document = json.loads(adapter.dump_json(reported))
    places = list(differences(reported, adapter.validate_python(move(document)), 0.005, ()))
    text = json.dumps(document)
    assert len(places) == text.count('"successes"') + text.count('"gained"') > 100
    assert list(differences(reported, reported, 0.005, ())) == []


@pytest.mark.parametrize("is_resumed", [False, True])
def test_what_a_comparison_forgives_is_published_as_the_second_audit_found_it(
    is_resumed: bool, tmp_path: Path
) -> None:
    """On CUDA: classes that triggers lead to, drift, ranks. After a resumption: how heads were settled."""
    job = Job(tmp_path)
    job.auditor.uses_cuda = True
    drift = job.report.drift
    assert drift is not None
    ours = replace(drift, images=replace(drift.images, mean=0.31))
    job.auditor.change = lambda measured: replace(measured, drift=ours)
    settled = replace(job.report.architecture, chance=0.4)
    job.auditor.architecture = settled
    job.confirm(is_resumed=is_resumed)
    assert (job.published.drift, job.published.architecture) == (ours, settled)


def test_of_two_classes_with_one_name_the_second_audit_says_where_a_trigger_leads(tmp_path: Path) -> None:
    job = Job(tmp_path)
    known = job.staged.known
    assert known is not None
    names = ("apple", "apple", "banana")
    job.staged = replace(job.staged, known=replace(known, class_names=names))

    def leads(measured: Measured, successes: int) -> Measured:
        def side(audit: AuditFigures) -> AuditFigures:
            attacks = tuple(
                replace(
                    one, towards=replace(one.towards, class_name="apple", triggered=wilson(successes, 200))
                )
                for one in audit.attacks
            )
            return replace(audit, attacks=attacks)

        assert measured.after is not None
        return replace(measured, before=side(measured.before), after=side(measured.after))

    job.report = replace(job.report, **leads(job.report.measured, 1).fields())
    job.auditor.report = job.report
    job.auditor.change = lambda measured: leads(measured, 180)
    job.confirm()
    assert job.published.before.attacks[0].towards.triggered.successes == 180


def test_without_an_order_a_second_audit_is_made_wherever_results_are_signed(tmp_path: Path) -> None:
    job = Job(tmp_path, recheck=None)
    assert job.confirm(signs=False) == Recheck(done=False, why="not_signed")
    assert job.confirm(signs=True).why == "by_default"
    assert Job(tmp_path / "other", recheck=False).confirm(signs=True) == Recheck(
        done=False, why="not_ordered"
    )
