"""Reading a whole dataset once: counts, refusals, progress, stopping."""

from pathlib import Path
from unittest.mock import patch

import pytest
from PIL import Image

from cleanclip.vocabulary.errors import DatasetRejected, Interrupted
from cleanclip.vocabulary.jobspec import DATASET_ADAPTER
from cleanclip.vocabulary.progress import Advanced, PhaseFinished, PhaseStarted, ProgressEvent
from sanitizer.data.validation import summarise
from tests.fixtures.shards import good_pair, make_labelled, make_pairs, write_tar


def pairs_with_bad(folder: Path, num_good: int, num_bad: int) -> Path:
    members = [member for index in range(num_good) for member in good_pair(f"good{index}", seed=index)]
    for index in range(num_bad):
        members += [(f"bad{index}.jpg", b"no picture"), (f"bad{index}.txt", b"x")]
    return write_tar(folder / "s.tar", members)


def test_a_sound_set_is_summarised(tmp_path: Path) -> None:
    summary = summarise(make_labelled(tmp_path, 25), "labelled", 0.0)
    assert (summary.kind, summary.num_samples, summary.num_skipped, summary.num_shards) == (
        "labelled",
        25,
        0,
        3,
    )
    assert summary.images_per_class == (9, 8, 8)
    assert summary.class_names == ("cat", "dog", "tree")
    assert DATASET_ADAPTER.validate_json(DATASET_ADAPTER.dump_json(summary)) == summary


def test_bad_samples_under_the_share_are_counted_with_reasons_and_examples(tmp_path: Path) -> None:
    summary = summarise(pairs_with_bad(tmp_path, 18, 2), "pairs", 0.1)
    assert (summary.num_samples, summary.num_skipped) == (18, 2)
    assert summary.skipped_reasons == {"image_damaged": 2}
    assert summary.skipped_examples[0].startswith("'bad0': image_damaged")
    assert summary.class_names is None


def test_bad_samples_over_the_share_refuse_the_set_with_examples(tmp_path: Path) -> None:
    with pytest.raises(DatasetRejected, match="bad0: image_damaged") as caught:
        summarise(pairs_with_bad(tmp_path, 17, 3), "pairs", 0.1)
    assert caught.value.code == "too_many_bad_samples"


def test_a_set_without_one_good_sample_is_refused_whatever_the_share(tmp_path: Path) -> None:
    with pytest.raises(DatasetRejected, match="All 3 samples"):
        summarise(pairs_with_bad(tmp_path, 0, 3), "pairs", 1.0)


def test_pairs_with_one_caption_for_all_are_refused_before_anything_is_trained_on_them(
    tmp_path: Path,
) -> None:
    members = [member for seed in range(5) for member in good_pair(f"{seed}", seed, "a dog")]
    with pytest.raises(DatasetRejected) as caught:
        summarise(write_tar(tmp_path / "s.tar", members), "pairs", 0.0)
    assert caught.value.code == "captions_all_equal"


def test_progress_starts_advances_to_the_total_and_finishes(tmp_path: Path) -> None:
    events: list[ProgressEvent] = []
    summarise(make_pairs(tmp_path, 12), "pairs", 0.0, events.append)
    assert events[0] == PhaseStarted(phase="validate", total=12, unit="samples")
    assert events[-1] == PhaseFinished(phase="validate")
    last = events[-2]
    assert isinstance(last, Advanced)
    assert (last.done, last.total, last.rate_unit, last.eta_s) == (12, 12, "samples", 0.0)


def test_a_stop_is_obeyed_between_samples(tmp_path: Path) -> None:
    asked = iter([False, False, True])
    with pytest.raises(Interrupted):
        summarise(make_pairs(tmp_path, 12), "pairs", 0.0, stop=lambda: next(asked))


def test_every_picture_is_decoded_exactly_once(tmp_path: Path) -> None:
    make_pairs(tmp_path, 12)
    with patch("PIL.Image.open", wraps=Image.open) as opened:
        summarise(tmp_path, "pairs", 0.0)
    assert opened.call_count == 12
