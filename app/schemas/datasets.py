"""Datasets on the wire: a reference or an upload comes in, counts or the reason for a rejection go out."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from annotated_types import Len
from pydantic import Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from app.db.models.assets import Dataset
from app.db.repositories.assets import ListedDataset
from app.schemas.common import FIT_TO_SHOW, Name, Page, StoredProblem, Time, UploadId, WireIn, WireOut
from cleanclip.vocabulary.bounds import Share

DatasetKindName = Literal["pairs", "labelled"]
ClassName = Annotated[str, Field(min_length=1, max_length=200), FIT_TO_SHOW]
Template = Annotated[
    str, Field(min_length=1, max_length=300, pattern=r"\{c\}", examples=["a photo of a {c}."]), FIT_TO_SHOW
]


Reference = Annotated[str, Field(min_length=6, max_length=1024, examples=["s3://data/clean-pairs/"])]


class DatasetReferenceIn(WireIn):
    """Where shards are: see `uri` of `POST /v1/datasets`."""

    uri: Reference


class DatasetIn(WireIn):
    """Register shards (WebDataset tars). Exactly one of `uri` and `upload_id`.

    `uri`: `s3://bucket/prefix/` takes every .tar below (for a labelled set also classnames.txt and
    zeroshot_classification_templates.txt beside them),
    `s3://bucket/p/name-{000000..000009}.tar` the shards named.
    """

    kind: DatasetKindName
    name: Name | None = None
    uri: Reference | None = None
    upload_id: UploadId | None = None
    class_names: Annotated[list[ClassName], Len(2, 25_000)] | None = Field(
        default=None, description="Labelled sets only; overrides classnames.txt. In the order of the labels."
    )
    templates: Annotated[list[Template], Len(1, 200)] | None = Field(
        default=None, description="Labelled sets only; {c} stands for the class name."
    )
    max_skipped_share: Share = 0.01

    @model_validator(mode="after")
    def _is_coherent(self) -> Self:
        if (self.uri is None) == (self.upload_id is None):
            raise PydanticCustomError(
                "one_source", "Give exactly one of uri and upload_id.", {"pointer": "/uri"}
            )
        for name in ("class_names", "templates"):
            if self.kind == "pairs" and getattr(self, name) is not None:
                raise PydanticCustomError(
                    "labelled_only", "Pairs have no class names and no templates.", {"pointer": f"/{name}"}
                )
        if self.class_names is not None and len(set(self.class_names)) != len(self.class_names):
            raise PydanticCustomError(
                "class_names_repeat", "Each class name may appear once.", {"pointer": "/class_names"}
            )
        return self


class DatasetSummaryOut(WireOut):
    """What the dataset holds, by reading every sample; `sha256` is over its files' names and digests."""

    sha256: str
    num_shards: int
    num_samples: int
    num_skipped: int
    skipped_reasons: dict[str, int]
    skipped_examples: list[str] = Field(default_factory=list, description="Empty in lists.")
    images_per_class: list[int] | None = Field(default=None, description="Null in lists.")

    @classmethod
    def of(cls, summary: dict[str, Any] | None) -> DatasetSummaryOut | None:
        """None also where one of its counts cannot be read."""
        try:
            return None if summary is None else cls.of_stored(summary)
        except ValidationError:
            return None


class DatasetLinks(WireOut):
    self: str


class DatasetOut(WireOut):
    """A dataset: validating → ready | rejected. `summary` has the counts once every sample was read."""

    object: Literal["dataset"] = "dataset"
    id: str
    name: str | None = Field(description="Shown to people. Null where none was given.")
    kind: DatasetKindName
    state: Literal["validating", "ready", "rejected"]
    uri: str | None
    upload_id: str | None
    max_skipped_share: float
    num_files: int | None
    size_bytes: int | None
    num_classes: int | None = Field(description="Null for pairs, and where no names were given or found yet.")
    class_names: list[str] | None = Field(description="In the order of the labels. Null in lists.")
    templates: list[str] | None = Field(description="Null in lists.")
    summary: DatasetSummaryOut | None
    error: StoredProblem | None
    created_at: Time
    updated_at: Time
    links: DatasetLinks

    @classmethod
    def of(cls, row: Dataset) -> DatasetOut:
        """The whole of it."""
        found = row.summary or {}
        names = row.class_names or found.get("class_names")
        files = row.files
        return cls._of(
            row,
            num_classes=len(names) if isinstance(names, list) and names else None,
            num_files=None if files is None else len(files),
            size_bytes=None if files is None else sum(int(file["size_bytes"]) for file in files),
            class_names=names,
            templates=row.templates or found.get("templates"),
        )

    @classmethod
    def of_listed(cls, listed: ListedDataset) -> DatasetOut:
        """As lists have it."""
        return cls._of(
            listed.row,
            num_classes=listed.num_classes,
            num_files=listed.num_files,
            size_bytes=listed.size_bytes,
            class_names=None,
            templates=None,
        )

    @classmethod
    def _of(cls, row: Dataset, *, class_names: Any, templates: Any, **counts: int | None) -> DatasetOut:
        stored = {"class_names": class_names, "templates": templates}
        sure = cls.in_row(
            row,
            **stored,
            **counts,
            summary=DatasetSummaryOut.of(row.summary),
            error=StoredProblem.of(row.error),
            links=DatasetLinks(self=f"/v1/datasets/{row.id}"),
        )
        return cls.of_stored(stored, **{name: sure[name] for name in sure.keys() - stored.keys()})


class DatasetSampleOut(WireOut):
    """One sample: `caption` of a pair, `label` and `class_name` of a labelled image.

    The image is a JPEG of at most 160 pixels a side, made by the service of decoded pixels.
    """

    index: int
    key: str
    caption: str | None
    label: int | None
    class_name: str | None
    width: int
    height: int
    jpeg_base64: str


class DatasetSamplesOut(WireOut):
    """At most twelve of the good samples, drawn by `seed` from all of them, in the order of the set."""

    object: Literal["dataset_samples"] = "dataset_samples"
    seed: int
    samples: list[DatasetSampleOut]


class DatasetPage(Page[DatasetOut]):
    """Datasets, newest first, without class names, templates and what their summaries list: these stand in
    each one alone."""
