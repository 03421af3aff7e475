"""Captioned batches: the order of the set, some of it again, bad pairs, with processes and without."""

import multiprocessing
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from cleanclip.vocabulary.errors import DatasetRejected
from sanitizer.data.captioned import CaptionedBatches
from sanitizer.data.pairs import open_pairs
from sanitizer.data.pixels import to_model_pixels
from tests.fixtures.shards import good_pair, make_pairs, write_tar


def captioned(path: Path, *, num_workers: int, indices: range = range(20)) -> CaptionedBatches:
    return CaptionedBatches(
        open_pairs(path),
        indices,
        image_size=16,
        batch_size=8,
        max_skipped_share=0.5,
        num_workers=num_workers,
    )


def spoiled(folder: Path, bad: set[int]) -> Path:
    def members() -> Iterator[tuple[str, bytes]]:
        for index in range(20):
            for name, content in good_pair(f"{index:03d}"):
                yield name, b"no picture" if index in bad and not name.endswith(".txt") else content

    write_tar(folder / "s.tar", list(members()))
    return folder


@pytest.mark.parametrize("num_workers", [0, 2])
def test_pairs_come_in_order_as_often_as_they_are_asked_for(tmp_path: Path, num_workers: int) -> None:
    make_pairs(tmp_path, 20)
    pairs, batches = open_pairs(tmp_path), captioned(tmp_path, num_workers=num_workers)
    for chosen in (list(range(20)), [1, 7, 8, 9, 10, 11, 12, 13, 19], list(range(20))):
        seen = []
        for batch in batches if len(chosen) == 20 else batches.of(chosen):
            for row, index in enumerate(batch.index_N):
                pair = pairs.read(index)
                assert torch.equal(batch.image_NCHW[row], to_model_pixels(pair.image, 16))
                assert batch.captions[row] == pair.caption
                seen.append(index)
        assert seen == chosen


@pytest.mark.parametrize("num_workers", [0, 2])
def test_bad_pairs_are_left_out_and_counted_once(tmp_path: Path, num_workers: int) -> None:
    bad = {3, *range(8, 16)}
    batches = captioned(spoiled(tmp_path, bad), num_workers=num_workers)
    for _ in range(2):
        assert [index for batch in batches for index in batch.index_N] == sorted(set(range(20)) - bad)
    assert batches.num_skipped == 9
    assert batches.skipped_examples[0].startswith("'003': image_damaged")


@pytest.mark.parametrize("num_workers", [0, 2])
def test_too_many_bad_pairs_refuse_the_data(tmp_path: Path, num_workers: int) -> None:
    with pytest.raises(DatasetRejected):
        list(captioned(spoiled(tmp_path, set(range(11))), num_workers=num_workers))


def test_no_more_processes_start_than_there_are_batches_to_build_ahead(tmp_path: Path) -> None:
    make_pairs(tmp_path, 20)
    already = set(multiprocessing.active_children())
    one, three = (
        captioned(tmp_path, num_workers=5, indices=range(number)) for number in (8, 20)
    )  # of 8 pairs a batch
    for batches, num_started in ((one, 0), (three, 2)):
        list(batches)
        assert len(set(multiprocessing.active_children()) - already) == num_started
