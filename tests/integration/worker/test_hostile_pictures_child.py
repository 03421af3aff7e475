"""A trigger's hostile image in the real child, as a worker starts it: refused before it measures."""

from base64 import b64encode
from pathlib import Path

import pytest

from cleanclip.vocabulary.attack_options import BadNetOptions, CustomPatchOptions
from cleanclip.vocabulary.jobspec import CHECKPOINT_PATH, EXIT_REFUSED, LABELLED_PATH, AuditSpec
from cleanclip.vocabulary.progress import PhaseStarted
from cleanclip.vocabulary.recipe import AuditOptions
from tests.fixtures.audited import write_model
from tests.fixtures.hostile_images import IMAGES
from tests.fixtures.real_child import MAX_WALL_S, run_child
from tests.fixtures.shards import make_labelled
from tests.suites import mostly_full

MAX_PEAK_BYTES = 10**9
CASES = {
    "jpeg_that_claims_to_be_enormous": "trigger_image_too_large",
    "webp_that_claims_to_be_enormous": "trigger_image_unreadable",
}


@pytest.mark.parametrize("name", mostly_full(CASES, daily={"jpeg_that_claims_to_be_enormous"}))
def test_a_job_with_a_hostile_picture_ends_with_its_reason_and_its_place(name: str, tmp_path: Path) -> None:
    write_model(tmp_path / "job" / CHECKPOINT_PATH)
    make_labelled(tmp_path / "job" / LABELLED_PATH, 6)
    attacks = (BadNetOptions(), CustomPatchOptions(image=b64encode(IMAGES[name].make()).decode()))
    ran = run_child(tmp_path, AuditSpec(audit=AuditOptions(target="dog", attacks=attacks)))
    assert ran.status == EXIT_REFUSED, ran.log
    assert ran.outcome is not None
    assert ran.outcome.failure is not None
    assert ran.outcome.failure.code == CASES[name]
    assert ran.outcome.failure.where == "audit.attacks.1"
    assert not any(isinstance(event, PhaseStarted) for event in ran.events)
    assert ran.wall_s < MAX_WALL_S
    assert ran.peak_bytes < MAX_PEAK_BYTES
