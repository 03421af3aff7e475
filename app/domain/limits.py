"""Numbers that bound what the service takes and how long it waits, each with its unit in its name."""

from __future__ import annotations

MIB = 1024 * 1024
GIB = 1024 * MIB

DEFAULT_PAGE = 20
MAX_PAGE = 100

MAX_UPLOAD_BYTES = 64 * GIB
MIN_PART_BYTES = 16 * MIB
MAX_PARTS = 9000
MAX_PARTS_PER_BATCH = 100
MAX_FILENAME_CHARACTERS = 255
UPLOAD_TTL_S = 7 * 24 * 3600

PRESIGNED_PUT_S = 900
PRESIGNED_GET_S = 300

MAX_BODY_BYTES = 1 * MIB
MAX_METADATA_ENTRIES = 32
MAX_METADATA_KEY_CHARACTERS = 64
MAX_METADATA_VALUE_CHARACTERS = 512

MAX_DATASET_FILES = 10_000

IDEMPOTENCY_TTL_S = 24 * 3600
MAX_IDEMPOTENCY_KEY_CHARACTERS = 255

DEFAULT_MAX_ATTEMPTS = 3
MAX_MAX_ATTEMPTS = 10
LEASE_S = 120.0
SWEEP_EVERY_S = 30.0
HINT_AGAIN_AFTER_S = 60.0
MAX_LOG_TAIL_CHARACTERS = 8000


def part_size_for(size_bytes: int) -> int:
    """Bytes of each part but the last: at least 16 MiB, and few enough parts for any store (max 9000)."""
    return max(MIN_PART_BYTES, -(-size_bytes // MAX_PARTS))


def num_parts_for(size_bytes: int) -> int:
    """How many parts a file of that size has; an empty file has one."""
    return max(1, -(-size_bytes // part_size_for(size_bytes)))
