"""The deliverer's work: claim what is due, sign it, send it, record how it ended.

Claimed in one transaction, sent in none, recorded in another. Who dies between the two has perhaps sent: the
message goes out again, with the same id, once the claim has run out. At least once, never silently lost.
"""

import random
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from app.db.repositories.webhook_claims import ClaimedDelivery
from app.db.sealing import Sealer, Unsealable
from app.db.session import Database
from app.domain.errors import Unavailable
from app.domain.webhook_messages import Answer, DeliveryError, body_of, signed_headers, wait_s
from app.logs import get_logger
from worker import metrics

_LOG = get_logger(__name__)

Post = Callable[[str, Mapping[str, str], bytes], Answer]
"""(url, headers, body) → how it ended."""


@dataclass(frozen=True, kw_only=True)
class DelivererOptions:
    lease_s: float = 60.0
    poll_every_s: float = 1.0
    max_parallel: int = 16
    failing_for_s: float = 5 * 86_400.0
    """A webhook that had failures only for so long is disabled."""
    luck: Callable[[], float] = random.random
    """Spreads tries, so that what failed together does not come back together."""


class Deliverer:
    """One per process; several processes share the work."""

    def __init__(
        self, database: Database, sealer: Sealer, post: Post, options: DelivererOptions | None = None
    ) -> None:
        self._database = database
        self._sealer = sealer
        self._post = post
        self._options = options or DelivererOptions()
        self._lock = threading.Lock()
        self._num_busy = 0
        self._something_happened = threading.Event()

    def run(self, ended: threading.Event) -> None:
        """Deliver until `ended` is set; what has been claimed by then is sent and recorded."""
        with ThreadPoolExecutor(self._options.max_parallel, thread_name_prefix="deliver") as pool:
            while not ended.is_set():
                self._something_happened.clear()
                claimed = self._claim_quietly()
                with self._lock:
                    self._num_busy += len(claimed)
                for one in claimed:
                    pool.submit(self._take, one)
                if not claimed:
                    self._something_happened.wait(self._options.poll_every_s)

    def deliver_due(self) -> int:
        """Everything that is due now, one after the other, in this thread; returns how many tries were
        made."""
        num_tries = 0
        while claimed := self._claim():
            for one in claimed:
                self.carry_out(one)
            num_tries += len(claimed)
        return num_tries

    def _claim_quietly(self) -> list[ClaimedDelivery]:
        try:
            return self._claim()
        except Unavailable:
            _LOG.warning("claim_skipped", reason="database_unavailable")
            return []

    def _claim(self) -> list[ClaimedDelivery]:
        with self._lock:
            num_free = self._options.max_parallel - self._num_busy
        if num_free <= 0:
            return []
        with self._database.unit_of_work() as unit:
            return unit.webhook_claims.claim(num_free, lease_s=self._options.lease_s)

    def _take(self, claimed: ClaimedDelivery) -> None:
        try:
            self.carry_out(claimed)
        except Unavailable:
            _LOG.warning("try_not_recorded", delivery_id=claimed.id, reason="database_unavailable")
        except Exception as error:  # noqa: BLE001 - a bug with one delivery must not end the thread unseen
            _LOG.error("try_crashed", delivery_id=claimed.id, reason=type(error).__name__)
        finally:
            with self._lock:
                self._num_busy -= 1
            self._something_happened.set()

    def carry_out(self, claimed: ClaimedDelivery) -> None:
        """One try and its record. Raises Unavailable where it cannot be recorded; it is then made again."""
        answer = self._send(claimed)
        wait = wait_s(claimed.num_tries, luck=self._options.luck(), retry_after_s=answer.retry_after_s)
        with self._database.unit_of_work() as unit:
            state = unit.webhook_claims.record(
                claimed, answer, wait_s=wait, failing_for_s=self._options.failing_for_s
            )
        metrics.DELIVERIES.labels("failed" if answer.error else "delivered").inc()
        _LOG.info(
            "webhook_tried",
            webhook_id=claimed.webhook_id,
            delivery_id=claimed.id,
            attempt=claimed.attempt,
            state=state.value if state else "fenced_off",
            status=answer.status,
            error=answer.error.value if answer.error else None,
            took_ms=round(1000 * answer.took_s),
        )

    def _send(self, claimed: ClaimedDelivery) -> Answer:
        try:
            texts = [self._sealer.unseal(sealed) for sealed in claimed.sealed_secrets]
        except Unsealable:
            _LOG.error("webhook_unreadable", webhook_id=claimed.webhook_id)
            return Answer(error=DeliveryError.SECRET_UNREADABLE)
        body = body_of(claimed.event, claimed.occurred_at, claimed.data)
        headers = signed_headers(
            texts, message_id=claimed.message_id, timestamp_s=int(time.time()), body=body
        )
        return self._post(claimed.url, headers, body)
