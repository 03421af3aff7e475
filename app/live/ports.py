"""What the routes work with, built once by the composition root and handed on in the application's state."""

from dataclasses import dataclass
from typing import Annotated, cast

from fastapi import Depends, Request

from app.db.models.job import Artifact, Job
from app.db.session import Database
from app.live.coalescing import Coalesced
from app.live.computing import ComputingPlaces
from app.live.followers import Followers
from app.live.metrics import Metrics
from app.live.pacing import Pace
from app.live.readiness import Readiness
from app.live.recognised import RecognisedKeys
from app.live.request_rates import RequestRates
from app.live.upload_slots import UploadSlots
from app.live.written_jobs import WrittenJobs
from app.queue.publisher import JobPublisher
from app.services.webhook_management import WebhookRules
from app.settings import Settings
from app.storage.port import ObjectStore


@dataclass(frozen=True, kw_only=True)
class Ports:
    """The database, the store, the broker and the settings of one application."""

    settings: Settings
    database: Database
    store: ObjectStore
    publisher: JobPublisher
    metrics: Metrics
    keys: RecognisedKeys
    rates: RequestRates
    job_versions: Coalesced[int]
    jobs: Coalesced[Job]
    followers: Followers
    upload_slots: UploadSlots
    computing: ComputingPlaces
    listing: ComputingPlaces
    written_jobs: WrittenJobs
    pace: Pace
    readiness: Readiness
    webhook_rules: WebhookRules

    def hint(self, job: Job | None) -> None:
        """After the commit: tell workers that the job is ready. Best effort; the outbox is the promise."""
        if job is not None:
            self.publisher.job_ready(job.id, job.kind)

    def download_url(self, row: Artifact) -> str:
        """Serves this one file for a few minutes."""
        return self.store.presign_get(
            row.object_key,
            expires_s=self.settings.api.download_url_expires_s,
            filename=row.name,
            content_type=row.media_type,
        )


async def _ports(request: Request) -> Ports:  # async: not worth a hop to a thread
    return cast(Ports, request.app.state.ports)


PortsDep = Annotated[Ports, Depends(_ports)]
