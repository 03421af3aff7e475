"""Every layout of a CLIP through the library's jobs: read, audited, scanned, cleaned, given back as it came.

The ViTs of test_layouts.py; a ResNet goes the same way over REST in tests/end_to_end/test_journey.py, SigLIPs
in test_siglip_jobs.py. docs/verification/claims.md has the table.
"""

from pathlib import Path

import pytest
import torch

from cleanclip.evidence.report import check
from cleanclip.vocabulary.recipe import DeclaredOptions
from sanitizer.checkpoints.inspection import inspect_upload
from sanitizer.checkpoints.model import load_canonical
from tests.fixtures.audited import CLASS_NAMES, pictures, write_answered
from tests.fixtures.checkpoints import DECLARED, LAYOUTS, VIT_CONFIG, tiny_clip
from tests.fixtures.pipeline import audit, scan
from tests.fixtures.shards import make_pairs
from tests.numerics.test_siglip_jobs import OPTIONS, SCAN, cleaned_below
from tests.suites import mostly_full

NAMES = ["open_clip", "openai_plain", "openai_torchscript", "huggingface", "huggingface_bin"]


@pytest.mark.parametrize("name", mostly_full(NAMES, daily=["openai_torchscript"]))
def test_a_clip_goes_the_whole_way_and_its_library_computes_the_same_before_and_after(
    name: str, tmp_path: Path
) -> None:
    writer, layout = LAYOUTS[name]
    meant = writer(tmp_path / "upload", torch.float32)
    quick_gelu = layout != "open_clip" or name == "openai_plain"
    declared = DeclaredOptions(**DECLARED, quick_gelu=quick_gelu)
    inspect_upload(tmp_path / "upload", tmp_path / "model", declared=declared, filename=name)
    write_answered(tmp_path / "labelled", tmp_path / "model", pictures(140), CLASS_NAMES)
    make_pairs(tmp_path / "pairs", 24)

    library = tiny_clip(VIT_CONFIG, quick_gelu=quick_gelu)
    library.load_state_dict(meant)
    image = torch.rand(2, 3, 32, 32)
    uploaded = load_canonical(tmp_path / "model")
    before = library.encode_image(image)
    assert torch.equal(uploaded.model.encode_image(image), before)

    found = audit(tmp_path / "model", tmp_path / "labelled", OPTIONS, tmp_path / "audit")
    assert list(check(found)) == []
    assert found.before.ca.value == 1.0, "the classes are those that it gives"
    assert scan(tmp_path / "model", tmp_path / "labelled", SCAN, tmp_path / "scan").control is not None

    cleaned_below(tmp_path)
    (back,) = (tmp_path / "cleaned").glob("as_uploaded*")
    inspect_upload(back, tmp_path / "again", declared=declared, filename=back.name)
    again, cleaned = load_canonical(tmp_path / "again"), load_canonical(tmp_path / "cleaned")
    library.load_state_dict(again.model.state_dict())
    after = library.encode_image(image)
    assert torch.equal(cleaned.model.encode_image(image), after)
    assert not torch.allclose(after, before, atol=1e-4)
