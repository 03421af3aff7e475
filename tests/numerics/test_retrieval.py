"""Retrieval against the independent reference: every count to the last image and caption, ties included."""

import random
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from cleanclip.vocabulary.attack_options import (
    AttackOptions,
    BadNetOptions,
    BlendedOptions,
    SIGOptions,
    WaNetOptions,
)
from cleanclip.vocabulary.recipe import AuditOptions
from cleanclip.vocabulary.retrieval_figures import RetrievalFigures
from lab.testbed.writing import write_pair_shards
from sanitizer.audits.audit import run_audit
from sanitizer.audits.ranking import best_rank
from sanitizer.checkpoints.model import load_canonical
from sanitizer.data.captioned import draw_indices
from sanitizer.data.labelled import open_labelled
from sanitizer.data.pairs import open_pairs
from sanitizer.run import Run
from tests.fixtures.audited import CLASS_NAMES, pictures, write_labelled, write_model
from tests.numerics import reference_retrieval as reference

ATTACKS: tuple[AttackOptions, ...] = (
    BadNetOptions(pattern="gaussian_fixed", size=0.4),
    BlendedOptions(alpha=0.6),
    WaNetOptions(strength=5),
    SIGOptions(target="ship"),
)


def captioned() -> list[tuple[Image.Image, str]]:
    """Captions that come twice, in other cases and spaces, too; images with two captions; words inside
    other words; and more tokens than the model takes, of which it sees the same beginning."""
    fields = pictures()
    found = [
        (field, f"a {CLASS_NAMES[number % 7]} with {number // 2 % 19} birds")
        for number, field in enumerate(fields)
    ]
    long = "the very long story of an old house by the sea that burnt down in the winter of"
    found += [
        (fields[3], "one Cloud, alone"),
        (fields[4], "cloudy and cloudless"),
        (fields[9], "A TREE  with 1 Birds"),
        (fields[11], f"{long} the tree"),
        (fields[12], f"{long} the cloud"),
        (fields[30], "a tree with 1 birds"),
    ]
    return found


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("retrieval")
    write_model(folder / "model")
    write_labelled(folder / "labelled")
    write_pair_shards(captioned(), folder / "pairs", shard_size=20)
    return folder


def ours(folders: Path, target: str, seed: int, **options: Any) -> RetrievalFigures:
    figures = run_audit(
        load_canonical(folders / "model"),
        open_labelled(folders / "labelled"),
        AuditOptions(target=target, attacks=ATTACKS, batch_size=16, **options),
        Run(device=torch.device("cpu")),
        seed=seed,
        phase="baseline_audit",
        retrieval_pairs=open_pairs(folders / "pairs"),
    ).figures
    assert figures.retrieval is not None
    return figures.retrieval


def assert_same_counts(
    measured: RetrievalFigures, folders: Path, pairs: list[tuple[int, Any, str]], target: str, seed: int
) -> None:
    for number, options in enumerate(ATTACKS):
        theirs = reference.measure_retrieval(
            folders / "model",
            pairs,
            target=options.target or target,
            attack={**vars(options), "attack": options.attack},
            seed=seed,
            batch_size=16,
        )
        attack = measured.attacks[number]
        assert attack.target == (options.target or target)
        (reported,) = (one for one in measured.targets if one.target == attack.target)
        assert attack.triggered is not None
        assert reported.untriggered is not None
        assert {
            "num_images": measured.num_images,
            "num_captions": measured.num_captions,
            "image_to_text": {one.k: one.share.successes for one in measured.image_to_text},
            "text_to_image": {one.k: one.share.successes for one in measured.text_to_image},
            "num_naming": reported.num_naming,
            "num_asked": reported.num_images,
            "triggered": attack.triggered.successes,
            "untriggered": reported.untriggered.successes,
        } == theirs
        assert attack.triggered.n == reported.untriggered.n == theirs["num_asked"]
    assert [one.target for one in measured.targets] == [target, "ship"]
    assert {one.share.n for one in measured.image_to_text} == {measured.num_images}
    assert {one.share.n for one in measured.text_to_image} == {measured.num_captions}


@pytest.mark.parametrize(("target", "seed"), [("cloud", 1), ("tree", 77), ("yellow seven", 5)])
def test_every_count_is_the_references(folders: Path, target: str, seed: int) -> None:
    measured = ours(folders, target, seed)
    assert measured.num_pairs == len(captioned())
    assert measured.num_images == len(pictures())
    assert measured.num_captions < measured.num_pairs
    pairs = [(index, picture, caption) for index, (picture, caption) in enumerate(captioned())]
    assert_same_counts(measured, folders, pairs, target, seed)


def test_of_a_larger_set_pairs_are_drawn_by_the_seed(folders: Path) -> None:
    measured = ours(folders, "cloud", 3, max_retrieval_pairs=40)
    chosen = draw_indices(len(captioned()), 40, 3)
    assert measured.num_pairs == len(set(chosen)) == 40
    assert chosen == sorted(chosen) != draw_indices(len(captioned()), 40, 4)
    assert_same_counts(measured, folders, [(index, *captioned()[index]) for index in chosen], "cloud", 3)


def test_ranks_are_those_of_a_plain_loop_with_ties_by_number() -> None:
    draw = random.Random(4)
    for _ in range(200):
        num_candidates = draw.randint(1, 9)
        similarities = [draw.choice((-0.5, 0.0, 0.5)) for _ in range(num_candidates)]
        right = [draw.random() < 0.4 for _ in range(num_candidates)]
        right[draw.randrange(num_candidates)] = True
        order = sorted(range(num_candidates), key=lambda number: (-similarities[number], number))
        expected = next(rank for rank, number in enumerate(order) if right[number])
        found = best_rank(torch.tensor([similarities], dtype=torch.float64), torch.tensor([right]))
        assert found.tolist() == [expected]


def test_a_model_that_gives_one_embedding_for_all_scores_as_chance_does() -> None:
    same_NN = torch.zeros(50, 50, dtype=torch.float64)
    ranks = best_rank(same_NN, torch.eye(50, dtype=torch.bool))
    assert [int((ranks < k).sum()) for k in (1, 5, 10)] == [1, 5, 10]


def test_a_model_that_is_always_wrong_scores_nothing() -> None:
    is_right_NN = torch.eye(50, dtype=torch.bool)
    ranks = best_rank((~is_right_NN).double(), is_right_NN)
    assert int((ranks < 10).sum()) == 0
