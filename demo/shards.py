"""The data owner's part: shards into the object store. Knows the object store, but not the service."""

from pathlib import Path

import boto3


def put(folder: Path, storage: dict[str, str], bucket: str, prefix: str) -> str:
    """Store every file of `folder` below `prefix`; returns the s3:// address of the prefix."""
    store = boto3.client("s3", **storage)  # type: ignore[call-overload]
    for path in sorted(folder.iterdir()):
        store.upload_file(str(path), bucket, f"{prefix}/{path.name}")
    return f"s3://{bucket}/{prefix}/"
