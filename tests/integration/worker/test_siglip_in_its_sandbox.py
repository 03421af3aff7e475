"""A SigLIP in the process that a worker starts for it: timm and the shelf are within reach; it is audited."""

from pathlib import Path

import pytest

from cleanclip.vocabulary.attack_options import BadNetOptions
from cleanclip.vocabulary.jobspec import (
    CHECKPOINT_PATH,
    EXIT_SUCCEEDED,
    TOKENIZERS_VARIABLE,
    AuditSpec,
    path_of_role,
)
from cleanclip.vocabulary.recipe import AuditOptions
from sanitizer.checkpoints.inspection import inspect_upload
from tests.fixtures.audited import CLASS_NAMES, pictures, write_answered
from tests.fixtures.real_child import run_child
from tests.fixtures.siglips import declared, put_on_shelf, tokenizer_content, write_siglip

pytestmark = pytest.mark.slow


def test_a_siglip_is_audited_in_its_sandbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TOKENIZERS_VARIABLE, str(tmp_path / "shelf"))
    digest = put_on_shelf(tmp_path / "shelf", tokenizer_content())
    upload, job = tmp_path / "upload.safetensors", tmp_path / "job"
    write_siglip(upload, "huggingface")
    inspect_upload(upload, job / CHECKPOINT_PATH, declared=declared(digest), filename=upload.name)
    write_answered(job / path_of_role("labelled"), job / CHECKPOINT_PATH, pictures(140), CLASS_NAMES)
    monkeypatch.delenv(TOKENIZERS_VARIABLE)
    spec = AuditSpec(audit=AuditOptions(target="dog", attacks=(BadNetOptions(),)))
    ran = run_child(tmp_path, spec, tokenizers_dir=tmp_path / "shelf")
    assert ran.status == EXIT_SUCCEEDED, ran.log
    assert (job / "outputs" / "report.json").is_file()
    refused = run_child(tmp_path, spec)
    assert refused.outcome is not None
    assert "tokenizer_not_on_shelf" in str(refused.outcome)
