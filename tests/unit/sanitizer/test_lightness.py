"""What a child loads for each kind of job, seen in `sys.modules` of a real one: nothing unneeded."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cleanclip.kinds.specs import SPEC_ADAPTER
from cleanclip.vocabulary.attack_options import BadNetOptions
from cleanclip.vocabulary.jobspec import (
    CHECKPOINT_PATH,
    EXIT_REFUSED,
    EXIT_SUCCEEDED,
    TOKENIZERS_VARIABLE,
    AuditSpec,
    InspectSpec,
    JobSpec,
    SanitizeSpec,
    ValidateSpec,
    path_of_role,
)
from cleanclip.vocabulary.recipe import AuditOptions, CleanCLIPRecipe, DeclaredOptions
from sanitizer.checkpoints.inspection import inspect_upload
from tests.fixtures.audited import CLASS_NAMES, pictures, write_answered
from tests.fixtures.checkpoints import DECLARED, write_open_clip
from tests.fixtures.shards import make_labelled
from tests.fixtures.siglips import declared, put_on_shelf, tokenizer_content, write_siglip

pytestmark = pytest.mark.slow
HEAVY = ("torch", "torchvision", "open_clip", "timm", "transformers", "matplotlib", "jinja2")
AUDIT = AuditOptions(target="not a class", attacks=(BadNetOptions(),))
CODE = """
import json, sys
from sanitizer.__main__ import main
code = main(["run", sys.argv[1]])
loaded = [name for name in json.loads(sys.argv[2]) if sys.modules.get(name) is not None]
json.dump({"code": code, "loaded": loaded}, open(sys.argv[3], "w"))
"""


def child_of(folder: Path, spec: JobSpec | None) -> dict[str, object]:
    """Exit code and heavy packages of a fresh interpreter that does this job; None: a spec of nonsense."""
    (folder / "spec.json").write_bytes(b"{" if spec is None else SPEC_ADAPTER.dump_json(spec))
    subprocess.run(
        [sys.executable, "-c", CODE, str(folder), json.dumps(HEAVY), str(folder / "found.json")],
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    found: dict[str, object] = json.loads((folder / "found.json").read_text())
    return found


def test_a_child_that_inspects_loads_torch_and_no_model_code(tmp_path: Path) -> None:
    (tmp_path / "inputs").mkdir()
    write_open_clip(tmp_path / "inputs/upload")
    found = child_of(tmp_path, InspectSpec(filename="x.pt", declared=DeclaredOptions(**DECLARED)))
    assert found["code"] == EXIT_SUCCEEDED
    assert found["loaded"] == ["torch"]


def test_a_child_that_validates_loads_no_torch(tmp_path: Path) -> None:
    make_labelled(tmp_path / "inputs/labelled", 3)
    found = child_of(tmp_path, ValidateSpec(data_kind="labelled"))
    assert found["code"] == EXIT_SUCCEEDED
    assert found["loaded"] == []


@pytest.mark.parametrize(
    "spec",
    [
        pytest.param(AuditSpec(audit=AUDIT), marks=pytest.mark.full),
        SanitizeSpec(audit=AUDIT, recipe=CleanCLIPRecipe()),
    ],
    ids=lambda s: s.kind,
)
def test_a_child_that_runs_a_model_loads_what_the_model_needs_and_no_more(
    spec: JobSpec, tmp_path: Path
) -> None:
    """The job is refused for its target class, by code that comes after all imports."""
    make_labelled(tmp_path / "inputs/labelled", 3)
    found = child_of(tmp_path, spec)
    assert found["code"] == EXIT_REFUSED
    assert found["loaded"] == ["torch", "torchvision", "open_clip"]


@pytest.mark.full  # daily: tests/integration/worker/test_siglip_in_its_sandbox.py
def test_only_the_child_of_a_siglip_loads_timm_and_it_does_its_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same packages are made unimportable for it as for every child, before its model is known."""
    monkeypatch.setenv(TOKENIZERS_VARIABLE, str(tmp_path / "shelf"))
    digest = put_on_shelf(tmp_path / "shelf", tokenizer_content())
    upload = tmp_path / "upload.safetensors"
    write_siglip(upload, "huggingface")
    inspect_upload(upload, tmp_path / CHECKPOINT_PATH, declared=declared(digest), filename=upload.name)
    labelled = tmp_path / path_of_role("labelled")
    write_answered(labelled, tmp_path / CHECKPOINT_PATH, pictures(140), CLASS_NAMES)
    audit = AuditOptions(target="dog", attacks=(BadNetOptions(),))
    found = child_of(tmp_path, AuditSpec(audit=audit))
    assert found["code"] == EXIT_SUCCEEDED
    assert found["loaded"] == ["torch", "torchvision", "open_clip", "timm"]


def test_a_spec_that_makes_no_sense_is_refused_before_anything_is_loaded(tmp_path: Path) -> None:
    found = child_of(tmp_path, None)
    assert found == {"code": EXIT_REFUSED, "loaded": []}
