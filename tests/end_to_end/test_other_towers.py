"""A SigLIP, with the digest of its tokenizer, and a ConvNeXt through the whole service."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from cleanclip.evidence.verification import verify
from cleanclip.sync.client import Client
from cleanclip.vocabulary.jobspec import TOKENIZERS_VARIABLE
from cleanclip.vocabulary.recipe import DeclaredOptions
from sanitizer.checkpoints.inspection import inspect_upload
from sanitizer.checkpoints.model import load_canonical
from tests.end_to_end.live import PATIENCE_S, Live
from tests.end_to_end.subject import Subject, contents
from tests.fixtures import siglips
from tests.fixtures.audited import CLASS_NAMES, pictures, write_answered
from tests.fixtures.siglips import (
    assert_same_features,
    features,
    put_on_shelf,
    tokenizer_content,
    write_siglip,
)
from tests.fixtures.timm_clips import KINDS, write_timm_clip

pytestmark = [pytest.mark.full, pytest.mark.timeout(900)]

AUDIT: dict[str, Any] = {"target": "dog", "attacks": [{"attack": "badnet"}], "batch_size": 20}
UAR: dict[str, Any] = {
    "method": "uar",
    "trained_on": "images_of_pairs",
    "epochs": 2,
    "strong_epochs": 1,
    "batch_size": 16,
    "learning_rate": 1e-3,
    "warmup_steps": 2,
    "inversion_steps": 2,
    "reinversion_steps": 2,
}
SCAN: dict[str, Any] = {
    "detectors": ["collapse"],
    "collapse": {
        "families": [{"family": "patch", "budget": 0.25}],
        "restarts": 2,
        "steps": [1, 2],
        "images_per_step": 4,
    },
    "num_images": 64,
    "num_held_out": 64,
    "num_examples": 1,
}


def _siglip(upload: Path, shelf: Path) -> tuple[torch.nn.Module, DeclaredOptions]:
    digest = put_on_shelf(shelf, tokenizer_content())
    return write_siglip(upload, "huggingface"), siglips.declared(digest)


def _convnext(upload: Path, shelf: Path) -> tuple[torch.nn.Module, DeclaredOptions]:
    return write_timm_clip(upload, "convnext"), KINDS["convnext"].declared


@pytest.fixture(autouse=True)
def _shelf(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TOKENIZERS_VARIABLE, str(live.shelf))


@pytest.mark.parametrize("write", [_siglip, _convnext], ids=["siglip", "convnext"])
def test_a_model_goes_the_whole_way_and_its_library_reads_what_comes_back(
    write: Callable[[Path, Path], tuple[torch.nn.Module, DeclaredOptions]],
    live: Live,
    client: Client,
    subject: Subject,
    tmp_path: Path,
) -> None:
    upload = tmp_path / "upload.safetensors"
    library, options = write(upload, live.shelf)
    canonical = tmp_path / "canonical"
    inspect_upload(upload, canonical, declared=options, filename=upload.name)
    labelled = write_answered(tmp_path / "labelled", canonical, pictures(140), CLASS_NAMES)
    data = client.datasets.create(
        kind="labelled", uri=live.put_data(f"of_{write.__name__}", contents(labelled))
    )
    sent = client.uploads.upload_file(upload, declared=asdict(options))
    assert sent.checkpoint_id is not None
    checkpoint = client.checkpoints.wait(sent.checkpoint_id, sha256=sent.sha256, timeout_s=PATIENCE_S)
    assert checkpoint.state == "accepted"
    assert client.datasets.wait(data.id, timeout_s=PATIENCE_S).state == "ready"

    audit = {**AUDIT, "dataset_id": data.id}
    orders: dict[str, dict[str, Any]] = {
        "audit": {"audit": audit},
        "scan": {"scan": {**SCAN, "dataset_id": data.id}},
        "sanitize": {
            "dataset_id": subject.pairs.id,
            "audit": audit,
            "recipe": UAR,
            "output_layout": "as_uploaded",
        },
    }
    jobs = {
        kind: client.jobs.create(kind=kind, checkpoint_id=checkpoint.id, seed=1, **order)
        for kind, order in orders.items()
    }
    for kind, job in jobs.items():
        ended = client.jobs.wait(job.id, timeout_s=PATIENCE_S)
        assert ended.state == "succeeded", (kind, ended.error)
        (tmp_path / kind).mkdir()
        for artifact in client.jobs.artifacts(job.id):
            client.artifacts.download(artifact.id, tmp_path / kind)
        assert [str(one) for one in verify(tmp_path / kind).findings] == [], kind

    back = safetensors.torch.load_file(tmp_path / "sanitize" / "as_uploaded.safetensors")
    cleaned = load_canonical(tmp_path / "sanitize")
    image, tokens = torch.rand(2, 3, 32, 32) * 2 - 1, cleaned.tokenize(["a dog", "the ship"])
    before = features(library, image, tokens)[0]
    library.load_state_dict(back)
    assert_same_features(cleaned.model, library, image, tokens)
    assert not torch.allclose(before, features(library, image, tokens)[0], atol=1e-3)
