"""What a real worker finds out about bad checkpoints and datasets, each with its reason.

No row is half-written, nothing of the files is executed or stays, and at the end the same worker processes
do a good job.
"""

import pytest

from app.domain.states import TERMINAL, JobKind, JobState
from cleanclip.errors import Rejected
from cleanclip.models import Checkpoint, Dataset
from cleanclip.sync.client import Client
from sanitizer.checkpoints.scanners import SCANNERS
from tests.end_to_end.bad_inputs import (
    BAD_DATA,
    DAILY,
    HOSTILE_NAMES,
    NUM_GOOD,
    NUM_SLIGHTLY_CORRUPT,
    OTHER_DIGEST,
    Sent,
)
from tests.end_to_end.live import PATIENCE_S, Live, wait_until
from tests.end_to_end.subject import Subject
from tests.fixtures.hostile.corpus import HOSTILE
from tests.suites import mostly_full

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


def rejected_checkpoint(careless: Client, checkpoint_id: str) -> Checkpoint:
    with pytest.raises(Rejected) as caught:
        careless.checkpoints.wait(checkpoint_id, timeout_s=PATIENCE_S)
    assert isinstance(caught.value.resource, Checkpoint)
    return caught.value.resource


@pytest.mark.parametrize("name", mostly_full([*HOSTILE_NAMES, OTHER_DIGEST], daily=DAILY))
def test_a_bad_checkpoint_is_rejected_with_its_reason_and_nothing_of_it_stays(
    live: Live, careless: Client, sent: Sent, name: str
) -> None:
    found = rejected_checkpoint(careless, sent.checkpoints[name])
    assert found.error is not None
    assert found.error.code == ("digest_mismatch" if name == OTHER_DIGEST else HOSTILE[name][1])
    assert found.error.detail
    assert found.error.remedy
    assert not found.error.retryable
    half_written = (found.weights_sha256, found.layout, found.architecture, found.num_parameters)
    assert half_written == (None, None, None, None)
    assert found.sha256, "whoever looks into the incident needs it"
    assert [one.name for one in found.scanners or ()] == [*SCANNERS]
    assert not sent.canary.exists(), "nothing of the file was executed"
    with live.database.unit_of_work() as unit:
        row = unit.checkpoints.get(live.careless.project_id, found.id)
        assert row.inspect_job_id is not None
        job = unit.jobs.get(live.careless.project_id, row.inspect_job_id)
        artifacts = unit.artifacts.of_job(live.careless.project_id, job.id)
    assert (job.state, job.attempts_used, list(artifacts)) == (JobState.FAILED, 1, [])
    mine = {row.upload_id, found.id, job.id}
    wait_until(
        lambda: not [key for key in live.objects(live.careless) if any(one in key for one in mine)],
        "its bytes are gone",
    )


@pytest.mark.parametrize("name", mostly_full(BAD_DATA, daily=DAILY))
def test_a_bad_data_set_is_rejected_with_its_reason(
    live: Live, careless: Client, sent: Sent, name: str
) -> None:
    with pytest.raises(Rejected) as caught:
        careless.datasets.wait(sent.datasets[name], timeout_s=PATIENCE_S)
    found = caught.value.resource
    assert isinstance(found, Dataset)
    assert found.error is not None
    assert found.error.code == BAD_DATA[name][2]
    assert found.error.detail
    assert found.error.remedy
    assert (found.summary, found.num_files) == (None, None)
    if name == "corrupt_over_the_share":
        assert "0000" in (found.error.said or ""), "with an example, quoted"


def test_a_data_set_under_the_share_is_ready_with_its_counts(careless: Client, sent: Sent) -> None:
    found = careless.datasets.wait(sent.slightly_corrupt, timeout_s=PATIENCE_S)
    assert found.summary is not None
    assert (found.summary.num_samples, found.summary.num_skipped) == (NUM_GOOD, NUM_SLIGHTLY_CORRUPT)
    assert sum(found.summary.skipped_reasons.values()) == NUM_SLIGHTLY_CORRUPT
    assert any("bad0" in example for example in found.summary.skipped_examples)


def is_quiet(live: Live) -> bool:
    """No job of the careless project's is unfinished, and what was rejected is deleted."""
    with live.database.unit_of_work() as unit:
        checkpoints, _ = unit.checkpoints.page(live.careless.project_id, None, 100)
        versions, _ = unit.jobs.page(live.careless.project_id, None, 100, kinds=list(JobKind))
        jobs = unit.jobs.listed(live.careless.project_id, versions)
    is_deleted = all(one.upload_object_key is None for one in checkpoints if one.error)
    return is_deleted and all(job.state in TERMINAL for job in jobs)


def test_after_all_this_nothing_bad_is_left_and_the_same_workers_do_a_good_job(
    live: Live, client: Client, sent: Sent, good_again: Checkpoint, subject: Subject
) -> None:
    wait_until(lambda: is_quiet(live), "everything that was sent has been looked at")
    with live.database.unit_of_work() as unit:
        good = unit.datasets.get(live.careless.project_id, sent.slightly_corrupt)
        upload = unit.checkpoints.get(live.careless.project_id, good_again.id)
    kept = {good.validate_job_id, good_again.id, upload.upload_id}
    left = [key for key in live.objects(live.careless) if not kept & set(key.split("/"))]
    assert left == []
    job = client.jobs.create(**subject.audit_order())
    assert client.jobs.wait(job.id, timeout_s=PATIENCE_S).state == "succeeded"
    live.assert_same_processes()
    assert not sent.canary.exists()
