"""Jobs, checkpoints and datasets through the client, with the worker's part played by the test."""

import threading
import time
from collections.abc import Callable

import httpx
import pytest

from app.domain.states import DatasetKind
from cleanclip.errors import (
    Conflict,
    DigestMismatch,
    InvalidInput,
    JobCancelled,
    JobFailed,
    NotFound,
    Rejected,
    WaitTimeout,
)
from cleanclip.models import Job
from cleanclip.sync.client import Client
from tests.integration.cleanclip.served import Served
from tests.integration.cleanclip.wires import Wires


def order(served: Served, client: Client, **changes: object) -> Job:
    given = {
        "kind": "sanitize",
        "checkpoint_id": served.accepted_checkpoint(),
        "dataset_id": served.ready_dataset(DatasetKind.PAIRS),
        "audit": {"dataset_id": served.ready_dataset(DatasetKind.LABELLED), "target": "banana"},
    } | changes
    return client.jobs.create(**given)  # type: ignore[arg-type]


def meanwhile(act: Callable[[], None]) -> threading.Thread:
    """Do that in a moment, in another thread."""
    timer = threading.Timer(0.3, act)
    timer.start()
    return timer


def test_a_job_is_ordered_with_what_was_asked_and_the_rest_by_default(served: Served, client: Client) -> None:
    job = order(
        served,
        client,
        recipe={"epochs": 2, "lambda2": 0.5},
        policy={"asr_at_most": 0.1},
        seed=7,
        metadata={"ticket": "ML-42"},
    )
    assert (job.state, job.seed, job.metadata) == ("queued", 7, {"ticket": "ML-42"})
    assert job.recipe is not None
    assert (job.recipe["epochs"], job.recipe["lambda2"], job.recipe["batch_size"]) == (2, 0.5, 64)
    assert job.policy == {
        "asr_at_most": 0.1,
        "asr_at_most_for": {},
        "ca_lost_at_most": 0.03,
        "rebound_asr_at_most": None,
        "controlled_at_most": 0.8,
    }
    assert client.jobs.get(job.id) == job
    assert client.jobs.list(limit=1).data == (job,)


@pytest.mark.parametrize("is_refused", [False, True], ids=["streamed", "polled"])
def test_waiting_tells_every_change_and_returns_the_finished_job(
    served: Served, client: Client, wires: Wires, is_refused: bool
) -> None:
    wires.rule = lambda request: (
        httpx.Response(406) if is_refused and request.url.path.endswith("/events/stream") else None
    )
    job = order(served, client)
    attempt = served.claim(job.id)
    seen: list[Job] = []

    def is_told() -> bool:
        num_polls = sum(request.url.path.endswith(job.id) for request in list(wires.seen))
        reported = [found.progress.fraction for found in list(seen)]
        return 0.5 in reported and (not is_refused or num_polls > len(reported) + 1)

    def work() -> None:
        served.report_progress(job.id, attempt, {"fraction": 0.5, "step": 5, "total_steps": 10})
        until = time.monotonic() + 40
        while not is_told() and time.monotonic() < until:
            time.sleep(0.05)
        served.succeed(job.id, attempt, {"report.json": b"{}"})

    worker = meanwhile(work)
    finished = client.jobs.wait(job.id, on_progress=seen.append, timeout_s=60)
    worker.join()
    assert finished.state == "succeeded"
    assert finished.result is not None
    assert finished.result.verdict is not None
    assert finished.result.verdict["outcome"] == "pass"
    assert [found.state for found in seen] == ["running"] * (len(seen) - 1) + ["succeeded"]
    assert 0.5 in [found.progress.fraction for found in seen]
    assert len({found.etag for found in seen}) == len(seen), "nothing is told twice"
    polls = [request for request in wires.seen if request.url.path.endswith(job.id)]
    if not is_refused:
        assert len(polls) == 1, "the rest came over the stream"
        return
    assert len(polls) > len(seen), "some polls found nothing new and were answered 304"
    assert all("if-none-match" in request.headers for request in polls[1:])


def test_a_failed_job_raises_with_its_reason_and_can_be_retried(served: Served, client: Client) -> None:
    job = order(served, client)
    served.fail(job.id, served.claim(job.id))
    with pytest.raises(JobFailed, match="Lower the learning rate") as caught:
        client.jobs.wait(job.id)
    assert caught.value.code == "training_diverged"
    assert caught.value.job.error is not None
    assert caught.value.job.error.phase == "finetune"
    assert client.jobs.wait(job.id, check=False).state == "failed"
    assert client.jobs.retry(job.id).state == "queued"
    with pytest.raises(Conflict):
        client.jobs.retry(job.id)


def test_a_job_is_paused_resumed_and_cancelled(served: Served, client: Client) -> None:
    job = order(served, client)
    assert client.jobs.pause(job.id).state == "paused"
    assert client.jobs.resume(job.id).state == "queued"
    assert client.jobs.cancel(job.id).state == "cancelled"
    with pytest.raises(JobCancelled):
        client.jobs.wait(job.id)
    types = [event.type for event in client.jobs.all_events(job.id)]
    assert types == ["created", "paused", "resumed", "cancelled"]
    assert [event.seq for event in client.jobs.events(job.id, after=2, limit=1).data] == [3]


def test_waiting_ends_at_the_time_limit_and_the_job_goes_on(served: Served, client: Client) -> None:
    job = order(served, client)
    started = time.monotonic()
    with pytest.raises(WaitTimeout) as caught:
        client.jobs.wait(job.id, timeout_s=1.0)
    assert 0.9 < time.monotonic() - started < 10
    assert caught.value.last.state == "queued"
    assert client.jobs.get(job.id).state == "queued"


def test_a_lost_answer_creates_no_second_job(served: Served, client: Client, wires: Wires) -> None:
    before = len(client.jobs.list(limit=100).data)
    lost: list[str] = []

    def lose_the_first_answer(request: httpx.Request) -> httpx.Response | None:
        if request.method == "POST" and request.url.path == "/v1/jobs" and not lost:
            lost.append(request.headers["idempotency-key"])
            content = request.read()
            headers = {key: value for key, value in request.headers.items() if key != "host"}
            assert httpx.post(request.url, content=content, headers=headers).status_code == 202
            raise httpx.ReadError("the answer was lost", request=request)
        return None

    wires.rule = lose_the_first_answer
    job = order(served, client)
    assert len(client.jobs.list(limit=100).data) == before + 1
    keys = [
        request.headers["idempotency-key"]
        for request in wires.seen
        if request.url.path == "/v1/jobs" and request.method == "POST"
    ]
    assert keys == lost * 2
    assert job.state == "queued"


def test_a_checkpoint_is_waited_for_and_its_digest_compared(served: Served, client: Client) -> None:
    checkpoint_id = client.uploads.create(filename="a.pt", size_bytes=3).id
    client.uploads.put_content(checkpoint_id, 3, b"abc")
    found = client.uploads.complete(checkpoint_id).checkpoint_id
    assert found is not None
    worker = meanwhile(lambda: served.inspect(found, sha256="ab" * 32))
    accepted = client.checkpoints.wait(found, timeout_s=60, sha256="ab" * 32)
    worker.join()
    assert accepted.state == "accepted"
    assert accepted.architecture_name == "ModifiedResNet [1,1,1,1] width 24, 32 px"
    with pytest.raises(DigestMismatch):
        client.checkpoints.wait(found, sha256="cd" * 32)
    client.checkpoints.delete(found)
    with pytest.raises(NotFound):
        client.checkpoints.get(found)


def test_a_rejected_checkpoint_raises_with_the_reason(served: Served, client: Client) -> None:
    upload = client.uploads.create(filename="a.pt", size_bytes=3)
    client.uploads.put_content(upload.id, 3, b"abc")
    found = client.uploads.complete(upload.id).checkpoint_id
    assert found is not None
    served.reject(found)
    with pytest.raises(Rejected, match=r"os\.system.*safetensors") as caught:
        client.checkpoints.wait(found)
    assert caught.value.code == "pickle_forbidden_global"


def test_a_data_set_is_registered_and_waited_for(served: Served, client: Client) -> None:
    bucket = served.store.bucket
    served.store.put_bytes("allowed/pairs/000.tar", b"x" * 1024)
    dataset = client.datasets.create(kind="pairs", uri=f"s3://{bucket}/allowed/pairs/")
    assert dataset.state == "validating"
    worker = meanwhile(lambda: served.validate(dataset.id, DatasetKind.PAIRS))
    ready = client.datasets.wait(dataset.id, timeout_s=60)
    worker.join()
    assert ready.summary is not None
    assert ready.summary.num_samples == 100
    assert dataset.id in [item.id for item in client.datasets.list(kind="pairs").data]
    with pytest.raises(InvalidInput) as caught:
        client.datasets.create(kind="pairs", uri="s3://elsewhere/x/")
    assert caught.value.code == "dataset_uri_not_allowed"
    client.datasets.delete(dataset.id)
    with pytest.raises(NotFound):
        client.datasets.get(dataset.id)
