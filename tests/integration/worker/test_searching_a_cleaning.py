"""Who searches a cleaned model: the job's process, or the one that makes the second audit; never both."""

from pathlib import Path

import pytest

from app.domain.states import JobState
from cleanclip.vocabulary.control import ControlFigures
from cleanclip.vocabulary.report import load_json
from tests.integration.worker.world import World
from worker.publishing.signing import ModelSigner
from worker.signing_keys import new_key


@pytest.mark.parametrize("is_signed", [False, True])
def test_a_process_searches_its_result_where_no_second_audit_does(
    world: World, tmp_path: Path, is_signed: bool
) -> None:
    """Of a set that is too small to withhold from, too: its order is written again for that alone."""
    signer = ModelSigner(new_key(tmp_path / "key")[0]) if is_signed else None
    job_id = world.sanitize_job().id
    assert world.runner("work", signer=signer).run(job_id) is JobState.SUCCEEDED, world.job(job_id).error
    report = load_json(world.artifacts(job_id)["report.json"])
    assert isinstance(report.control, ControlFigures)
    assert (report.control.seed == report.seed) != is_signed, "the second one has a seed of its own"
    assert report.withheld is None
