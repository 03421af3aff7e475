"""The Celery settings of a worker, each with its reason. Builds no Celery app.

A message is a hint, so a lost one costs at most a sweep and a doubled one costs nothing. The settings
therefore choose the simple side everywhere: acknowledge on receipt, keep no results, hold no second message.
What may come from the broker at all is the business of `worker.hints`.
"""

from typing import Any

from kombu import Queue

from app.queue.names import ALL_QUEUES, HEAVY_QUEUE


def celery_settings(
    broker_url: str, *, key_prefix: str = "", socket_timeout_s: float = 30.0
) -> dict[str, Any]:
    """Settings for `Celery().conf.update`; `key_prefix` separates installations that share one broker."""
    transport: dict[str, Any] = {
        "socket_timeout": socket_timeout_s,
        "socket_connect_timeout": min(socket_timeout_s, 5.0),
        "health_check_interval": 25,
        "retry_on_timeout": False,
    }
    if key_prefix:
        transport["global_keyprefix"] = key_prefix
    return {
        "broker_url": broker_url,
        "broker_transport_options": transport,
        "broker_connection_retry_on_startup": True,
        # A broker that answers with an error (its disk is full, a key has another type) is asked again.
        "broker_channel_error_retry": True,
        "result_backend": None,
        "task_ignore_result": True,
        "task_serializer": "json",
        "accept_content": ["json"],
        "task_default_queue": HEAVY_QUEUE,
        "task_queues": [Queue(name) for name in ALL_QUEUES],
        # The lease in the database, not the broker, brings a lost job back; redelivery would double it.
        "task_acks_late": False,
        "task_reject_on_worker_lost": False,
        # True would kill a job that runs well because the broker restarted.
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        # A worker that runs a job holds no other hint back from an idle one.
        "worker_prefetch_multiplier": 1,
        "worker_disable_prefetch": True,
        "worker_pool": "solo",
        "worker_concurrency": 1,
        "worker_enable_remote_control": False,
        "worker_send_task_events": False,
        "worker_hijack_root_logger": False,
        "worker_redirect_stdouts": False,
        "enable_utc": True,
    }
