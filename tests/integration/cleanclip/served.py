"""The API on a port, one project with a key, and the worker's part played through the repositories."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func

from app.db.models.assets import Checkpoint, Dataset, Upload
from app.db.models.project import Project
from app.db.repositories.attempt_values import CheckpointAccepted, DatasetReady, NewArtifact
from app.db.session import Database
from app.domain.ids import new_id
from app.domain.object_keys import checkpoint_attempt_prefix, upload_key
from app.domain.states import CheckpointState, DatasetKind, DatasetState, UploadPurpose, UploadState
from app.services import api_keys
from app.storage.port import ObjectStore
from cleanclip.vocabulary.measures import Estimate
from cleanclip.vocabulary.recipe import to_json
from tests.fixtures.made_reports import attack_figures, audit_figures

MIB = 1024 * 1024
LEASE_S = 60.0


def new_key(database: Database, name: str, scopes: tuple[str, ...] = api_keys.SCOPES) -> tuple[str, str]:
    """A project and a key of it: (project id, key)."""
    with database.unit_of_work() as unit:
        project = unit.projects.add(Project(id=new_id("prj"), name=name))
        _, key = api_keys.issue(unit, project_id=project.id, name="tests", scopes=scopes)
    return project.id, key


@dataclass(frozen=True, kw_only=True)
class Served:
    """One running API with one project."""

    url: str
    database: Database
    store: ObjectStore
    project_id: str
    key: str

    # -- what a worker has done

    def accepted_checkpoint(self) -> str:
        """A checkpoint whose inspection is over."""
        upload = Upload(
            id=new_id("upl"),
            project_id=self.project_id,
            purpose=UploadPurpose.CHECKPOINT,
            filename="clip.pt",
            size_bytes=3,
            declared={},
            part_size_bytes=MIB,
            num_parts=1,
            state=UploadState.COMPLETED,
            expires_at=func.now(),
        )
        upload.object_key = upload_key(self.project_id, upload.id)
        checkpoint = Checkpoint(
            id=new_id("ckpt"),
            project_id=self.project_id,
            upload_id=upload.id,
            filename="clip.pt",
            size_bytes=3,
            state=CheckpointState.ACCEPTED,
            declared={},
            inspection=inspection(hashlib.sha256(b"abc").hexdigest()),
        )
        with self.database.unit_of_work() as unit:
            unit.uploads.add(upload)
            unit.checkpoints.add(checkpoint)
        return checkpoint.id

    def ready_dataset(self, kind: DatasetKind) -> str:
        """A dataset whose validation is over; the labelled one has a class 'banana'."""
        row = Dataset(
            id=new_id("ds"),
            project_id=self.project_id,
            kind=kind,
            uri="s3://data/x/",
            max_skipped_share=0.01,
            state=DatasetState.READY,
            summary=summary(kind),
        )
        with self.database.unit_of_work() as unit:
            unit.datasets.add(row)
        return row.id

    # -- what a worker does

    def claim(self, job_id: str) -> int:
        """Take the job; returns the attempt."""
        with self.database.unit_of_work() as unit:
            claimed = unit.attempts.claim(job_id, owner="tests", lease_s=LEASE_S)
        assert claimed is not None, "the job was not to be had"
        return claimed.attempt

    def report_progress(self, job_id: str, attempt: int, progress: dict[str, Any]) -> None:
        with self.database.unit_of_work() as unit:
            assert unit.attempts.heartbeat(job_id, attempt, lease_s=LEASE_S, progress=progress) is not None

    def succeed(self, job_id: str, attempt: int, files: Mapping[str, bytes]) -> None:
        """Publish `files` with a SHA256SUMS over them, unless there is one among them."""
        published = dict(files)
        published.setdefault("SHA256SUMS", sums(files))
        artifacts = []
        for name, content in published.items():
            key = f"outputs/{self.project_id}/{job_id}/attempt-{attempt}/{name}"
            self.store.put_bytes(key, content)
            artifacts.append(
                NewArtifact(
                    name=name,
                    object_key=key,
                    size_bytes=len(content),
                    sha256=hashlib.sha256(content).hexdigest(),
                    media_type="application/octet-stream",
                )
            )
        result = {name: REPORT[name] for name in ("verdict", "before", "after")} | {"outcome": "pass"}
        with self.database.unit_of_work() as unit:
            assert unit.attempts.finish_succeeded(job_id, attempt, result=result, artifacts=artifacts)

    def fail(self, job_id: str, attempt: int) -> None:
        error = {
            "code": "training_diverged",
            "message": "The loss became infinite.",
            "remedy": "Lower the learning rate.",
            "phase": "finetune",
        }
        with self.database.unit_of_work() as unit:
            assert unit.attempts.finish_failed(job_id, attempt, error=error)

    def inspect(self, checkpoint_id: str, *, sha256: str) -> None:
        """Run the inspection of a checkpoint that was uploaded, and accept it."""
        with self.database.unit_of_work() as unit:
            job_id = unit.checkpoints.get(self.project_id, checkpoint_id).inspect_job_id
        assert job_id is not None
        effect = CheckpointAccepted(
            sha256=sha256,
            canonical_prefix=checkpoint_attempt_prefix(self.project_id, checkpoint_id, 1),
            weights_sha256="0" * 64,
            inspection=inspection(sha256),
        )
        attempt = self.claim(job_id)
        with self.database.unit_of_work() as unit:
            assert unit.attempts.finish_succeeded(job_id, attempt, result={}, effect=effect)

    def reject(self, checkpoint_id: str) -> None:
        """Run the inspection of a checkpoint that was uploaded, and reject it."""
        with self.database.unit_of_work() as unit:
            job_id = unit.checkpoints.get(self.project_id, checkpoint_id).inspect_job_id
        assert job_id is not None
        error = {
            "code": "pickle_forbidden_global",
            "message": "The pickle names os.system.",
            "remedy": "Save a state dict with torch.save, or safetensors.",
        }
        attempt = self.claim(job_id)
        with self.database.unit_of_work() as unit:
            assert unit.attempts.finish_failed(job_id, attempt, error=error)

    def validate(self, dataset_id: str, kind: DatasetKind) -> None:
        """Run the validation of a dataset that was registered, and find it good."""
        with self.database.unit_of_work() as unit:
            job_id = unit.datasets.get(self.project_id, dataset_id).validate_job_id
        assert job_id is not None
        attempt = self.claim(job_id)
        effect = DatasetReady(files=[], summary=summary(kind))
        with self.database.unit_of_work() as unit:
            assert unit.attempts.finish_succeeded(job_id, attempt, result={}, effect=effect)


def sums(files: Mapping[str, bytes]) -> bytes:
    """SHA256SUMS as sha256sum writes it."""
    return "".join(
        f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in sorted(files.items())
    ).encode()


def inspection(sha256: str) -> dict[str, Any]:
    return {
        "upload_sha256": sha256,
        "size_bytes": 3,
        "weights_sha256": "0" * 64,
        "layout": "research",
        "architecture": {"model_cfg": {"embed_dim": 64}, "preprocess_cfg": {}},
        "architecture_name": "ModifiedResNet [1,1,1,1] width 24, 32 px",
        "num_parameters": 1234,
        "dtype": "float32",
        "assumed": {"quick_gelu": "default of the research layout"},
        "findings": ["The optimizer state was stepped over."],
    }


def summary(kind: DatasetKind) -> dict[str, Any]:
    is_labelled = kind is DatasetKind.LABELLED
    return {
        "kind": kind.value,
        "sha256": "1" * 64,
        "num_shards": 2,
        "num_samples": 100,
        "num_skipped": 1,
        "skipped_reasons": {"image_damaged": 1},
        "skipped_examples": ["00000017: image_damaged"],
        "class_names": ["zero", "one", "banana"] if is_labelled else None,
        "templates": None,
        "images_per_class": [34, 33, 33] if is_labelled else None,
    }


def _figures(*, ca: int, asr: int, pa: int) -> dict[str, Any]:
    right = Estimate(n=100, successes=pa)
    attack = attack_figures(Estimate(n=90, successes=asr), target="banana", pa=right, still_right=right)
    made: dict[str, Any] = to_json(audit_figures(Estimate(n=100, successes=ca), attack))
    return made


REPORT: dict[str, Any] = {
    "kind": "sanitize",
    "schema_version": 1,
    "seed": 0,
    "before": _figures(ca=96, asr=88, pa=7),
    "after": _figures(ca=95, asr=2, pa=93),
    "verdict": {
        "outcome": "pass",
        "reason": "Attack success fell under the limit.",
        "attacks": [],
        "limits_below_gate": True,
    },
    "warnings": ["Only one trigger was tested."],
}
REPORT_BYTES = json.dumps(REPORT).encode()
