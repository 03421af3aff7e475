"""No reference to a dataset leads inward: refused before a name is resolved or the store is asked."""

import socket
from typing import Any

import pytest

from app.domain.dataset_references import check_allowed, parse_reference
from app.domain.errors import InvalidInput
from app.domain.object_keys import FOLDERS
from app.services.datasets import check_reference
from app.settings import DatasetSettings

LIMITS = DatasetSettings(allowed_prefixes=("s3://bucket/data/", "s3://own/"))

METADATA = [
    "http://169.254.169.254/latest/meta-data/iam/security-credentials/",
    "http://[fd00:ec2::254]/latest/meta-data/",
    "http://metadata.google.internal/computeMetadata/v1/",
    "http://100.100.100.200/latest/meta-data/",
    "s3://169.254.169.254/latest/meta-data/",
    "s3://metadata.google.internal/computeMetadata/v1/",
    "s3://[fd00:ec2::254]/latest/meta-data/",
]
LOOPBACK = [
    f"{scheme}://{host}/data/"
    for scheme in ("http", "s3")
    for host in (
        "127.0.0.1", "127.1", "127.0.1", "0", "0.0.0.0", "0x7f.1", "0x7f000001", "2130706433", "0177.0.0.1",
        "017700000001", "[::1]", "[::]", "[::ffff:127.0.0.1]", "[0:0:0:0:0:ffff:7f00:1]", "①②⑦.⓪.⓪.①",
        "localhost", "LOCALHOST", "localhost.", "localtest.me", "127.0.0.1.nip.io", "127.0.0.1:6379",
        "127.0.0.1%2f@bucket",
    )
]  # fmt: skip
USERINFO = [
    "s3://bucket@127.0.0.1/data/",
    "s3://bucket:data@127.0.0.1/data/",
    "s3://127.0.0.1@bucket/data/",
    "s3://bucket#@127.0.0.1/data/",
    "s3://bucket\\@127.0.0.1/data/",
    "s3://bucket:8333/data/",
]
CLIMBING = [
    "s3://bucket/../own/",
    "s3://bucket/data/../secret/",
    "s3://bucket/data/..",
    "s3://bucket/data/.../x/",
    "s3://bucket/data/..;/x/",
    "s3://bucket/data/%2e%2e/secret/",
    "s3://bucket/data/%252e%252e/secret/",
    "s3://bucket/data/..%2fsecret/",
    "s3://bucket/data/..\\secret/",
    "s3://bucket/data//../secret/",
    "s3://bucket//data/",
    "s3:///data/",
    "s3:////data/",
    "s3://bucket/data/\u002e\u002e/secret/",
    "s3://bucket/data/\uff0e\uff0e/secret/",
    "s3://bucket/data/\u2024\u2024/secret/",
    "s3://bucket/data/..\u2215secret/",
    "s3://bucket/dat\u0430/",
    "s3://bucket/data/x\u202e/",
    "s3://bucket/data/\tx/",
    "s3://bucket/data/x\r\nHost: evil/",
    "s3://bucket/data/x\0/",
    "s3://bucket/data /../x/",
    " s3://bucket/data/",
]
CONFUSED = [
    "s3://bucket/database/",
    "s3://bucket/data-2/",
    "s3://bucket/data.tar",
    "s3://bucket/Data/",
    "s3://bucket.data/data/",
    "s3://bucket-2/data/",
    "s3://abucket/data/",
    "s3://bucket.s3.amazonaws.com/data/",
    "s3://bucket..own/data/",
    "s3://BUCKET/data/",
    "s3://data/bucket/data/",
]
ENDPOINTS = [
    "s3://bucket/data/?endpoint=http://169.254.169.254/",
    "s3://bucket/data/x.tar?endpoint_url=http://127.0.0.1/",
    "s3://bucket/data/x.tar?X-Amz-Security-Token=x",
    "s3://bucket/data/x.tar#http://127.0.0.1/",
    "s3://bucket/data/;endpoint=http://127.0.0.1/",
    "s3://arn:aws:s3:us-east-1:123456789012:accesspoint/evil/data/",
    "s3://evil--use1-az4--x-s3/data/",
    "s3+http://127.0.0.1/bucket/data/",
    "s3a://bucket/data/",
    "S3://bucket/data/",
    "s3:bucket/data/",
]
SCHEMES = [
    "https://bucket.s3.amazonaws.com/data/",
    "file:///etc/passwd",
    "file://localhost/etc/",
    "ftp://127.0.0.1/data/",
    "gopher://127.0.0.1:6379/_FLUSHALL",
    "dict://127.0.0.1:6379/info",
    "pipe:cat /etc/passwd",
    "data:application/x-tar;base64,AAAA",
    "/etc/passwd",
    "hf://org/name@main",
    "hf://org/name@../../other",
    "hf://org/name@https://evil.example/",
    "hf://127.0.0.1/name@0123456789012345678901234567890123456789",
]
OURS = [f"s3://own/{folder}/prj_01k0000000000000000000000a/x/" for folder in FOLDERS] + [
    f"s3://own/{folder}/" for folder in FOLDERS
]


class Unasked:
    """An object store that must not be asked anything."""

    bucket = "own"

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"the store was asked for {name}")


@pytest.mark.parametrize(
    "uri", [*METADATA, *LOOPBACK, *USERINFO, *CLIMBING, *CONFUSED, *ENDPOINTS, *SCHEMES, *OURS], ids=ascii
)
def test_it_is_refused_and_nobody_is_asked(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    resolved: list[Any] = []
    monkeypatch.setattr(socket, "getaddrinfo", lambda *asked, **_: resolved.append(asked))
    with pytest.raises(InvalidInput) as caught:
        check_reference(Unasked(), uri, LIMITS, project_id="prj_a")  # type: ignore[arg-type]
    assert caught.value.code in {"dataset_uri_invalid", "dataset_uri_not_allowed"}
    assert caught.value.pointer == "/uri"
    assert resolved == [], "a name was resolved"


@pytest.mark.parametrize(
    "uri", ["s3://bucket/data/", "s3://bucket/data/x/", "s3://own/shared/x.tar", "s3://own/x.tar"]
)
def test_what_is_allowed_still_is(uri: str) -> None:
    check_allowed(parse_reference(uri), LIMITS.allowed_prefixes, project_id="prj_a", own_bucket="own")


def test_the_folders_of_the_service_are_ordinary_names_in_other_buckets() -> None:
    check_allowed(
        parse_reference("s3://bucket/data/uploads/"),
        LIMITS.allowed_prefixes,
        project_id="prj_a",
        own_bucket="own",
    )
