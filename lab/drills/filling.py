"""Rows without work: an accepted checkpoint, two ready datasets, and any number of jobs with their events.

For drills about the size of tables. The jobs are finished ones of their time (the sweeper has nothing to do
with them), older by their ids than any that the service makes. Written by SQL, as the embedded database's
superuser, who is subject to no row-level security.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

from app.domain.ids import new_id
from app.domain.object_keys import upload_key
from cleanclip.vocabulary.policy import Policy, PolicySource
from cleanclip.vocabulary.recipe import AuditOptions, CleanCLIPRecipe, to_json
from lab.drills.servers import plain_url

TARGET = "banana"
NUM_EVENTS = 4
_INSPECTION = {"architecture": {"model_cfg": {"embed_dim": 64}}, "num_parameters": 1234}
"""As much as orders and dry runs read."""


@dataclass(frozen=True, kw_only=True)
class Ground:
    """What jobs can be ordered on."""

    project_id: str
    checkpoint_id: str
    pairs_id: str
    labelled_id: str

    def order(self) -> dict[str, Any]:
        """A body that creates a job."""
        return {
            "kind": "sanitize",
            "checkpoint_id": self.checkpoint_id,
            "dataset_id": self.pairs_id,
            "audit": {"dataset_id": self.labelled_id, "target": TARGET},
        }


def superuser_url(database_url: str) -> str:
    """Of the embedded database."""
    return plain_url(database_url, username="postgres")


def connect(database_url: str) -> psycopg.Connection[tuple[Any, ...]]:
    """As superuser of the embedded database; every statement its own transaction."""
    return psycopg.connect(superuser_url(database_url), autocommit=True)


def prepare(database_url: str, project_id: str) -> Ground:
    """A checkpoint and two datasets, as their inspection and validation leave them."""
    ids = {"checkpoint_id": new_id("ckpt"), "pairs_id": new_id("ds"), "labelled_id": new_id("ds")}
    ground = Ground(project_id=project_id, **ids)
    upload_id = new_id("upl")
    with connect(database_url) as connection:
        connection.execute(
            "INSERT INTO uploads (id, project_id, purpose, filename, size_bytes, declared, part_size_bytes,"
            " num_parts, object_key, state, checkpoint_id, expires_at)"
            " VALUES (%s, %s, 'checkpoint', 'clip.pt', 3, '{}', 16777216, 1, %s, 'completed', %s, now())",
            (upload_id, project_id, upload_key(project_id, upload_id), ground.checkpoint_id),
        )
        connection.execute(
            "INSERT INTO checkpoints (id, project_id, upload_id, filename, size_bytes, state, declared,"
            " inspection) VALUES (%s, %s, %s, 'clip.pt', 3, 'accepted', '{}', %s)",
            (ground.checkpoint_id, project_id, upload_id, json.dumps(_INSPECTION)),
        )
        for dataset_id, kind in ((ground.pairs_id, "pairs"), (ground.labelled_id, "labelled")):
            connection.execute(
                "INSERT INTO datasets (id, project_id, kind, uri, max_skipped_share, state, summary)"
                " VALUES (%s, %s, %s, 's3://data/x/', 0.01, 'ready', %s)",
                (dataset_id, project_id, kind, json.dumps(_summary([TARGET, "apple"]))),
            )
    return ground


def _summary(class_names: Sequence[str]) -> dict[str, Any]:
    """Of a validation, as much as orders and dry runs read."""
    num = len(class_names)
    return {"class_names": class_names, "num_samples": 100 * num, "images_per_class": [100] * num}


def set_class_names(database_url: str, ground: Ground, names: Sequence[str]) -> None:
    """The labelled set has these classes from now on."""
    with connect(database_url) as connection:
        connection.execute(
            "UPDATE datasets SET summary = %s WHERE id = %s",
            (json.dumps(_summary(names)), ground.labelled_id),
        )


def fill(database_url: str, ground: Ground, num_jobs: int) -> None:
    """Finished jobs with their events; ids 0 to num_jobs - 1, so only once for a database."""
    spec = {
        "recipe": to_json(CleanCLIPRecipe()),
        "audit": to_json(AuditOptions(target=TARGET)),
        "policy": to_json(Policy()),
        "policy_source": to_json(PolicySource.of(None)),
        "output_layout": "open_clip",
    }
    names = ("stage", "baseline_audit", "finetune", "final_audit", "publish")
    phases = [{"name": name, "state": "succeeded", "started_at": None, "finished_at": None} for name in names]
    with connect(database_url) as connection:
        connection.execute(
            "INSERT INTO jobs (id, project_id, kind, state, phase, phases, progress, checkpoint_id,"
            " dataset_id, labelled_dataset_id, spec, seed, metadata, attempt, attempts_used, attempts_lost,"
            " max_attempts, version, event_seq, created_at, started_at, finished_at, swept_at)"
            " SELECT 'job_' || lpad(n::text, 26, '0'), %s, 'sanitize', 'succeeded', 'publish', %s,"
            " '{\"fraction\": 1.0}', %s, %s, %s, %s, 0, '{}', 1, 1, 0, 3, %s, %s, now(), now(), now(), now()"
            " FROM generate_series(0, %s - 1) AS n",
            (
                *(ground.project_id, json.dumps(phases), ground.checkpoint_id, ground.pairs_id),
                *(ground.labelled_id, json.dumps(spec), NUM_EVENTS, NUM_EVENTS, num_jobs),
            ),
        )
        connection.execute(
            "INSERT INTO job_events (job_id, seq, project_id, type, data)"
            " SELECT 'job_' || lpad(n::text, 26, '0'), seq, %s, 'progressed', '{}'"
            " FROM generate_series(0, %s - 1) AS n, generate_series(1, %s) AS seq",
            (ground.project_id, num_jobs, NUM_EVENTS),
        )
        connection.execute("VACUUM ANALYZE")
