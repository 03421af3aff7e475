"""The one Celery task. A message is a hint that names a job; what follows is the runner's business."""

from collections.abc import Callable

from celery import Celery, Task

from app.logs import clear
from app.queue.names import HEAVY_QUEUE, RUN_JOB
from worker.runner import Runner


def register(app: Celery, runner: Callable[[], Runner]) -> None:
    """Give `app` the task; `runner` is asked when the first hint comes."""

    @app.task(name=RUN_JOB, ignore_result=True, shared=False, bind=True)
    def run_job(self: Task[..., None], job_id: str) -> None:
        clear()
        queue = (self.request.delivery_info or {}).get("routing_key") or HEAVY_QUEUE
        runner().answer(queue, hinted_job_id=job_id)
