"""A whole audit against the independent reference, which loads the files without the library."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
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
from cleanclip.vocabulary.audit_figures import AuditFigures
from cleanclip.vocabulary.figures import OF_ATTACK
from cleanclip.vocabulary.measures import Estimate
from cleanclip.vocabulary.recipe import AuditOptions
from lab.testbed.writing import write_labelled_shards
from sanitizer.audits.audit import AuditResult, run_audit
from sanitizer.audits.zero_shot import class_embeddings
from sanitizer.checkpoints.model import LoadedCheckpoint, load_canonical
from sanitizer.checkpoints.writing import write_canonical
from sanitizer.data.labelled import open_labelled
from sanitizer.run import Run
from tests.fixtures.audited import (
    ARCHITECTURE,
    CLASS_NAMES,
    TEMPLATES,
    labels,
    pictures,
    write_labelled,
    write_model,
)
from tests.numerics import reference

CPU = torch.device("cpu")
ATTACKS: tuple[AttackOptions, ...] = (
    BadNetOptions(pattern="gaussian_fixed", size=5 / 32),
    BadNetOptions(pattern="yellow", size=0.4),
    BlendedOptions(alpha=0.6),
    WaNetOptions(strength=5),
    SIGOptions(),
)


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("canonical"))


@pytest.fixture(scope="module")
def labelled_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_labelled(tmp_path_factory.mktemp("labelled"))


def audited(
    model_folder: Path,
    labelled_folder: Path,
    options: AuditOptions,
    *,
    seed: int,
    came_in: LoadedCheckpoint | None = None,
) -> AuditResult:
    return run_audit(
        load_canonical(model_folder),
        open_labelled(labelled_folder),
        options,
        Run(device=CPU),
        seed=seed,
        phase="baseline_audit",
        came_in=came_in,
    )


def figures(
    model_folder: Path,
    labelled_folder: Path,
    target: str,
    seed: int,
    attacks: tuple[AttackOptions, ...] = ATTACKS,
) -> AuditFigures:
    options = AuditOptions(target=target, attacks=attacks, batch_size=16)
    return audited(model_folder, labelled_folder, options, seed=seed).figures


def assert_same_counts(ours: AuditFigures, theirs: dict[str, Any], attack: int) -> None:
    attacked = ours.attacks[attack]
    floors = next((one for one in ours.further_targets if one.target == attacked.target), ours)
    estimates = {
        "ca": ours.ca,
        "ca_top5": ours.ca_top5,
        "untriggered_target_rate": floors.untriggered_target_rate,
        **{name: getattr(attacked, name) for name in (one.path for one in OF_ATTACK) if name in theirs},
    }
    estimates = {name: one for name, one in estimates.items() if isinstance(one, Estimate)}
    assert estimates.keys() >= {"asr", "asr_including_target", "pa"}
    expected = {name: theirs[name] for name in estimates}
    ranks = {"target_rank": attacked.target_rank, "untriggered_target_rank": floors.untriggered_target_rank}
    for name, rank in ranks.items():
        assert rank is not None
        assert {part: getattr(rank, part) for part in theirs[name]} == theirs[name], name
    for name, shares in {
        "asr_top_k": attacked.asr_top_k,
        "untriggered_target_top_k": floors.untriggered_target_top_k,
    }.items():
        assert [one.k for one in shares] == list(theirs[name])
        estimates |= {f"{name} {one.k}": one.share for one in shares}
        expected |= {f"{name} {k}": share for k, share in theirs[name].items()}
    assert [one.class_name for one in ours.ca_per_class] == [
        CLASS_NAMES[one] for one in theirs["ca_per_class"]
    ]
    for reported, (number, share) in zip(ours.ca_per_class, theirs["ca_per_class"].items(), strict=True):
        estimates[f"class {number}"], expected[f"class {number}"] = reported.accuracy, share
    for name, estimate in estimates.items():
        assert (estimate.successes, estimate.n) == (expected[name]["successes"], expected[name]["n"]), name
        assert estimate.value == expected[name]["value"]
        assert (estimate.low, estimate.high) == pytest.approx(
            (expected[name]["low"], expected[name]["high"]), abs=1e-9
        )


@pytest.mark.parametrize(("target", "seed"), [("cloud", 1), ("tree", 77)])
def test_every_share_of_an_audit_is_the_references_to_the_last_image(
    model_folder: Path, labelled_folder: Path, target: str, seed: int
) -> None:
    ours = figures(model_folder, labelled_folder, target, seed)
    assert 0 < ours.untriggered_target_rate.successes < ours.untriggered_target_rate.n
    for number, attack in enumerate(ours.attacks):
        theirs = reference.measure(
            model_folder,
            images=pictures(),
            labels=labels(),
            class_names=CLASS_NAMES,
            templates=TEMPLATES,
            target=target,
            attack=attack.options,
            seed=seed,
            batch_size=16,
        )
        assert_same_counts(ours, theirs, number)


def test_in_bf16_only_an_image_near_a_tie_is_counted_otherwise(
    model_folder: Path, labelled_folder: Path
) -> None:
    """Embeddings of 8 bits move a cosine by a fraction of a hundredth; triggers are the same."""
    options = AuditOptions(target="cloud", attacks=ATTACKS, batch_size=16, precision="bf16")
    in_bf16 = audited(model_folder, labelled_folder, options, seed=1)
    found = reference.probabilities(
        model_folder, images=pictures(), class_names=CLASS_NAMES, templates=TEMPLATES, batch_size=16
    )
    clear = 0
    for row, label, is_correct in zip(found, labels(), in_bf16.correct_N.tolist(), strict=True):
        others = [share for number, share in enumerate(row) if number != label]
        lead = math.log(row[label] / max(others)) * 0.07  # logits are cosines over that temperature
        if abs(lead) > 0.01:
            clear += 1
            assert is_correct == (lead > 0)
    assert clear > 40
    in_fp32 = figures(model_folder, labelled_folder, "cloud", 1)
    for one, other in zip(in_bf16.figures.attacks, in_fp32.attacks, strict=True):
        assert one.trigger_sha256 == other.trigger_sha256
        assert one.asr_including_target.successes == pytest.approx(
            other.asr_including_target.successes, abs=4
        )


def test_each_attack_is_counted_against_its_own_target(model_folder: Path, labelled_folder: Path) -> None:
    targets = ("ship", None, "cat", "ship", "cloud")
    attacks = tuple(replace(attack, target=target) for attack, target in zip(ATTACKS, targets, strict=True))
    ours = figures(model_folder, labelled_folder, "cloud", 1, attacks)
    assert [one.target for one in ours.further_targets] == ["ship", "cat"]
    assert [one.target for one in ours.attacks] == ["ship", "cloud", "cat", "ship", "cloud"]
    of_one_target = figures(model_folder, labelled_folder, "cloud", 1)
    for number, attack in enumerate(ours.attacks):
        theirs = reference.measure(
            model_folder,
            images=pictures(),
            labels=labels(),
            class_names=CLASS_NAMES,
            templates=TEMPLATES,
            target=attack.target or "",
            attack=attack.options,
            seed=1,
            batch_size=16,
        )
        assert_same_counts(ours, theirs, number)
        assert attack.trigger_sha256 == of_one_target.attacks[number].trigger_sha256, (
            "a target is not a pixel"
        )


def test_pictures_of_any_shape_are_prepared_as_open_clip_prepares_them(
    model_folder: Path, tmp_path: Path
) -> None:
    sizes = [(32, 47), (80, 33), (31, 31), (100, 100), (40, 64), (29, 200)]
    images = [
        Image.fromarray(np.asarray(picture)).resize(sizes[n % len(sizes)], Image.Resampling.BICUBIC)
        for n, picture in enumerate(pictures(24))
    ]
    write_labelled_shards(zip(images, labels(24), strict=True), tmp_path, CLASS_NAMES, TEMPLATES)
    ours = figures(model_folder, tmp_path, "cloud", 5, attacks=(BadNetOptions(),))
    theirs = reference.measure(
        model_folder,
        images=images,
        labels=labels(24),
        class_names=CLASS_NAMES,
        templates=TEMPLATES,
        target="cloud",
        attack=ours.attacks[0].options,
        seed=5,
        batch_size=16,
    )
    assert_same_counts(ours, theirs, 0)


def _moved_from(came_in: Path, folder: Path, labelled_folder: Path) -> AuditResult:
    """The audit of `folder` beside the model that came in."""
    options = AuditOptions(target="cloud", attacks=(SIGOptions(),), batch_size=16)
    return audited(folder, labelled_folder, options, seed=1, came_in=load_canonical(came_in))


def test_the_drift_of_every_image_and_class_is_the_references(
    model_folder: Path, labelled_folder: Path, tmp_path: Path
) -> None:
    moved = load_canonical(model_folder)
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(1)
        for weight in (moved.model.visual.attnpool.c_proj.weight, moved.model.text_projection):
            weight.add_(0.3 * weight.std() * torch.randn(weight.shape))
    write_canonical(tmp_path, moved.model.state_dict(), ARCHITECTURE, {"layout": "open_clip"})
    found = _moved_from(model_folder, tmp_path, labelled_folder)
    theirs = reference.drift(
        model_folder, tmp_path, images=pictures(), class_names=CLASS_NAMES, templates=TEMPLATES, batch_size=16
    )
    assert found.drift is not None
    for ours, distances in ((found.drift.images, theirs["images"]), (found.drift.classes, theirs["classes"])):
        assert ours.n == len(distances)
        assert ours.mean == pytest.approx(sum(distances) / len(distances), abs=1e-7)
        assert ours.std == pytest.approx(float(np.std(distances, ddof=1)), abs=1e-7)
        assert ours.mean > 0.001


def test_the_same_model_has_not_moved_at_all(model_folder: Path, labelled_folder: Path) -> None:
    found = _moved_from(model_folder, model_folder, labelled_folder)
    assert found.drift is not None
    assert (found.drift.images.mean, found.drift.images.high, found.drift.classes.mean) == (0, 0, 0)


def test_a_class_is_the_normalised_mean_of_its_normalised_templates(model_folder: Path) -> None:
    checkpoint = load_canonical(model_folder)
    ours = class_embeddings(checkpoint, CLASS_NAMES, TEMPLATES, CPU).detach()
    for number, name in enumerate(CLASS_NAMES):
        tokens = checkpoint.tokenize([template.replace("{c}", name) for template in TEMPLATES])
        with torch.no_grad():
            rows = checkpoint.model.encode_text(tokens).double().tolist()
        np.testing.assert_allclose(ours[number].numpy(), reference.mean_direction(rows), rtol=0, atol=1e-6)
