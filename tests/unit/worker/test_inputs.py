"""Which files a dataset consists of, by its reference; and what is refused before a byte is moved."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from app.db.models.assets import Dataset
from app.domain.errors import InvalidInput
from app.domain.states import DatasetKind
from app.settings import DatasetSettings
from app.storage.port import StoredObject
from worker.failures import AttemptFailed
from worker.staging.inputs import describe_dataset, list_dataset, override_texts

LIMITS = DatasetSettings(allowed_prefixes=("s3://data/",))


class Listing:
    """Only what listing needs of a store."""

    def __init__(self, *keys: str, size_bytes: int = 10) -> None:
        self._keys = keys
        self._size_bytes = size_bytes

    bucket = "own"

    def in_bucket(self, bucket: str) -> Listing:
        assert bucket == "data"
        return self

    def list_prefix(self, prefix: str) -> Iterator[StoredObject]:
        for key in self._keys:
            yield StoredObject(key=key, size_bytes=self._size_bytes, etag="e")


def dataset(uri: str, kind: DatasetKind = DatasetKind.PAIRS, **values: Any) -> Dataset:
    return Dataset(id="ds_1", project_id="prj_1", kind=kind, uri=uri, **values)


def paths(*keys: str, uri: str = "s3://data/x/", kind: DatasetKind = DatasetKind.PAIRS) -> list[str]:
    return [file.path for file in list_dataset(Listing(*keys), dataset(uri, kind), None, LIMITS)]  # type: ignore[arg-type]


def code(*keys: str, uri: str = "s3://data/x/", limits: DatasetSettings = LIMITS) -> str:
    with pytest.raises((AttemptFailed, InvalidInput)) as refused:
        list_dataset(Listing(*keys), dataset(uri), None, limits)  # type: ignore[arg-type]
    return refused.value.code


def test_shards_keep_their_names_and_other_objects_are_left_alone() -> None:
    assert paths("x/0.tar", "x/readme.md", "x/classnames.txt") == ["inputs/pairs/0.tar"]


def test_a_job_reads_nothing_of_another_projects_own_place() -> None:
    limits = DatasetSettings(allowed_prefixes=("s3://data/{project}/",))
    assert code("prj_2/0.tar", uri="s3://data/prj_2/", limits=limits) == "dataset_uri_not_allowed"
    mine = list_dataset(Listing("prj_1/0.tar"), dataset("s3://data/prj_1/"), None, limits)  # type: ignore[arg-type]
    assert [file.key for file in mine] == ["prj_1/0.tar"]


def test_a_labelled_set_brings_its_class_names_along() -> None:
    found = paths("x/0.tar", "x/classnames.txt", kind=DatasetKind.LABELLED)
    assert found == ["inputs/labelled/0.tar", "inputs/labelled/classnames.txt"]


def test_a_shard_in_a_folder_below_gets_a_plain_name_of_its_place() -> None:
    assert paths("x/a/0.tar", "x/b/0.tar") == [
        "inputs/pairs/shard-000000.tar",
        "inputs/pairs/shard-000001.tar",
    ]


def test_a_range_takes_its_shards_only_and_a_missing_one_is_named() -> None:
    assert paths("x/s-0.tar", "x/s-1.tar", "x/s-2.tar", uri="s3://data/x/s-{0..1}.tar") == [
        "inputs/pairs/s-0.tar",
        "inputs/pairs/s-1.tar",
    ]
    assert code("x/s-0.tar", uri="s3://data/x/s-{0..1}.tar") == "dataset_shard_missing"


def test_what_is_empty_too_large_outside_or_oddly_named_is_refused() -> None:
    assert code("x/readme.md") == "dataset_empty"
    assert code("x/0.tar", limits=LIMITS.model_copy(update={"max_size_bytes": 5})) == "dataset_too_large"
    few = LIMITS.model_copy(update={"max_num_shards": 1})
    assert code("x/0.tar", "x/1.tar", limits=few) == "dataset_too_many_shards"
    assert code("x/0.tar", uri="s3://other/x/") == "dataset_uri_not_allowed"
    assert code("x/../0.tar") == "dataset_name_unusable"
    assert code("x/\n.tar") == "dataset_name_unusable"


def test_names_given_with_the_data_set_become_lines_and_line_breaks_are_refused() -> None:
    labelled = dataset("s3://data/x/", class_names=["a", "b"], templates=None)
    assert override_texts(labelled, "inputs/labelled") == {"inputs/labelled/classnames.txt": "a\nb\n"}
    with pytest.raises(AttemptFailed):
        override_texts(dataset("s3://data/x/", class_names=["a\nb"], templates=None), "inputs/labelled")


def test_a_statement_counts_all_samples_of_a_data_set_as_reports_do() -> None:
    """The set's own summary counts the good ones; `cleanclip verify` holds statement and report together."""
    summary = {"num_samples": 36, "num_skipped": 24}
    row = dataset("s3://data/", summary=summary)
    assert describe_dataset(row, "pairs", {})["num_samples"] == 60
    row.summary = None
    assert describe_dataset(row, "pairs", {})["num_samples"] is None
