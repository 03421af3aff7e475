"""Vendor errors become ours, and name no secret."""

from email.utils import formatdate

import pytest
from botocore.exceptions import ClientError, ConnectTimeoutError, EndpointConnectionError, NoCredentialsError

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
from app.storage.s3 import attachment
from app.storage.s3_client import translated


def response(code: str, status: int, **headers: str) -> ClientError:
    metadata = {"HTTPStatusCode": status, "HTTPHeaders": headers}
    return ClientError(
        {"Error": {"Code": code, "Message": "m"}, "ResponseMetadata": metadata},  # type: ignore[typeddict-item]
        "GetObject",
    )


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (response("NoSuchKey", 404), ObjectNotFound),
        (response("404", 404), ObjectNotFound),
        (response("NoSuchBucket", 404), BucketNotFound),
        (response("NoSuchUpload", 404), UploadNotFound),
        (response("InvalidPart", 400), PartsRefused),
        (response("EntityTooSmall", 400), PartsRefused),
        (response("PreconditionFailed", 412), PreconditionFailed),
        (response("ConditionalRequestConflict", 409), PreconditionFailed),
        (response("SignatureDoesNotMatch", 403), AccessDenied),
        (response("RequestTimeTooSkewed", 403), ClockWrong),
        (response("403", 403, date="Mon, 05 Jan 2026 10:00:00 GMT"), ClockWrong),
        (response("403", 403, date="yesterday"), AccessDenied),
        (response("SlowDown", 503), StoreUnavailable),
        (response("InternalError", 500), StoreUnavailable),
        (response("Whatever", 429), StoreUnavailable),
        (response("NotImplemented", 400), StorageError),
        (EndpointConnectionError(endpoint_url="http://x"), StoreUnavailable),
        (ConnectTimeoutError(endpoint_url="http://x"), StoreUnavailable),
        (NoCredentialsError(), StorageError),
    ],
)
def test_each_vendor_error_becomes_one_of_ours(error: Exception, expected: type[StorageError]) -> None:
    with pytest.raises(StorageError) as caught, translated("some/key"):
        raise error
    assert type(caught.value) is expected
    assert "some/key" in str(caught.value)
    assert caught.value.retryable is (expected is StoreUnavailable)


def test_a_refusal_by_a_store_whose_clock_is_right_is_no_matter_of_clocks() -> None:
    with pytest.raises(AccessDenied) as caught, translated("some/key"):
        # Read now: in a whole run, tests are collected long before they run.
        raise response("403", 403, date=formatdate(usegmt=True))
    assert type(caught.value) is AccessDenied


def test_what_is_not_the_stores_passes_untouched() -> None:
    with pytest.raises(KeyError), translated("some/key"):
        raise KeyError("a bug")


@pytest.mark.parametrize("filename", ['a"; evil="1', "a\r\nX-Evil: 1", "../../etc/passwd", "é", ""])
def test_no_file_name_breaks_out_of_the_header(filename: str) -> None:
    header = attachment(filename)
    assert header.isascii()
    assert header.isprintable()
    assert header.startswith('attachment; filename="')
    assert header.count('"') == 2
    assert "/" not in header
