"""Every table, brought together so that `metadata` is complete: for migrations and for tests that compare."""

from app.db.base import Base
from app.db.models import project
from app.db.models.assets import Checkpoint, Dataset, Deletion, NullSet, Upload, WeightsVerdict
from app.db.models.job import Artifact, Job, JobEvent, OutboxMessage, QueueTurn
from app.db.models.webhook import Webhook, WebhookDelivery

TABLES: tuple[type[Base], ...] = (
    project.Project,
    project.ApiKey,
    Upload,
    Checkpoint,
    Dataset,
    Job,
    JobEvent,
    OutboxMessage,
    Artifact,
    project.IdempotencyKey,
    project.TrailEntry,
    project.ProjectQuota,
    QueueTurn,
    Deletion,
    project.Policy,
    Webhook,
    WebhookDelivery,
    project.WebSession,
    WeightsVerdict,
    NullSet,
)

metadata = Base.metadata
