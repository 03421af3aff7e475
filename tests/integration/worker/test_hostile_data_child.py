"""Hostile data in the real child, as a worker starts it: refused or counted, and nothing else left."""

import json
from pathlib import Path

import pytest

from cleanclip.vocabulary.jobspec import EXIT_REFUSED, EXIT_SUCCEEDED, PAIRS_PATH, ValidateSpec
from tests.fixtures.hostile_images import IMAGES
from tests.fixtures.hostile_shards import SHARDS
from tests.fixtures.real_child import MAX_WALL_S, run_child
from tests.fixtures.shards import good_pair, write_tar
from tests.suites import mostly_full
from worker.publishing.sample_images import draw_samples

SPEC = ValidateSpec(data_kind="pairs", max_skipped_share=0.9)
MAX_PEAK_BYTES = 10**9
REFUSED = (
    "gzip_bomb",
    "sparse_member_of_a_terabyte",
    "samples_hidden_behind_one_empty_block",
)
COUNTED = (
    "link_to_a_neighbours_caption",
    "character_device_as_picture",
    "climbing_name",
    "name_that_reads_backwards",
    "picture_of_twenty_one_megabytes",
)
BOMBS = (
    "png_bomb",
    "webp_that_claims_to_be_enormous",
    "jpeg_of_ten_thousand_scans",
    "png_whose_body_goes_on_and_on",
)
LEFT = {"dataset.json", "drawn_samples.json"}


def pairs(folder: Path) -> Path:
    place = folder / "job" / PAIRS_PATH
    place.mkdir(parents=True)
    return place


@pytest.mark.parametrize("name", mostly_full(REFUSED, daily=REFUSED[:1]))
def test_a_shard_is_refused_with_its_reason(name: str, tmp_path: Path) -> None:
    SHARDS[name].write(pairs(tmp_path) / "shard.tar")
    ran = run_child(tmp_path, SPEC)
    assert ran.status == EXIT_REFUSED, ran.log
    assert ran.outcome is not None
    assert ran.outcome.failure is not None
    assert ran.outcome.failure.code == SHARDS[name].refused
    assert ran.wall_s < MAX_WALL_S
    assert ran.peak_bytes < MAX_PEAK_BYTES


@pytest.mark.parametrize("name", mostly_full(COUNTED, daily=COUNTED[:1]))
def test_bad_members_are_counted_with_their_reasons(name: str, tmp_path: Path) -> None:
    SHARDS[name].write(pairs(tmp_path) / "shard.tar")
    ran = run_child(tmp_path, SPEC)
    assert ran.status == EXIT_SUCCEEDED, ran.log
    summary = json.loads((tmp_path / "job" / "outputs" / "dataset.json").read_text())
    assert summary["num_samples"] == SHARDS[name].num_good
    assert summary["skipped_reasons"] == SHARDS[name].reasons
    assert {path.name for path in (tmp_path / "job" / "outputs").iterdir()} == LEFT
    shown = json.loads(draw_samples((tmp_path / "job" / "outputs" / "drawn_samples.json").read_bytes()))
    assert len(shown["samples"]) == min(12, SHARDS[name].num_good), "none of the bad ones"


@pytest.mark.parametrize("name", mostly_full(BOMBS, daily=BOMBS[:1]))
def test_a_bomb_costs_neither_time_nor_memory(name: str, tmp_path: Path) -> None:
    members = [("bomb.jpg", IMAGES[name].make()), ("bomb.txt", b"a bomb"), *good_pair("z")]
    write_tar(pairs(tmp_path) / "shard.tar", members)
    ran = run_child(tmp_path, SPEC)
    assert ran.status == EXIT_SUCCEEDED, ran.log
    summary = json.loads((tmp_path / "job" / "outputs" / "dataset.json").read_text())
    reason = IMAGES[name].reason
    assert summary["skipped_reasons"] == ({} if reason is None else {reason: 1})
    assert ran.wall_s < MAX_WALL_S
    assert ran.peak_bytes < MAX_PEAK_BYTES
