"""Names that customers give and people see: files, classes, templates."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from app.schemas.datasets import DatasetIn
from app.schemas.uploads import UploadIn

UNFIT = {
    "reads backwards": "clip\u202etp.exe",
    "isolated": "\u2066clip\u2069.pt",
    "two lines": "clip\u2028.pt",
    "next line": "clip\x85.pt",
    "terminal escape": "clip\x1b[2J.pt",
    "delete": "clip\x7f.pt",
    "control of the upper half": "clip\x9b2J.pt",
    "byte order mark": "\ufeffclip.pt",
    "surrogate": "clip\ud800.pt",
    "NUL": "clip\0.pt",
}
FIT = [
    "clip.pt",
    "модель é 猫.pt",
    "نموذج.pt",
    "family \U0001f468\u200d\U0001f469.pt",
    "=1+1.pt",
    "<b>clip.pt",
]


def upload(name: str) -> Any:
    return UploadIn(filename=name, size_bytes=1)


def class_names(name: str) -> Any:
    return DatasetIn(kind="labelled", uri="s3://b/x/", class_names=["cat", name])


def templates(name: str) -> Any:
    return DatasetIn(kind="labelled", uri="s3://b/x/", templates=[f"{name} {{c}}"])


@pytest.mark.parametrize("make", [upload, class_names, templates])
@pytest.mark.parametrize("name", sorted(UNFIT))
def test_a_name_that_misleads_is_refused(make: Any, name: str) -> None:
    with pytest.raises(ValidationError):
        make(UNFIT[name])


@pytest.mark.parametrize("make", [upload, class_names, templates])
@pytest.mark.parametrize("name", FIT)
def test_names_in_every_script_are_taken_as_they_are(make: Any, name: str) -> None:
    assert name in json.dumps(make(name).model_dump(), ensure_ascii=False)


def test_line_breaks_in_class_names_are_refused_when_they_are_given_and_not_when_the_job_runs() -> None:
    with pytest.raises(ValidationError):
        class_names("golden\nretriever")


def test_the_pattern_is_still_published() -> None:
    assert "pattern" in UploadIn.model_json_schema()["properties"]["filename"]
