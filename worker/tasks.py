"""The one Celery task. A message is a job's id and no more; what it means is the runner's business."""

from __future__ import annotations

from collections.abc import Callable

from celery import Celery

from app.logs import clear
from app.queue.names import RUN_JOB
from worker.runner import Runner


def register(app: Celery, runner: Callable[[], Runner]) -> None:
    """Give `app` the task; `runner` is asked when the first hint comes."""

    @app.task(name=RUN_JOB, ignore_result=True, shared=False)
    def run_job(job_id: str) -> None:
        clear()
        runner().run(job_id)
