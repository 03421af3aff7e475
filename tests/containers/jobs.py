"""One small CLIP through the service in containers: what is sent, ordered, waited for and verified."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from app.storage.s3 import S3Store
from cleanclip.evidence.verification import verify
from cleanclip.models import Job
from cleanclip.sync.client import Client
from tests.containers.stack import PATIENCE_S, Compose, wait_until
from tests.end_to_end import subject as subjects
from tests.fixtures import audited


def make_order(
    compose: Compose, client: Client, project_id: str, folder: Path
) -> tuple[Path, dict[str, Any]]:
    """Uploads the small CLIP and its data; the path of its file, and a sanitize job's order."""
    canonical = audited.write_model(folder / "canonical")
    path = folder / "poisoned.pt"
    subjects.write_research_checkpoint(path, canonical)
    store = S3Store(compose.settings_of_store("owner"))
    for name, content in subjects.pair_files(folder / "pairs").items():
        store.put_bytes(f"data/{project_id}/pairs/{name}", content)
    sent = client.uploads.upload_file(path, declared=subjects.DECLARED)
    shard = subjects.labelled_shard(folder / "one")
    upload = client.uploads.create(filename="test.tar", size_bytes=len(shard), purpose="dataset")
    client.uploads.put_content(upload.id, len(shard), lambda: iter([shard]))
    client.uploads.complete(upload.id)
    labelled = client.datasets.create(
        kind="labelled", upload_id=upload.id, class_names=audited.CLASS_NAMES, templates=audited.TEMPLATES
    )
    reference = f"s3://cleanclip/data/{project_id}/pairs/pairs-{{00000..00002}}.tar"
    pairs = client.datasets.create(kind="pairs", uri=reference)
    assert sent.checkpoint_id is not None
    checkpoint = client.checkpoints.wait(sent.checkpoint_id, sha256=sent.sha256, timeout_s=PATIENCE_S)
    order = {
        "kind": "sanitize",
        "checkpoint_id": checkpoint.id,
        "dataset_id": client.datasets.wait(pairs.id, timeout_s=PATIENCE_S).id,
        "audit": {**subjects.AUDIT, "dataset_id": client.datasets.wait(labelled.id, timeout_s=PATIENCE_S).id},
        "recipe": subjects.RECIPE,
        "seed": subjects.SEED,
    }
    return path, order


def in_training(job: Job) -> bool:
    assert not job.is_finished, f"the job is {job.state}: {job.error}"
    return job.phase == "finetune" and (job.progress.step or 0) >= 3


def download_and_verify(client: Client, job: Job, uploaded: Path, folder: Path) -> str:
    """The digest of the cleaned weights."""
    folder.mkdir()
    for artifact in client.jobs.artifacts(job.id):
        client.artifacts.download(artifact.id, folder)
    found = verify(folder, input_file=uploaded)
    assert [str(one) for one in found.findings] == []
    return subjects.sha256(folder / "model.safetensors")


def drain_in_training(compose: Compose, client: Client, order: dict[str, Any]) -> Job:
    """The worker is told to leave while it trains; another goes on from where it was, and ends the job."""
    job = client.jobs.create(**order)
    wait_until(lambda: in_training(client.jobs.get(job.id)), "training begins")
    compose("restart", "worker")
    ended = client.jobs.wait(job.id, timeout_s=PATIENCE_S)
    types = [event.type for event in client.jobs.all_events(job.id)]
    assert "handed_back" in types, types
    return ended


def give_too_little_memory(
    compose: Compose,
    client: Client,
    order: dict[str, Any],
    *,
    meanwhile: Callable[[], object] = lambda: None,
) -> None:
    compose.variables["WORKER_MEMORY"] = "450m"
    compose("up", "--detach", "--no-build", "--no-deps", "worker")
    job = client.jobs.create(**order, max_attempts=1)

    def failures() -> list[str]:
        events = client.jobs.all_events(job.id)
        return [event.data["error"]["code"] for event in events if event.type == "attempt_failed"]

    wait_until(failures, "the kernel kills the child")
    assert failures() == ["worker_out_of_memory"]
    assert client.jobs.get(job.id).state == "queued", "its only attempt did not count"
    meanwhile()
    client.jobs.cancel(job.id)
    del compose.variables["WORKER_MEMORY"]
    compose("up", "--detach", "--no-build", "--no-deps", "--wait", "worker")
