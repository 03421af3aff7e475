"""A sender for the tests, and a resolver of their own."""

from collections.abc import Sequence

from app.domain.webhook_urls import ReachRules
from worker.webhooks.sending import Sender

HERE = ReachRules(allow_loopback=True)
HEADERS = {"webhook-id": "msg_1"}
BODY = b'{"type":"webhook.test"}'


class Names:
    """A resolver of our own: gives its answers one after the other, the last one for ever."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.num_asked = 0

    def __call__(self, host: str, port: int, timeout_s: float) -> Sequence[str]:
        self.num_asked += 1
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def sender(timeout_s: float = 5.0, **replaced: object) -> Sender:
    return Sender(HERE, timeout_s=timeout_s, **replaced)  # type: ignore[arg-type]
