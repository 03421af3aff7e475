"""Batches: order, ranks, resume, workers, replacement of bad pairs, one decode a pair."""

import multiprocessing
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from cleanclip.vocabulary.errors import DatasetRejected, OptionsRejected
from sanitizer.augment.captions import augment_caption
from sanitizer.augment.images import auto_augment, draw_operations
from sanitizer.augment.perturbation import Perturbation
from sanitizer.augment.tensor_images import augment_batch
from sanitizer.data import assembly
from sanitizer.data.batches import LabelledBatches, PairBatch, PairBatches
from sanitizer.data.labelled import open_labelled
from sanitizer.data.pairs import open_pairs
from sanitizer.data.pixels import to_model_pixels
from sanitizer.seeding import generator
from tests.fixtures.shards import encoded, good_pair, make_labelled, make_pairs, pair_samples, write_tar

NUM_PAIRS = 40


def tokenize(texts: Sequence[str]) -> Tensor:
    """Stands for a tokenizer: words to numbers, eight a text."""
    rows = [[zlib.crc32(word.encode()) % 49_000 for word in text.split()][:8] for text in texts]
    return torch.tensor([row + [0] * (8 - len(row)) for row in rows], dtype=torch.int64)


@pytest.fixture(scope="module")
def pairs_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_pairs(tmp_path_factory.mktemp("pairs"), NUM_PAIRS, size=20)


def batches(path: Path, **options: Any) -> PairBatches:
    defaults: dict[str, Any] = {
        "tokenize": tokenize,
        "image_size": 16,
        "batch_size": 8,
        "seed": 5,
        "eda_alpha": 0.1,
        "max_skipped_share": 0.1,
    }
    return PairBatches(open_pairs(path), **(defaults | options))


def equal(first: Iterable[PairBatch], second: Iterable[PairBatch]) -> bool:
    return all(
        torch.equal(tensor, vars(other)[name]) if tensor is not None else vars(other)[name] is None
        for one, other in zip(first, second, strict=True)
        for name, tensor in vars(one).items()
    )


def tokens(all_batches: Iterable[PairBatch]) -> list[tuple[int, ...]]:
    return [tuple(row) for batch in all_batches for row in batch.tokens_NL.tolist()]


def test_a_batch_holds_both_views_of_the_pairs_that_the_seed_orders(pairs_folder: Path) -> None:
    samples = pair_samples(NUM_PAIRS, 20)
    order = generator(5, "pair_order", 3).permutation(NUM_PAIRS)
    for step, batch in enumerate(batches(pairs_folder).epoch(3)):
        assert batch.image_NCHW.dtype == batch.image_view_NCHW.dtype == torch.uint8
        assert batch.tokens_NL.dtype == batch.tokens_view_NL.dtype == torch.int64
        for place, index in enumerate(order[step * 8 : step * 8 + 8].tolist()):
            image, caption = samples[index]
            pixels_CHW = to_model_pixels(image, 16)
            assert torch.equal(batch.image_NCHW[place], pixels_CHW)
            assert torch.equal(batch.tokens_NL[place], tokenize([caption])[0])
            small = Image.fromarray(pixels_CHW.permute(1, 2, 0).numpy())
            view = auto_augment(small, draw_operations(generator(5, "image_view", 3, index)))
            assert np.array_equal(batch.image_view_NCHW[place].permute(1, 2, 0).numpy(), np.asarray(view))
            changed = augment_caption(caption, 0.1, generator(5, "caption_view", 3, index))
            assert torch.equal(batch.tokens_view_NL[place], tokenize([changed])[0])


def test_an_epoch_shows_every_pair_once_and_epochs_differ_in_order_and_views(pairs_folder: Path) -> None:
    feed = batches(pairs_folder)
    first, second = list(feed.epoch(0)), list(feed.epoch(1))
    assert feed.steps_per_epoch == len(first) == 5
    assert len(set(tokens(first))) == NUM_PAIRS
    assert sorted(tokens(first)) == sorted(tokens(second))
    assert tokens(first) != tokens(second)
    by_pair = dict(zip(tokens(first), torch.cat([b.image_view_NCHW for b in first]), strict=True))
    again = dict(zip(tokens(second), torch.cat([b.image_view_NCHW for b in second]), strict=True))
    assert sum(not torch.equal(by_pair[pair], again[pair]) for pair in by_pair) > NUM_PAIRS / 2


def test_the_same_seed_gives_the_same_batches_and_another_seed_others(pairs_folder: Path) -> None:
    assert equal(batches(pairs_folder).epoch(2), batches(pairs_folder).epoch(2))
    assert tokens(batches(pairs_folder).epoch(2)) != tokens(batches(pairs_folder, seed=6).epoch(2))


@pytest.mark.parametrize("start_step", [0, 1, 4, 5])
def test_a_run_resumed_at_any_step_sees_the_same_batches(pairs_folder: Path, start_step: int) -> None:
    whole = list(batches(pairs_folder).epoch(1))
    assert equal(batches(pairs_folder).epoch(1, start_step), whole[start_step:])


@pytest.mark.parametrize("num_workers", [1, 2])
def test_workers_change_nothing_even_after_an_epoch_was_left_early(
    pairs_folder: Path, num_workers: int
) -> None:
    alone = batches(pairs_folder)
    helped = batches(pairs_folder, num_workers=num_workers)
    assert equal(helped.epoch(0), alone.epoch(0))
    next(helped.epoch(1))
    assert equal(helped.epoch(2, 1), list(alone.epoch(2))[1:])


@pytest.mark.timeout(60)
def test_workers_reach_their_parent_from_a_temporary_folder_too_deep_for_a_socket(
    pairs_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / ("deep" * 30)
    deep.mkdir()
    monkeypatch.setitem(multiprocessing.process.current_process()._config, "tempdir", str(deep))  # type: ignore[attr-defined]
    helped = batches(pairs_folder, num_workers=1)
    assert equal(helped.epoch(0), batches(pairs_folder).epoch(0))


def test_ranks_share_the_pairs_without_overlap(pairs_folder: Path) -> None:
    ranks = [batches(pairs_folder, rank=rank, world_size=2, batch_size=4) for rank in range(2)]
    seen = [tokens(feed.epoch(0)) for feed in ranks]
    assert [feed.steps_per_epoch for feed in ranks] == [5, 5]
    assert len(set(seen[0]) | set(seen[1])) == NUM_PAIRS


def test_the_views_of_a_pair_do_not_depend_on_batch_size_or_rank(pairs_folder: Path) -> None:
    def views(feed: PairBatches) -> dict[tuple[int, ...], bytes]:
        found = list(feed.epoch(0))
        return dict(
            zip(tokens(found), [v.numpy().tobytes() for b in found for v in b.image_view_NCHW], strict=True)
        )

    whole = views(batches(pairs_folder))
    part = views(batches(pairs_folder, batch_size=5, rank=1, world_size=2))
    assert part == {pair: whole[pair] for pair in part}


@pytest.mark.parametrize("num_workers", [0, 2])
def test_views_that_the_device_makes_are_those_that_come_with_the_batch(
    pairs_folder: Path, num_workers: int
) -> None:
    left = batches(pairs_folder, draws_views_only=True, num_workers=num_workers)
    for batch, whole in zip(left.epoch(2), batches(pairs_folder).epoch(2), strict=True):
        assert batch.image_view_NCHW is None
        assert torch.equal(augment_batch(batch.image_NCHW, batch.operation_N2), whole.image_view_NCHW)
        assert torch.equal(batch.tokens_view_NL, whole.tokens_view_NL)


def test_views_made_one_by_one_are_those_of_the_batch(pairs_folder: Path) -> None:
    together = list(batches(pairs_folder).epoch(0))
    with patch.object(assembly, "MAX_PIXELS_AT_ONCE", 0):
        assert equal(batches(pairs_folder).epoch(0), together)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_without_augmentation_no_views_are_made_or_sent(pairs_folder: Path, num_workers: int) -> None:
    for batch in batches(pairs_folder, eda_alpha=None, num_workers=num_workers).epoch(0):
        assert batch.image_view_NCHW is None
        assert batch.tokens_view_NL is None


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_perturbation_changes_the_images_by_seed_epoch_and_pair_and_nothing_else(
    pairs_folder: Path, num_workers: int
) -> None:
    perturbation = Perturbation(noise_std=0.2, noise_probability=1.0, erase_probability=1.0, fill=(1, 2, 3))
    plain = batches(pairs_folder, eda_alpha=None)
    feed = batches(pairs_folder, eda_alpha=None, perturbation=perturbation, num_workers=num_workers)
    for epoch in (0, 3):
        order = generator(5, "pair_order", epoch).permutation(NUM_PAIRS).tolist()
        for step, (batch, clean) in enumerate(zip(feed.epoch(epoch), plain.epoch(epoch), strict=True)):
            assert torch.equal(batch.tokens_NL, clean.tokens_NL)
            for place, index in enumerate(order[8 * step : 8 * step + 8]):
                pixels = clean.image_NCHW[place].permute(1, 2, 0).numpy()
                expected = perturbation.apply(pixels, generator(5, "perturbation", epoch, index))
                assert np.array_equal(batch.image_NCHW[place].permute(1, 2, 0).numpy(), expected)


def test_both_views_come_from_one_decode_and_small_data_are_decoded_once(pairs_folder: Path) -> None:
    feed = batches(pairs_folder)
    with patch("PIL.Image.open", wraps=Image.open) as opened:
        first = list(feed.epoch(0))
        assert opened.call_count == NUM_PAIRS
        again = list(feed.epoch(0))
        assert opened.call_count == NUM_PAIRS
    assert equal(first, again)


def test_data_too_large_for_the_cache_give_the_same_batches(pairs_folder: Path) -> None:
    cached = batches(pairs_folder)
    with patch.object(assembly, "CACHE_BYTES", 1000):
        uncached = batches(pairs_folder)
    with patch("PIL.Image.open", wraps=Image.open) as opened:
        for epoch in range(2):
            assert equal(uncached.epoch(epoch), cached.epoch(epoch))
    assert opened.call_count == 3 * NUM_PAIRS  # the cached one decodes in its first epoch only


def test_a_large_jpeg_is_trained_on_from_a_reduced_scale_and_audited_from_its_whole(tmp_path: Path) -> None:
    ramp = np.broadcast_to(np.linspace(0, 255, 160)[:, None, None], (160, 200, 3)).astype(np.uint8)
    picture = encoded(Image.fromarray(ramp), "JPEG")
    write_tar(tmp_path / "s.tar", [("a.jpg", picture), ("a.txt", b"a ramp"), ("a.cls", b"0")])
    (tmp_path / "classnames.txt").write_text("ramp\n")
    with patch("PIL.JpegImagePlugin.JpegImageFile.draft", autospec=True) as draft:
        list(batches(tmp_path, batch_size=1, eda_alpha=None).epoch(0))
        assert [call.args[2] for call in draft.call_args_list] == [(24, 24)]
        draft.reset_mock()
        list(labelled_batches(tmp_path))
        assert not draft.called


def spoiled(folder: Path, num_good: int, num_bad: int) -> Path:
    members = [
        m for index in range(num_good) for m in good_pair(f"g{index}", seed=index, caption=f"dog {index}")
    ]
    for index in range(num_bad):
        members += [(f"b{index}.jpg", b"no picture"), (f"b{index}.txt", b"bad")]
    return write_tar(folder / "s.tar", members)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_bad_pairs_are_counted_once_and_replaced_so_that_batches_stay_full(
    tmp_path: Path, num_workers: int
) -> None:
    feed = batches(spoiled(tmp_path, 37, 3), num_workers=num_workers)
    bad = tuple(tokenize(["bad"])[0].tolist())
    for epoch in range(3):
        found = list(feed.epoch(epoch))
        assert [len(batch.tokens_NL) for batch in found] == [8] * 5
        assert bad not in tokens(found)
        for batch in found:
            assert max(Counter(tokens([batch])).values()) == 1
    assert feed.num_skipped == 3
    assert all("image_damaged" in example for example in feed.skipped_examples)
    assert equal(batches(tmp_path).epoch(2, 2), list(feed.epoch(2))[2:])


def test_a_resumed_run_recalls_the_bad_pairs_that_it_met_before(tmp_path: Path) -> None:
    whole = batches(spoiled(tmp_path, 37, 3))
    list(whole.epoch(0))
    resumed = batches(tmp_path)
    resumed.recall(whole.skipped)
    list(resumed.epoch(1))
    assert resumed.num_skipped == 3
    assert resumed.skipped_examples == whole.skipped_examples
    with pytest.raises(DatasetRejected):
        batches(tmp_path, max_skipped_share=0.05).recall(whole.skipped)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_too_many_bad_pairs_refuse_the_data(tmp_path: Path, num_workers: int) -> None:
    feed = batches(spoiled(tmp_path, 35, 5), num_workers=num_workers)
    with pytest.raises(DatasetRejected, match="image_damaged"):
        list(feed.epoch(0))


def test_a_batch_of_the_whole_set_repeats_a_good_pair_for_a_bad_one(tmp_path: Path) -> None:
    (batch,) = batches(spoiled(tmp_path, 7, 1), max_skipped_share=0.2).epoch(0)
    assert len(set(tokens([batch]))) == 7


def test_data_without_a_good_pair_are_refused_even_at_share_one(tmp_path: Path) -> None:
    with pytest.raises(DatasetRejected, match="All 8"):
        list(batches(spoiled(tmp_path, 0, 8), max_skipped_share=1.0).epoch(0))


def test_data_that_fill_no_batch_are_refused_with_the_largest_that_fits(pairs_folder: Path) -> None:
    with pytest.raises(OptionsRejected, match="Set batch_size to at most 40, or") as caught:
        batches(pairs_folder, batch_size=21, world_size=2)
    assert caught.value.code == "batch_larger_than_data"


def labelled_batches(path: Path, **options: Any) -> LabelledBatches:
    defaults: dict[str, Any] = {"image_size": 16, "batch_size": 8, "max_skipped_share": 0.1}
    return LabelledBatches(open_labelled(path), **(defaults | options))


@pytest.mark.parametrize("num_workers", [0, 2])
def test_labelled_images_come_in_order_with_index_and_label(tmp_path: Path, num_workers: int) -> None:
    feed = labelled_batches(make_labelled(tmp_path, 20), num_workers=num_workers)
    dataset = open_labelled(tmp_path)
    for _ in range(2):
        seen = 0
        for index_N, image_NCHW, label_N in feed:
            for place, index in enumerate(index_N):
                assert index == seen
                assert torch.equal(image_NCHW[place], to_model_pixels(dataset.read(index).image, 16))
                assert int(label_N[place]) == dataset.read(index).label
                seen += 1
        assert seen == 20
    assert len(feed) == 3


def spoiled_labelled(folder: Path, bad: set[int], num_images: int = 24) -> Path:
    def members() -> Iterator[tuple[str, bytes]]:
        for index in range(num_images):
            image = good_pair(f"{index:03d}")[0][1]
            yield f"{index:03d}.png", b"no picture" if index in bad else image
            yield f"{index:03d}.cls", b"0"

    write_tar(folder / "s.tar", list(members()))
    (folder / "classnames.txt").write_text("cat\n")
    return folder


def test_bad_labelled_images_are_left_out_and_counted_once(tmp_path: Path) -> None:
    feed = labelled_batches(spoiled_labelled(tmp_path, {3, *range(8, 16)}), max_skipped_share=0.5)
    for _ in range(2):
        assert [index for batch in feed for index in batch.index_N] == [0, 1, 2, 4, 5, 6, 7, *range(16, 24)]
    assert feed.num_skipped == 9
    assert feed.skipped_examples[0].startswith("'003': image_damaged")


def test_too_many_bad_labelled_images_refuse_the_data(tmp_path: Path) -> None:
    with pytest.raises(DatasetRejected):
        list(labelled_batches(spoiled_labelled(tmp_path / "some", {1, 2, 3})))
    with pytest.raises(DatasetRejected, match="All 24"):
        list(labelled_batches(spoiled_labelled(tmp_path / "all", set(range(24))), max_skipped_share=1.0))
