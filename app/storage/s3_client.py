"""The boto3 client: how it is configured, and how its exceptions become ours.

Portable across S3 servers: path addressing by default, SigV4, checksums only where S3 requires them
(servers that are not Amazon's differ in the newer ones), no proxy for a server on this machine.
"""

from __future__ import annotations

import ipaddress
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from functools import cache
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import boto3
from boto3.exceptions import S3UploadFailedError
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError, IncompleteReadError
from botocore.exceptions import ConnectionError as BotoConnectionError

from app.settings import StorageSettings
from app.storage.errors import (
    AccessDenied,
    BucketNotFound,
    ClockWrong,
    ObjectNotFound,
    PartsRefused,
    PreconditionFailed,
    StorageError,
    StoreUnavailable,
    UploadNotFound,
)

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

_BY_CODE: dict[str, type[StorageError]] = {
    "NoSuchKey": ObjectNotFound,
    "NotFound": ObjectNotFound,
    "404": ObjectNotFound,
    "NoSuchBucket": BucketNotFound,
    "NoSuchUpload": UploadNotFound,
    "InvalidPart": PartsRefused,
    "InvalidPartOrder": PartsRefused,
    "EntityTooSmall": PartsRefused,
    "PreconditionFailed": PreconditionFailed,
    "ConditionalRequestConflict": PreconditionFailed,
    "412": PreconditionFailed,
    "AccessDenied": AccessDenied,
    "InvalidAccessKeyId": AccessDenied,
    "SignatureDoesNotMatch": AccessDenied,
    "403": AccessDenied,
    "SlowDown": StoreUnavailable,
    "ServiceUnavailable": StoreUnavailable,
    "RequestTimeout": StoreUnavailable,
    "RequestTimeTooSkewed": ClockWrong,
}
_MAX_SKEW_S = 300.0
"""Stores take a quarter of an hour; no clock that somebody keeps is wrong by a third of it."""
_MAKING = threading.Lock()
"""Sessions are not made for several threads; the clients that they make are."""
_UNREACHABLE = (BotoConnectionError, HTTPClientError, IncompleteReadError)


def make_client(settings: StorageSettings, *, endpoint_url: str | None) -> S3Client:
    """A client for one endpoint; thread-safe. Opens no connection yet."""
    config = Config(
        signature_version="s3v4",
        s3={"addressing_style": settings.addressing_style},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        connect_timeout=settings.connect_timeout_s,
        read_timeout=settings.read_timeout_s,
        retries={"mode": "standard", "total_max_attempts": settings.max_attempts},
        max_pool_connections=32,
        tcp_keepalive=True,
        proxies={} if _is_on_this_machine(endpoint_url) else None,
    )
    with _MAKING:
        return _session().client(
            "s3",
            endpoint_url=endpoint_url,
            region_name=settings.region,
            aws_access_key_id=settings.access_key,
            aws_secret_access_key=settings.secret_key.get_secret_value(),
            config=config,
        )


@cache
def _session() -> boto3.session.Session:
    """One for the process: each reads the model of S3's protocol again, for a tenth of a second."""
    return boto3.session.Session()


def _is_on_this_machine(endpoint_url: str | None) -> bool:
    host = urlsplit(endpoint_url or "").hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@contextmanager
def translated(subject: str) -> Iterator[None]:
    """Everything boto3 raises inside leaves as a StorageError that names `subject` (a key or a bucket)."""
    try:
        yield
    except ClientError as error:
        raise _from_response(error, subject) from error
    except S3UploadFailedError as error:
        cause = error.__context__
        if isinstance(cause, ClientError):
            raise _from_response(cause, subject) from error
        raise StoreUnavailable(f"{subject}: the upload broke off") from error
    except _UNREACHABLE as error:
        raise StoreUnavailable(
            f"{subject}: no answer from the object store ({type(error).__name__})"
        ) from error
    except BotoCoreError as error:
        raise StorageError(f"{subject}: {type(error).__name__}") from error


def _from_response(error: ClientError, subject: str) -> StorageError:
    code = str(error.response.get("Error", {}).get("Code", ""))
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    kind = _BY_CODE.get(code)
    if kind is None:
        kind = StoreUnavailable if status >= 500 or status == 429 else StorageError
    if kind is AccessDenied and _clocks_differ(error):
        kind = ClockWrong  # not every store says so, and none does in an answer to HEAD
    return kind(f"{subject}: {code or 'error'} ({error.operation_name}, HTTP {status})")


def _clocks_differ(error: ClientError) -> bool:
    """Whether the answer's own date is so far from ours that stores refuse what we sign."""
    date = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date", "")
    try:
        stores = parsedate_to_datetime(date).timestamp()
    except ValueError:
        return False
    return abs(time.time() - stores) > _MAX_SKEW_S
