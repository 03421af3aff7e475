"""Every table, brought together so that `metadata` is complete: for migrations and for tests that compare."""

from __future__ import annotations

from app.db.base import Base
from app.db.models.api_key import ApiKey
from app.db.models.artifact import Artifact
from app.db.models.checkpoint import Checkpoint
from app.db.models.dataset import Dataset
from app.db.models.deletion import Deletion
from app.db.models.idempotency_key import IdempotencyKey
from app.db.models.job import Job
from app.db.models.job_event import JobEvent
from app.db.models.null_set import NullSet
from app.db.models.outbox_message import OutboxMessage
from app.db.models.policy import Policy
from app.db.models.project import Project
from app.db.models.project_quota import ProjectQuota
from app.db.models.queue_turn import QueueTurn
from app.db.models.trail_entry import TrailEntry
from app.db.models.upload import Upload
from app.db.models.verdict import WeightsVerdict
from app.db.models.web_session import WebSession
from app.db.models.webhook import Webhook
from app.db.models.webhook_delivery import WebhookDelivery

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
