"""Numbers that bound what the service takes, the same in every installation; the rest is in app.settings."""

MIB = 1024 * 1024

DEFAULT_PAGE = 20
MAX_PAGE = 100

MAX_PARTS_PER_BATCH = 100
MAX_FILENAME_CHARACTERS = 255

MAX_METADATA_ENTRIES = 32
MAX_METADATA_KEY_CHARACTERS = 64
MAX_METADATA_VALUE_CHARACTERS = 512

MAX_DATASET_FILES = 10_000

MAX_POLICIES = 100
"""Kept by name, per project."""

MAX_IDEMPOTENCY_KEY_CHARACTERS = 255

DEFAULT_MAX_ATTEMPTS = 3
DEFAULT_RUNNING_JOBS = 16
"""Of one project at once, in each queue."""
MAX_MAX_ATTEMPTS = 10
MAX_LOST_ATTEMPTS = 20
"""Attempts of one job that may end by a fault of the operator's before the job fails: a job that kills every
worker must end. With the waits below, about four hours."""
MAX_LOST_WAIT_S = 900.0
LOST_WORKER_WAIT_S = 30.0
HINT_AGAIN_AFTER_S = 60.0
MAX_LOG_TAIL_CHARACTERS = 8000
