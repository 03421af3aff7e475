"""Retrieval in the real child, as a worker starts it: where the spec says so, hostile pairs refused."""

from pathlib import Path

import pytest

from cleanclip.vocabulary.attack_options import BadNetOptions
from cleanclip.vocabulary.jobspec import (
    CHECKPOINT_PATH,
    EXIT_REFUSED,
    EXIT_SUCCEEDED,
    LABELLED_PATH,
    RETRIEVAL_PATH,
    AuditSpec,
)
from cleanclip.vocabulary.progress import PhaseStarted
from cleanclip.vocabulary.recipe import AuditOptions
from cleanclip.vocabulary.report import load_json
from tests.fixtures.audited import write_model
from tests.fixtures.hostile_images import IMAGES
from tests.fixtures.hostile_shards import SHARDS
from tests.fixtures.real_child import run_child
from tests.fixtures.shards import good_pair, make_labelled, make_pairs, write_tar

OPTIONS = AuditOptions(target="dog", attacks=(BadNetOptions(),), max_skipped_share=0.2)
MAX_PEAK_BYTES = 10**9


@pytest.fixture
def job(tmp_path: Path) -> Path:
    write_model(tmp_path / "job" / CHECKPOINT_PATH)
    make_labelled(tmp_path / "job" / LABELLED_PATH, 6)
    (tmp_path / "job" / RETRIEVAL_PATH).mkdir()
    return tmp_path / "job"


def test_pairs_are_measured_and_bad_ones_counted(job: Path, tmp_path: Path) -> None:
    make_pairs(job / RETRIEVAL_PATH, 20)
    bomb = [("bomb.jpg", IMAGES["png_bomb"].make()), ("bomb.txt", b"a bomb"), *good_pair("z")]
    write_tar(job / RETRIEVAL_PATH / "zz.tar", bomb)
    ran = run_child(tmp_path, AuditSpec(audit=OPTIONS, has_retrieval=True))
    assert ran.status == EXIT_SUCCEEDED, ran.log
    report = load_json((job / "outputs/report.json").read_bytes())
    assert report.before.retrieval is not None
    assert report.before.retrieval.num_pairs == 21
    assert [(one.kind, one.num_skipped) for one in report.data] == [("labelled", 0), ("retrieval", 1)]
    assert ran.peak_bytes < MAX_PEAK_BYTES


@pytest.mark.full  # tests/integration/worker/test_hostile_data_child.py refuses them daily, as pairs
@pytest.mark.parametrize("name", ["gzip_bomb", "sparse_member_of_a_terabyte"])
def test_a_hostile_shard_is_refused_before_anything_is_measured(name: str, job: Path, tmp_path: Path) -> None:
    SHARDS[name].write(job / RETRIEVAL_PATH / "shard.tar")
    ran = run_child(tmp_path, AuditSpec(audit=OPTIONS, has_retrieval=True))
    assert ran.status == EXIT_REFUSED, ran.log
    assert ran.outcome is not None
    assert ran.outcome.failure is not None
    assert ran.outcome.failure.code == SHARDS[name].refused
    assert not any(isinstance(event, PhaseStarted) for event in ran.events)


@pytest.mark.full
def test_a_spec_from_before_measures_none(job: Path, tmp_path: Path) -> None:
    make_pairs(job / RETRIEVAL_PATH, 20)
    ran = run_child(tmp_path, AuditSpec(audit=OPTIONS))
    assert ran.status == EXIT_SUCCEEDED, ran.log
    assert load_json((job / "outputs/report.json").read_bytes()).before.retrieval is None
