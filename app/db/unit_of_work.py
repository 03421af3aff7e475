"""The unit of work: every repository on one session. Whoever opened it commits; nothing here does."""

from functools import cached_property

from sqlalchemy.orm import Session

from app.db.repositories import projects
from app.db.repositories.assets import DatasetRepository, NullSetRepository, UploadRepository
from app.db.repositories.attempts import AttemptRepository
from app.db.repositories.checkpoints import CheckpointRepository
from app.db.repositories.deletions import DeletionRepository
from app.db.repositories.erasing import ErasureRepository
from app.db.repositories.idempotency import IdempotencyRepository
from app.db.repositories.job_records import ArtifactRepository, EventRepository, OutboxRepository
from app.db.repositories.job_search import JobSearch
from app.db.repositories.jobs import JobRepository
from app.db.repositories.quotas import QuotaRepository
from app.db.repositories.retention import RetentionRepository
from app.db.repositories.sweeping import SweepRepository
from app.db.repositories.trail import TrailRepository
from app.db.repositories.verdicts import VerdictRepository
from app.db.repositories.webhook_claims import WebhookClaimRepository
from app.db.repositories.webhook_rows import WebhookRepository


class UnitOfWork:
    """`attempts` is the worker's side of jobs, `sweeping` the sweeper's; the rest serves requests."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.projects = projects.ProjectRepository(session)
        self.api_keys = projects.ApiKeyRepository(session)
        self.uploads = UploadRepository(session)
        self.checkpoints = CheckpointRepository(session)
        self.datasets = DatasetRepository(session)
        self.jobs = JobRepository(session)
        self.attempts = AttemptRepository(session)
        self.sweeping = SweepRepository(session)
        self.events = EventRepository(session)
        self.policies = projects.PolicyRepository(session)
        self.nulls = NullSetRepository(session)
        self.outbox = OutboxRepository(session)
        self.artifacts = ArtifactRepository(session)
        self.idempotency = IdempotencyRepository(session)
        self.deletions = DeletionRepository(session)
        self.quotas = QuotaRepository(session)
        self.trail = TrailRepository(session)
        self.webhooks = WebhookRepository(session)
        self.web_sessions = projects.WebSessionRepository(session)
        self.verdicts = VerdictRepository(session)

    @cached_property
    def job_search(self) -> JobSearch:
        """For people, who look for jobs by words."""
        return JobSearch(self._session)

    @cached_property
    def erasing(self) -> ErasureRepository:
        """The sweeper's, when something is deleted."""
        return ErasureRepository(self._session)

    @cached_property
    def retention(self) -> RetentionRepository:
        """The sweeper's, where something is kept for a time only."""
        return RetentionRepository(self._session)

    @cached_property
    def webhook_claims(self) -> WebhookClaimRepository:
        """The deliverer's, and the sweeper's."""
        return WebhookClaimRepository(self._session)

    def flush(self) -> None:
        """Send what is pending to the database, so that its constraints speak now."""
        self._session.flush()
