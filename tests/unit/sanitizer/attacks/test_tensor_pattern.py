"""A trigger given as a tensor: its pixels, its places, what it refuses, and its figures beside an audit's."""

import pytest
import torch

from cleanclip.vocabulary.attack_options import BadNetOptions
from cleanclip.vocabulary.recipe import AuditOptions
from sanitizer.attacks.badnet import BadNet
from sanitizer.attacks.placing import corners
from sanitizer.attacks.tensor_pattern import TensorPattern
from sanitizer.audits.any_trigger import measure_trigger
from sanitizer.audits.audit import run_audit
from sanitizer.checkpoints.model import load_canonical
from sanitizer.data.labelled import open_labelled
from sanitizer.run import Run
from tests.fixtures.audited import write_labelled, write_model
from tests.fixtures.triggers import random_images


def test_values_outside_of_an_image_files_range_are_added_as_they_are() -> None:
    image = random_images(2, 8)
    pattern = torch.linspace(-1.5, 1.5, 3 * 8 * 8).reshape(3, 8, 8)
    triggered = TensorPattern(pattern_CPQ=pattern).apply(image, [0, 1], seed=3)
    for n in range(2):
        for place in [(c, h, w) for c in range(3) for h in range(8) for w in range(8)]:
            wanted = min(1.0, max(0.0, float(image[n][place]) + float(pattern[place])))
            assert float(triggered[n][place]) == pytest.approx(wanted, abs=1e-7)


def test_a_blend_keeps_the_rest_of_the_image() -> None:
    image = random_images(1, 6)
    pattern = torch.full((3, 2, 2), -1.0, dtype=torch.float64)
    triggered = TensorPattern(pattern_CPQ=pattern, alpha=0.25, placement="bottom_right").apply(image, [0], 0)
    assert torch.equal(triggered[:, :, :4], image[:, :, :4])
    corner = (0.75 * image[:, :, 4:, 4:].double() - 0.25).clamp(0, 1).float()
    assert torch.equal(triggered[:, :, 4:, 4:], corner)


def test_an_image_gets_its_place_in_whatever_batch_it_comes() -> None:
    image = random_images(3, 16)
    trigger = TensorPattern(pattern_CPQ=torch.ones(3, 4, 4), alpha=1.0)
    together = trigger.apply(image, [7, 8, 9], seed=5)
    alone = torch.cat([trigger.apply(image[n : n + 1], [7 + n], seed=5) for n in range(3)])
    assert torch.equal(together, alone)


@pytest.mark.parametrize(
    ("pattern", "alpha"),
    [
        (torch.zeros(4, 2, 2), None),
        (torch.zeros(3, 2), None),
        (torch.zeros(3, 0, 2), None),
        (torch.zeros(3, 2, 2, dtype=torch.int64), None),
        (torch.full((3, 2, 2), float("nan")), None),
        (torch.zeros(3, 2, 2), 0.0),
        (torch.zeros(3, 2, 2), 1.5),
    ],
)
def test_what_is_not_a_pattern_is_refused(pattern: torch.Tensor, alpha: float | None) -> None:
    with pytest.raises(ValueError, match="expected"):
        TensorPattern(pattern_CPQ=pattern, alpha=alpha)


def test_a_pattern_larger_than_the_images_is_refused() -> None:
    with pytest.raises(ValueError, match="does not fit images of 8 × 8 pixels"):
        TensorPattern(pattern_CPQ=torch.zeros(3, 9, 8)).apply(random_images(1, 8), [0], 0)


def test_the_inner_places_leave_out_the_last_row_and_column_only() -> None:
    room, index = (3, 2), range(2000)
    (every,) = corners("random", room, index, seed=0, stream="s")
    (inner,) = corners("random_inner", room, index, seed=0, stream="s")
    assert {tuple(one) for one in every.tolist()} == {
        (row, column) for row in range(4) for column in range(3)
    }
    assert {tuple(one) for one in inner.tolist()} == {
        (row, column) for row in range(3) for column in range(2)
    }


def test_a_patch_as_large_as_the_image_has_one_inner_place() -> None:
    assert corners("random_inner", (0, 0), [1, 2], seed=0, stream="s")[0].tolist() == [[0, 0], [0, 0]]


def test_its_figures_are_an_audits(tmp_path_factory: pytest.TempPathFactory) -> None:
    checkpoint = load_canonical(write_model(tmp_path_factory.mktemp("model")))
    labelled = open_labelled(write_labelled(tmp_path_factory.mktemp("labelled")))
    attack = BadNetOptions(pattern="yellow", size=0.3, placement="centre")
    audited = run_audit(
        checkpoint,
        labelled,
        AuditOptions(target="cloud", attacks=(attack,)),
        Run(device=torch.device("cpu")),
        seed=1,
        phase="final_audit",
    ).figures
    measured = measure_trigger(
        checkpoint, labelled, BadNet(attack), target="cloud", seed=1, device=torch.device("cpu")
    )
    assert measured.ca == audited.ca
    assert measured.floor.untriggered_target_rate == audited.untriggered_target_rate
    assert (measured.success.asr, measured.success.pa) == (audited.attacks[0].asr, audited.attacks[0].pa)
