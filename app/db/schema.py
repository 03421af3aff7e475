"""Every table, brought together so that `metadata` is complete: for migrations and for tests that compare."""

from __future__ import annotations

from app.db.base import Base
from app.db.models.assets import Checkpoint, Dataset, Deletion, NullSet, Upload, WeightsVerdict
from app.db.models.job import Artifact, Job, JobEvent, OutboxMessage, QueueTurn
from app.db.models.project import (
    ApiKey,
    IdempotencyKey,
    Policy,
    Project,
    ProjectQuota,
    TrailEntry,
    WebSession,
)
from app.db.models.webhook import Webhook, WebhookDelivery

TABLES: tuple[type[Base], ...] = (
    Project,
    ApiKey,
    Upload,
    Checkpoint,
    Dataset,
    Job,
    JobEvent,
    OutboxMessage,
    Artifact,
    IdempotencyKey,
    TrailEntry,
    ProjectQuota,
    QueueTurn,
    Deletion,
    Policy,
    Webhook,
    WebhookDelivery,
    WebSession,
    WeightsVerdict,
    NullSet,
)

metadata = Base.metadata
