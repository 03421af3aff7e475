"""The settings that keep a hint a hint; each was measured to matter."""

import pytest

from app.domain.states import JobKind
from app.queue.celery_config import celery_settings
from app.queue.names import ALL_QUEUES, HEAVY_QUEUE, LIGHT_QUEUE, queue_for


def test_a_hint_is_acknowledged_on_receipt_and_never_redelivered_by_the_broker() -> None:
    settings = celery_settings("redis://x/0")
    assert settings["task_acks_late"] is False
    assert settings["task_reject_on_worker_lost"] is False
    assert settings["worker_cancel_long_running_tasks_on_connection_loss"] is False


def test_no_result_is_kept_and_nothing_but_json_is_read() -> None:
    settings = celery_settings("redis://x/0")
    assert settings["result_backend"] is None
    assert settings["task_ignore_result"] is True
    assert settings["accept_content"] == ["json"]


def test_a_broker_that_answers_with_an_error_is_asked_again() -> None:
    assert celery_settings("redis://x/0")["broker_channel_error_retry"] is True


def test_a_worker_takes_one_hint_at_a_time() -> None:
    settings = celery_settings("redis://x/0")
    assert settings["worker_disable_prefetch"] is True
    assert settings["worker_prefetch_multiplier"] == 1
    assert settings["worker_concurrency"] == 1


def test_installations_that_share_a_broker_are_kept_apart_by_a_prefix() -> None:
    assert "global_keyprefix" not in celery_settings("redis://x/0")["broker_transport_options"]
    options = celery_settings("redis://x/0", key_prefix="a:")["broker_transport_options"]
    assert options["global_keyprefix"] == "a:"


@pytest.mark.parametrize(
    ("kind", "queue"),
    [
        (JobKind.INSPECT, LIGHT_QUEUE),
        (JobKind.VALIDATE, LIGHT_QUEUE),
        (JobKind.AUDIT, HEAVY_QUEUE),
        (JobKind.SANITIZE, HEAVY_QUEUE),
    ],
)
def test_an_inspection_does_not_wait_behind_a_training_run(kind: JobKind, queue: str) -> None:
    assert queue_for(kind) == queue
    assert queue in ALL_QUEUES
