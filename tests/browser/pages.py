"""Every page with something on it: which there are, and the world that they show."""

from __future__ import annotations

import base64
import hashlib
import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from app.domain.ids import new_id
from app.domain.states import CheckpointState, DatasetKind, DatasetState
from app.services import api_keys
from cleanclip.vocabulary.scan_report import dump_scan
from tests.browser import left_jobs
from tests.fixtures.kept_reports import document, drawn_from
from tests.fixtures.scans import scan_and_null
from tests.fixtures.shards import random_image
from tests.integration.api.service import Service
from tests.integration.api.validated import give_samples, sample

Text = Callable[[str], str]
RAN_AWAY = [
    [step, round(3.0 - step / 100 if step < 150 else 1.5 + (step - 150) / 10, 2)] for step in range(5, 231, 5)
]
NUM_PARAMETERS = 3_391_617
"""Of the model that the kept reports are of."""


@dataclass(frozen=True, kw_only=True)
class PageOfWorld:
    """`route` as the application names it. Its parameters are ids of the world: of their own name, or of the
    one that `shows` says."""

    route: str
    query: str = ""
    shows: Mapping[str, str] = field(default_factory=dict)
    is_signed_in: bool = True


def _job(name: str) -> PageOfWorld:
    return PageOfWorld(route="/jobs/{job_id}", shows={"job_id": name})


PAGES: Mapping[str, PageOfWorld] = {
    "sign-in": PageOfWorld(route="/sign-in", is_signed_in=False),
    "checkpoints": PageOfWorld(route="/checkpoints"),
    "checkpoint": PageOfWorld(route="/checkpoints/{checkpoint_id}"),
    "checkpoint-rejected": PageOfWorld(
        route="/checkpoints/{checkpoint_id}", shows={"checkpoint_id": "rejected_checkpoint"}
    ),
    "datasets": PageOfWorld(route="/datasets"),
    "dataset": PageOfWorld(route="/datasets/{dataset_id}"),
    "dataset-rejected": PageOfWorld(route="/datasets/{dataset_id}", shows={"dataset_id": "rejected_dataset"}),
    "new-job": PageOfWorld(route="/jobs/new", query="?checkpoint={checkpoint_id}&dataset={labelled}"),
    "new-scan": PageOfWorld(route="/scans/new", query="?checkpoint={checkpoint_id}&dataset={labelled}"),
    "new-text-scan": PageOfWorld(
        route="/text-scans/new", query="?checkpoint={checkpoint_id}&dataset={labelled}"
    ),
    "new-vetting": PageOfWorld(
        route="/vettings/new", query="?checkpoint={checkpoint_id}&dataset={dataset_id}"
    ),
    "policies": PageOfWorld(route="/policies"),
    "policy": PageOfWorld(route="/policies/{name}"),
    "jobs": PageOfWorld(route="/jobs"),
    "job-running": _job("running_job"),
    "job-cleaned": _job("cleaned_job"),
    "job-inconclusive": _job("inconclusive_job"),
    "job-failed": _job("failed_job"),
    "job-scanned": _job("scanned_job"),
    "job-scanned-first": _job("scanned_first_job"),
    "job-vetted": _job("vetted_job"),
    "compare": PageOfWorld(route="/compare", query="?job={job_id}&job={other_job_id}&job={audit_job_id}"),
    "keys": PageOfWorld(route="/keys"),
    "key": PageOfWorld(route="/keys/{key_id}"),
    "usage": PageOfWorld(route="/usage"),
    "trail": PageOfWorld(route="/trail"),
    "webhooks": PageOfWorld(route="/webhooks"),
    "webhook": PageOfWorld(route="/webhooks/{webhook_id}"),
}

NOT_A_PAGE: Mapping[str, str] = {
    "/": "leads to the jobs",
    "/sign-in/once": "leads on",
    "/jobs/new/check": "leads to the form; a dry run is sent by it",
    "/jobs/new/classes": "a part of the form",
    "/scans/new/check": "leads to the form; a dry run is sent by it",
    "/text-scans/new/check": "leads to the form; a dry run is sent by it",
    "/vettings/new/check": "leads to the form; a dry run is sent by it",
    "/jobs/{job_id}/live": "a part of the job's page",
    "/jobs/{job_id}/stream": "hints that the job's page follows",
    "/artifacts/{artifact_id}/content": "leads to the object store",
    "/checkpoints/{checkpoint_id}/part": "a part of the checkpoint's page",
    "/datasets/{dataset_id}/part": "a part of the dataset's page",
    "/uploads/session": "for the script that uploads",
    "/uploads/{upload_id}": "for the script that uploads",
    "/static/{name:path}": "styles and scripts",
}
"""What answers GET and is not a page of its own, and why."""


@dataclass(frozen=True, kw_only=True)
class World:
    """Ids of what there is, by the name of the path parameter."""

    ids: Mapping[str, str]

    @classmethod
    def made(cls, service: Service, *, text: Text) -> World:
        """Something of everything; `text` makes of each plain text what a customer would have written."""
        return cls(
            ids={
                **_jobs_of_lists(service, text),
                **_jobs_of_pages(service, text),
                **_inputs(service, text),
                **_of_admins(service, text),
            }
        )

    def path(self, page: PageOfWorld) -> str:
        ids = {**self.ids, **{name: self.ids[other] for name, other in page.shows.items()}}
        return "/ui" + page.route.format(**ids) + page.query.format(**ids)


def _inputs(service: Service, text: Text) -> dict[str, str]:
    """Checkpoints and datasets, good and bad; a policy."""
    accepted, rejected = service.checkpoint(), service.checkpoint(CheckpointState.REJECTED)
    for checkpoint, filename in ((accepted, "vit-b-32.pt"), (rejected, "from-a-stranger.pt")):
        service.execute(
            "UPDATE checkpoints SET filename = :name, size_bytes = 605157884 WHERE id = :id",
            name=text(filename),
            id=checkpoint,
        )
    service.execute(
        "UPDATE checkpoints SET inspection = inspection || cast(:found AS jsonb) WHERE id = :id",
        found=json.dumps(_inspection(text)),
        id=accepted,
    )
    labelled = service.dataset(DatasetKind.LABELLED, class_names=("zero", text("one"), text("banana")))
    pairs = service.dataset(DatasetKind.PAIRS)
    samples = [
        replace(sample(index, caption=text(f"a yellow {index}")), jpeg_base64=_picture(index))
        for index in range(12)
    ]
    give_samples(service, pairs, *samples)
    service.execute(
        "UPDATE datasets SET summary = jsonb_set(summary, '{skipped_examples}', cast(:reported AS jsonb))"
        " WHERE id = :id",
        reported=json.dumps([text("00000017") + ": image_damaged"]),
        id=pairs,
    )
    bad = service.dataset(DatasetKind.PAIRS, DatasetState.REJECTED)
    service.execute(
        "UPDATE datasets SET error = cast(:error AS jsonb), uri = :uri WHERE id = :id",
        error=json.dumps(
            {
                "code": "dataset_empty",
                "message": text("There is no pair in it."),
                "remedy": "Name the folder of the shards.",
                "retryable": False,
            }
        ),
        uri="s3://data/" + text("empty") + "/",
        id=bad,
    )
    service.ours.http.put("/v1/policies/release", json={"asr_at_most_for": {"structured": 0.2}})
    return {
        "checkpoint_id": accepted,
        "rejected_checkpoint": rejected,
        "labelled": labelled,
        "dataset_id": pairs,
        "rejected_dataset": bad,
        "name": "release",
    }


def _inspection(text: Text) -> dict[str, Any]:
    """As of OpenAI's ViT-B/32."""
    return {
        "size_bytes": 605157884,
        "layout": "openai",
        "architecture_name": "ViT-B/32, 224 px",
        "num_parameters": 151277313,
        "dtype": "float16",
        "assumed": {
            "quick_gelu": "true: OpenAI's models use it",
            "image_mean": "(0.48145466, 0.4578275, 0.40821073): OpenAI's constants",
            "tokenizer": "clip_bpe: CLIP's byte-pair encoding",
        },
        "findings": [text("The entry 'optimizer' beside the weights was skipped: not read, not used.")],
    }


def _picture(index: int) -> str:
    """An image of its own."""
    buffer = io.BytesIO()
    random_image(index, 60, 40).save(buffer, format="JPEG")
    return base64.b64encode(buffer.getvalue()).decode()


def _jobs_of_pages(service: Service, text: Text) -> dict[str, str]:
    """Jobs in the middle of training, cleaned, without a backdoor, and failed with what they kept."""
    running = left_jobs.ordered(service, metadata={"ticket": text("ML-42")})
    attempt = left_jobs.taken_up(service, running)
    left_jobs.trains(service, running, attempt, step=207, message=text("epoch 2 of 4"))
    left_jobs.noted(service, running, attempt, text("3 images were skipped"))
    left_jobs.lasted(service, running, stage=8, baseline_audit=36, finetune=104)
    failed = left_jobs.ordered(service)
    attempt = left_jobs.taken_up(service, failed)
    left_jobs.trains(service, failed, attempt, step=231, loss_curve=RAN_AWAY)
    left_jobs.fails(service, failed, attempt, message=text(left_jobs.DIVERGED))
    left_jobs.lasted(service, failed, stage=8, baseline_audit=36, finetune=116)
    scanned = left_jobs.scanned(service, text=text)
    report, _ = scan_and_null(with_null=True, names=("apple", "banana", text("cherry")))
    files = {"scan.json": dump_scan(report), "scan.html": b"<!doctype html>\n"}
    return {
        "scanned_job": scanned,
        "scanned_first_job": left_jobs.finished(service, files=files),
        "vetted_job": left_jobs.vetted(service, text=text),
        "running_job": running,
        "failed_job": failed,
        "cleaned_job": _whole(service, renamed(document("examples"), text)),
        "inconclusive_job": _whole(service, document("inconclusive")),
    }


def _whole(service: Service, report: dict[str, Any]) -> str:
    """A job with the files that a worker leaves, but for the statement; the weights are only as long."""
    html, md = drawn_from(report)
    files = {
        "model.safetensors": bytes(4 * NUM_PARAMETERS),
        "config.json": json.dumps(report["checkpoint"]["architecture"]).encode(),
        "training_curve.json": json.dumps(report["training"]["curve"]).encode(),
        "report.html": html.encode(),
        "report.md": md.encode(),
    }
    sums = "".join(f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in sorted(files.items()))
    return left_jobs.finished(service, report, files=files | {"SHA256SUMS": sums.encode()})


def renamed(report: dict[str, Any], text: Text) -> dict[str, Any]:
    """The report of a customer whose classes are called so."""
    names = sorted(left_jobs.class_names(report), key=len)
    content = json.dumps(report)
    for name in reversed(names):
        content = content.replace(f'"{name}"', json.dumps(text(name)))
    changed: dict[str, Any] = json.loads(content)
    return changed


def _jobs_of_lists(service: Service, text: Text) -> dict[str, str]:
    """Jobs in every state that a row shows in its own way, of several kinds and methods."""
    found = {
        "job_id": left_jobs.finished(
            service,
            renamed(document("cleaned"), text),
            filename=text("rn50.pt"),
            metadata={"ticket": text("ML-42")},
            version="0.1.0",
        ),
        "other_job_id": left_jobs.finished(service, "par", version="0.1.1"),
        "audit_job_id": left_jobs.finished(service, "audit"),
    }
    running, waiting, failed = (left_jobs.ordered(service) for _ in range(3))
    left_jobs.trains(service, running, left_jobs.taken_up(service, running), step=340)
    left_jobs.lasted(service, running, stage=8, baseline_audit=36, finetune=170)
    attempt = left_jobs.taken_up(service, failed)
    left_jobs.trains(service, failed, attempt, step=231, loss_curve=RAN_AWAY)
    left_jobs.fails(service, failed, attempt)
    left_jobs.lasted(service, failed, stage=8, baseline_audit=36, finetune=116)
    service.ours.http.post(f"/v1/jobs/{waiting}/cancel").raise_for_status()
    return found


def _of_admins(service: Service, text: Text) -> dict[str, str]:
    """A key, and a webhook with a delivery that a server refused."""
    with service.database.unit_of_work() as unit:
        key, _ = api_keys.issue(
            unit, project_id=service.ours.project_id, name=text("nightly"), scopes=("read", "run")
        )
        for action, target, reason in (
            ("quota.set", text("project"), None),
            ("key.revoke", key.id, "last_admin_key"),
            ("upload.complete", new_id("upl"), None),
            ("dataset.create", new_id("ds"), None),
        ):
            unit.trail.add(
                project_id=service.ours.project_id,
                key_id=None if action == "quota.set" else key.id,
                actor=text("op@host") if action == "quota.set" else None,
                action=action,
                target_id=target,
                reason=reason,
                remote_addr=None if action == "quota.set" else "192.0.2.7",
                request_id=None if action == "quota.set" else new_id("req"),
            )
    http = service.ours.http
    webhook = http.post("/v1/webhooks", json={"url": "https://example.org/hooks/cleanclip"}).json()["id"]
    delivery = http.post(f"/v1/webhooks/{webhook}/test").json()["id"]
    service.execute("UPDATE webhooks SET url = :url", url=text("https://example.org/hooks/cleanclip"))
    service.execute(
        "UPDATE webhook_deliveries SET state = 'failed', num_tries = 10, tried_at = now(), took_ms = 12,"
        " status = 500, error = 'refused', excerpt = :excerpt WHERE id = :id",
        excerpt=text("Try later."),
        id=delivery,
    )
    return {"key_id": key.id, "webhook_id": webhook}
