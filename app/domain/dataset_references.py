"""References to shards in the object store: `s3://bucket/prefix/` or `s3://bucket/p/name-{000..009}.tar`.

Pure text: parsing, the allowed prefixes, the expansion of one brace range, and which keys below a prefix
belong to a dataset. Anything that could be read in two ways (dots,
percent signs, a query, a user name, a port, control characters, a second slash) is refused.

A dataset's few samples for people (samples.json, beside its summary) are a file of its validation. Every
image in it was made by the worker, of pixels; nothing of a customer's file is in it but short texts.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from app.domain.errors import InvalidInput
from app.domain.limits import MAX_DATASET_FILES
from app.domain.object_keys import FOLDERS

CLASS_NAMES_FILE = "classnames.txt"
TEMPLATES_FILE = "zeroshot_classification_templates.txt"
SIDE_FILES = (CLASS_NAMES_FILE, TEMPLATES_FILE)

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_SEGMENT = re.compile(r"[A-Za-z0-9_=+,@~-][A-Za-z0-9_=+,@~. -]*")
_RANGE = re.compile(r"\{(\d{1,9})\.\.(\d{1,9})\}")
_POINTER = "/uri"
PROJECT_PLACEHOLDER = "{project}"
"""Stands in an allowed prefix for the id of the project that asks."""


@dataclass(frozen=True, kw_only=True)
class DatasetReference:
    """Where shards lie: `keys` one by one, or everything below `prefix` (ends with a slash)."""

    bucket: str
    prefix: str
    keys: tuple[str, ...] | None = None

    def holds(self, key: str, *, is_labelled: bool) -> bool:
        """Whether an object below `prefix` belongs to the dataset."""
        if not key.startswith(self.prefix):
            return False
        name = key.removeprefix(self.prefix)
        if is_labelled and name in SIDE_FILES:
            return True
        return key in self.keys if self.keys is not None else name.endswith(".tar")


def _refuse(code: str, message: str, remedy: str) -> InvalidInput:
    return InvalidInput(code, message, remedy, pointer=_POINTER)


def parse_reference(uri: str, *, max_files: int = MAX_DATASET_FILES) -> DatasetReference:
    """Read a reference. Raises InvalidInput `dataset_uri_invalid` or `dataset_too_many_shards`."""
    malformed = _refuse(
        "dataset_uri_invalid",
        "The reference is not of the form s3://bucket/prefix/ or s3://bucket/path/name-{000000..000009}.tar.",
        "Use plain names (letters, digits and - _ = + , @ ~ .), without '..', '//', '%' and '?'.",
    )
    scheme, separator, rest = uri.partition("://")
    bucket, slash, path = rest.partition("/")
    if scheme == "s3" and _BUCKET.fullmatch(bucket) and not path:
        raise _refuse(
            "dataset_uri_invalid",
            "The reference names a whole bucket; a dataset is a folder in it, or .tar files.",
            f"Put the shards into a folder and name that: s3://{bucket}/prefix/.",
        )
    if scheme != "s3" or not separator or not slash or not path:
        raise malformed
    if not _BUCKET.fullmatch(bucket) or ".." in bucket or not path.isascii():
        raise malformed
    folder, _, last = path.rpartition("/")
    segments = folder.split("/") if folder else []
    if any(not _SEGMENT.fullmatch(segment) for segment in segments):
        raise malformed
    prefix = f"{folder}/" if folder else ""
    if not last:
        return DatasetReference(bucket=bucket, prefix=prefix)
    if not last.endswith(".tar"):
        raise malformed
    names = _expand(last, max_files)
    if any(not _SEGMENT.fullmatch(name) for name in names):
        raise malformed
    return DatasetReference(bucket=bucket, prefix=prefix, keys=tuple(prefix + name for name in names))


def _expand(name: str, max_files: int) -> list[str]:
    """The names of one brace range; a name without braces is itself. Counted before anything is built."""
    match = _RANGE.search(name)
    if match is None:
        return [name]
    first, last = int(match[1]), int(match[2])
    if last < first or len(match[1]) > len(match[2]):
        raise _refuse(
            "dataset_uri_invalid",
            "The range in braces runs backwards: its first number is larger than its last.",
            "Write the smaller number first: {000000..000009}.",
        )
    if last - first + 1 > max_files:
        raise too_many_shards(last - first + 1, max_files)
    width = len(match[1])
    head, tail = name[: match.start()], name[match.end() :]
    return [f"{head}{number:0{width}d}{tail}" for number in range(first, last + 1)]


def too_many_shards(num: int, most: int) -> InvalidInput:
    return _refuse(
        "dataset_too_many_shards",
        f"The dataset has {num} files; {most} are allowed.",
        "Use fewer, larger shards.",
    )


def no_shards() -> InvalidInput:
    return _refuse(
        "dataset_empty",
        "There is no .tar shard at this reference.",
        "Check the path; shards are WebDataset .tar files.",
    )


def bucket_not_allowed() -> InvalidInput:
    return _refuse(
        "dataset_uri_not_allowed",
        "The service may not read this bucket, or there is no such bucket.",
        "Check the name; ask the operator to give the service access.",
    )


def is_prefix(text: str) -> bool:
    """Whether it can be an allowed prefix: `s3://bucket/a/b/`, the placeholder one whole folder at most."""
    scheme, separator, rest = text.partition("://")
    bucket, slash, folder = rest.partition("/")
    if scheme != "s3" or not separator or not bucket or not slash or not text.endswith("/"):
        return False
    segments = folder.split("/")
    others = [bucket, *(segment for segment in segments if segment != PROJECT_PLACEHOLDER)]
    return segments.count(PROJECT_PLACEHOLDER) <= 1 and not any(set("{}") & set(part) for part in others)


def opened_to_all(prefixes: Sequence[str]) -> list[str]:
    """The per-project prefixes that a shared one among `prefixes` contains, and so opens to every project."""
    shared = [prefix for prefix in prefixes if PROJECT_PLACEHOLDER not in prefix]
    own = [prefix for prefix in prefixes if PROJECT_PLACEHOLDER in prefix]
    return [prefix for prefix in own if any(prefix.startswith(outer) for outer in shared)]


def check_allowed(
    reference: DatasetReference,
    allowed_prefixes: Iterable[str],
    *,
    project_id: str,
    own_bucket: str | None = None,
) -> None:
    """Raise InvalidInput `dataset_uri_not_allowed` unless the reference lies below an allowed prefix.

    `allowed_prefixes` have the form `s3://bucket/prefix/`, the last slash included. One with `{project}` is
    each project's own; one without is shared by all. In `own_bucket` the service's own folders, which hold
    other projects' files, are never allowed, whatever the operator set.
    """
    place = f"s3://{reference.bucket}/{reference.prefix}"
    is_inward = reference.bucket == own_bucket and reference.prefix.split("/")[0] in FOLDERS
    allowed = (prefix.replace(PROJECT_PLACEHOLDER, project_id) for prefix in allowed_prefixes)
    if is_inward or not any(place.startswith(prefix) for prefix in allowed):
        raise _refuse(
            "dataset_uri_not_allowed",
            f"The reference is outside the prefixes that this service may read for project {project_id}.",
            "Ask the operator which prefixes your project may use, or upload the data and give upload_id.",
        )


SAMPLES_NAME = "samples.json"
MAX_SAMPLES_BYTES = 2 * 2**20


@dataclass(frozen=True, kw_only=True)
class DatasetSample:
    """One sample: `caption` of a pair, `label` and `class_name` of a labelled image."""

    index: int
    key: str
    caption: str | None
    label: int | None
    class_name: str | None
    width: int
    height: int
    jpeg_base64: str


@dataclass(frozen=True, kw_only=True)
class DatasetSamples:
    """Drawn by `seed` from all good samples, in the order of the set."""

    object: str = "dataset_samples"
    seed: int
    samples: tuple[DatasetSample, ...]
