"""What can go wrong at the object store, in our words; no vendor's exception passes this edge.

    StorageError
    ├── ObjectNotFound       no such object
    ├── BucketNotFound       no such bucket: a matter of configuration
    ├── UploadNotFound       no such multipart upload: completed, aborted or never begun
    ├── PartsRefused         parts missing, too small, or not those that were stored
    ├── SizeMismatch         the parts stored are not as many bytes as were declared
    ├── PreconditionFailed   the key is taken already (or changed while it was read)
    ├── AccessDenied         the store refuses our credentials for this action
    │   └── ClockWrong       because our clock or the store's is wrong
    └── StoreUnavailable     no answer, or an answer that says "later"; the only one worth a retry
        └── StoreRefused     not asked: too many ask already, or it failed several times in a row

Messages name keys and codes; never a credential, never a presigned URL.
"""

import math
from typing import ClassVar


class StorageError(Exception):
    """Base class; raised itself for what fits nowhere below."""

    retryable: ClassVar[bool] = False


class ObjectNotFound(StorageError):
    """There is no object under this key."""


class BucketNotFound(StorageError):
    """There is no such bucket, or we may not know of it."""


class UploadNotFound(StorageError):
    """The multipart upload does not exist (any more)."""


class PartsRefused(StorageError):
    """The store does not accept this list of parts."""


class SizeMismatch(StorageError):
    """Declared and stored sizes differ."""

    def __init__(self, message: str, *, expected_bytes: int, stored_bytes: int) -> None:
        super().__init__(message)
        self.expected_bytes = expected_bytes
        self.stored_bytes = stored_bytes


class PreconditionFailed(StorageError):
    """A conditional request did not hold: the key is taken, or the object changed."""


class AccessDenied(StorageError):
    """Wrong or insufficient credentials."""


class ClockWrong(AccessDenied):
    """The store refuses us, and its clock and ours are minutes apart: signatures carry the time."""


class StoreUnavailable(StorageError):
    """The store cannot be reached or is overloaded."""

    retryable: ClassVar[bool] = True


class StoreRefused(StoreUnavailable):
    """The store was not asked, so that a store that hangs stops nothing else. `reason`: `busy` or `open`."""

    def __init__(self, message: str, *, reason: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.reason = reason
        self.retry_after_s = max(1, math.ceil(retry_after_s))
