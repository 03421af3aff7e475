"""A `JobPublisher` that remembers what it was told, and can be told to fail."""

from app.domain.states import JobKind
from app.queue.names import ALL_QUEUES, queue_for


class FakeJobPublisher:
    """`sent` holds (job id, kind) in order; with `is_down` nothing is taken and nothing is known."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, JobKind]] = []
        self.is_down = False

    def job_ready(self, job_id: str, kind: JobKind) -> bool:
        if self.is_down:
            return False
        self.sent.append((job_id, kind))
        return True

    def depth(self, *queues: str) -> int | None:
        if self.is_down:
            return None
        return sum(queue_for(kind) in (queues or ALL_QUEUES) for _, kind in self.sent)

    def num_refused(self) -> int | None:
        return None if self.is_down else 0

    def check_writes(self) -> None:
        if self.is_down:
            raise ConnectionError("the broker does not answer")

    def close(self) -> None:
        pass
