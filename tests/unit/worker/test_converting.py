"""A second conversion of an upload: what it is given, and what it makes of another model."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from cleanclip.vocabulary.jobspec import InspectSpec
from cleanclip.vocabulary.progress import ProgressEvent, ignore
from tests.integration.worker.stand_in_child import canonical_files, weights
from worker.confinement.outcome import Wanted
from worker.failures import AttemptFailed
from worker.publishing.converting import convert_again
from worker.publishing.fresh_child import FreshSpec, Left
from worker.staging.stage import Received, Staged

UPLOAD = b"what the customer sent"


@dataclass
class Converter:
    """In place of a fresh child: makes of the upload what an honest inspection does, but for a `change`."""

    folder: Path
    change: Callable[[dict[str, Any]], None] = lambda config: None
    canonical: bytes | None = None
    failure: AttemptFailed | None = None
    specs: list[FreshSpec] = field(default_factory=list)
    uses_cuda: bool = False

    def folder_of(self, _spec: FreshSpec) -> Path:
        return self.folder / "fresh"

    def run(
        self,
        spec: FreshSpec,
        inputs: Mapping[str, Path],
        _wanted: Wanted,
        *,
        hear: Callable[[ProgressEvent], None] = ignore,
    ) -> Left:
        assert not inputs
        self.specs.append(spec)
        if self.failure is not None:
            raise self.failure
        files, _ = canonical_files((self.folder / "fresh/inputs/upload").read_bytes())
        config = json.loads(files["config.json"])
        self.change(config)
        files |= {"config.json": json.dumps(config).encode()}
        if self.canonical is not None:
            files |= {"model.safetensors": self.canonical}
        for name, content in files.items():
            (self.folder / name).write_bytes(content)
        return Left(files=tuple(self.folder / name for name in files), notes=())


def converted(
    folder: Path, converter: Converter, *, upload: bytes = UPLOAD, findings: tuple[str, ...] = ()
) -> None:
    """What the inspection of `UPLOAD` left, held against `converter`; `findings` are the inspection's."""
    path = folder / "job/inputs/upload"
    path.parent.mkdir(parents=True)
    path.write_bytes(upload)
    received = Received(
        path="inputs/upload", size_bytes=len(UPLOAD), sha256=hashlib.sha256(UPLOAD).hexdigest()
    )
    spec = InspectSpec(filename="clip.pt")
    files, found = canonical_files(UPLOAD)
    config = json.loads(files["config.json"])
    config["checkpoint"] |= {"findings": list(findings), "scanners": [{"name": "picklescan"}]}
    convert_again(
        spec,
        Staged(spec=spec, pins=[], received=(received,)),
        converter,
        weights_sha256=found["weights_sha256"],
        config=json.dumps(config).encode(),
        inputs=folder / "job",
        check=lambda: None,
    )


def test_a_second_conversion_is_given_the_upload_and_runs_no_other_program(tmp_path: Path) -> None:
    converter = Converter(tmp_path)
    converted(tmp_path, converter)
    (spec,) = converter.specs
    assert isinstance(spec, InspectSpec)
    assert spec == InspectSpec(filename="clip.pt", scanner_time_limit_s=0)
    assert not (tmp_path / "job/inputs/upload").exists()


def test_another_model_for_the_uploads_own_is_found_out(tmp_path: Path) -> None:
    with pytest.raises(AttemptFailed, match="gives other weights") as failed:
        converted(tmp_path, Converter(tmp_path, canonical=weights(b"poisoned")))
    assert (failed.value.code, failed.value.retry_in_s) == ("outputs_rejected", None)


@pytest.mark.parametrize(
    "change",
    [
        lambda config: config["preprocess_cfg"].update(mean=[0.0, 0.0, 0.0]),
        lambda config: config["checkpoint"].update(assumed={"norm_eps": "1: assumed, as usual"}),
        lambda config: config["checkpoint"]["upload"].update(prefix="module."),
        lambda config: config["checkpoint"].update(findings=["It holds a second model."]),
        lambda config: config["checkpoint"].update(findings=None),
        lambda config: config.update(checkpoint=[]),
    ],
)
def test_another_description_of_the_upload_is_found_out(
    change: Callable[[dict[str, Any]], None], tmp_path: Path
) -> None:
    with pytest.raises(AttemptFailed, match="describes it otherwise"):
        converted(tmp_path, Converter(tmp_path, change))


def test_what_other_programs_found_comes_after_what_the_reader_did(tmp_path: Path) -> None:
    def found(config: dict[str, Any]) -> None:
        config["checkpoint"]["findings"] = ["Stepped over."]

    converted(tmp_path, Converter(tmp_path, found), findings=("Stepped over.", "torch reads the same."))


def test_an_upload_that_the_inspection_changed_is_not_converted(tmp_path: Path) -> None:
    converter = Converter(tmp_path)
    with pytest.raises(AttemptFailed, match="changed its own inputs"):
        converted(tmp_path, converter, upload=UPLOAD[::-1])
    assert converter.specs == []


@pytest.mark.parametrize("retry_in_s", [None, 3.0])
def test_a_refusal_is_believed_of_the_second_conversion_and_an_outage_is_tried_again(
    retry_in_s: float | None, tmp_path: Path
) -> None:
    failure = AttemptFailed("not_a_clip", "It is not a CLIP.", "Upload one.", retry_in_s=retry_in_s)
    with pytest.raises(AttemptFailed) as failed:
        converted(tmp_path, Converter(tmp_path, failure=failure))
    assert failed.value.code == ("outputs_rejected" if retry_in_s is None else "not_a_clip")
