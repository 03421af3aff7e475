"""The fit of heads and activation against plain loops in float64 over open_clip's own models."""

import math
from dataclasses import replace
from statistics import NormalDist

import open_clip.model
import pytest
import torch

from sanitizer.audits.settings_fit import Fit, Sample, draw_sample, measure
from sanitizer.checkpoints.model import LoadedCheckpoint
from sanitizer.checkpoints.plausible import plausible_values
from sanitizer.checkpoints.settings import Settings
from sanitizer.data.labelled import open_labelled
from tests.fixtures import audited, learned
from tests.numerics import reference

CPU = torch.device("cpu")
NUM_IMAGES = 24
NUM_LOOKS = 3


@pytest.fixture(scope="module")
def checkpoint():
    """An untrained ViT of strong attention, read with another activation than it was built with."""
    with torch.random.fork_rng():
        model = learned.untrained(seed=4)
    architecture = replace(learned.true_architecture(), quick_gelu=True)
    return LoadedCheckpoint(model=model.eval(), architecture=architecture, weights_sha256="untrained")


@pytest.fixture(scope="module")
def images():
    pictures, labels = learned.images(NUM_IMAGES, 5)
    pixels = torch.stack([torch.tensor(list(one.tobytes()), dtype=torch.uint8) for one in pictures])
    return pixels.view(NUM_IMAGES, 32, 32, 3).permute(0, 3, 1, 2).contiguous(), labels


def sample_of(images, sizes=(NUM_IMAGES,)):
    return Sample(
        images=iter(list(zip(*images, strict=True))),
        sizes=sizes,
        class_names=learned.CLASS_NAMES,
        templates=learned.TEMPLATES,
    )


@pytest.fixture(scope="module")
def fit(checkpoint, images) -> Fit:
    sample = sample_of(images, (NUM_IMAGES,) * NUM_LOOKS)
    return measure(checkpoint, sample, plausible_values(checkpoint.architecture, {}), device=CPU)


def plain_log_likelihoods(checkpoint, images, settings: Settings) -> list[float]:
    """One number an image: heads and activation go into open_clip's configuration, the rest are loops."""
    config = checkpoint.architecture.to_config()["model_cfg"]
    config["quick_gelu"] = settings.quick_gelu
    config["vision_cfg"]["head_width"] = config["vision_cfg"]["width"] // settings.num_heads_vision
    config["text_cfg"]["heads"] = settings.num_heads_text
    model = open_clip.model.CLIP(**config).double().eval()
    model.load_state_dict(checkpoint.model.state_dict())
    mean, std = (
        torch.tensor(values).double().view(1, 3, 1, 1)
        for values in (checkpoint.architecture.image_mean, checkpoint.architecture.image_std)
    )
    image_NCHW, labels = images
    with torch.no_grad():
        embedded = model.encode_image((image_NCHW.double() / 255 - mean) / std).tolist()
        classes = []
        for name in learned.CLASS_NAMES:
            texts = [template.replace("{c}", name) for template in learned.TEMPLATES]
            rows = model.encode_text(checkpoint.tokenize(texts)).tolist()
            classes.append(reference.mean_direction(rows))
        scale = float(model.logit_scale.exp())
    cosines = [
        [sum(a * b for a, b in zip(reference.unit(row), one, strict=True)) for one in classes]
        for row in embedded
    ]
    candidates = []
    for factor in (8, 4, 2, 1, 1 / 2, 1 / 4, 1 / 8, 1 / 16, 1 / 32, 1 / 64):
        found = []
        for row, label in zip(cosines, labels, strict=True):
            total = math.fsum(math.exp(factor * scale * (one - max(row))) for one in row)
            found.append(factor * scale * (row[label] - max(row)) - math.log(total))
        candidates.append(found)
    return max(candidates, key=math.fsum)


def log_likelihoods(fit, settings):
    return max(fit.log_likelihood_SN[settings].tolist(), key=math.fsum)


def test_log_likelihoods_are_those_of_open_clips_models_in_float64(checkpoint, images, fit):
    assert len(fit.combinations) == 3 * 3 * 2
    assert (fit.num_image_passes, fit.num_text_passes) == (6, 6)
    for settings in fit.combinations[:: len(fit.combinations) // 6]:
        plain = plain_log_likelihoods(checkpoint, images, settings)
        assert log_likelihoods(fit, settings) == pytest.approx(plain, abs=1e-6)


def test_combinations_differ_by_far_more_than_rounding(fit):
    means = [fit.mean(settings) for settings in fit.combinations]
    assert max(means) - min(means) > 1e-3


def test_a_margin_is_the_paired_mean_with_bonferronis_interval_over_values_and_looks(fit):
    one, other = fit.combinations[0], fit.combinations[7]
    first, second = (log_likelihoods(fit, which) for which in (one, other))
    differences = [a - b for a, b in zip(first, second, strict=True)]
    mean = math.fsum(differences) / NUM_IMAGES
    std = math.sqrt(math.fsum((d - mean) ** 2 for d in differences) / (NUM_IMAGES - 1))
    half = NormalDist().inv_cdf(1 - 0.025 / (17 * NUM_LOOKS)) * std / math.sqrt(NUM_IMAGES)
    margin = fit.margin(one, other)
    assert (margin.mean, margin.low, margin.high) == pytest.approx(
        (mean, mean - half, mean + half), abs=1e-12
    )


def test_naming_the_commonest_class_is_no_skill(fit):
    label_N = torch.tensor([0] * 20 + [1] * 4)
    constant = replace(
        fit, label_N=label_N, predicted_N=dict.fromkeys(fit.combinations, torch.zeros_like(label_N))
    )
    assert constant.ca(fit.combinations[0]).value == pytest.approx(20 / 24)
    assert constant.chance(fit.combinations[0]) == pytest.approx(20 / 24)
    assert not constant.is_above_chance(fit.combinations[0])
    right = replace(constant, predicted_N=dict.fromkeys(fit.combinations, label_N))
    assert right.is_above_chance(fit.combinations[0])


def test_of_many_classes_those_of_the_images_are_kept_and_the_texts_are_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr("sanitizer.audits.settings_fit.MAX_TEXTS", 10)
    monkeypatch.setattr("cleanclip.vocabulary.settled.FIRST_LOOKS", (30,))
    monkeypatch.setattr("sanitizer.audits.settings_fit.MIN_IMAGES", 20)
    audited.write_labelled(tmp_path)
    labelled = open_labelled(tmp_path)
    drawn = [draw_sample(labelled, ("{c}", "a {c}"), image_size=32, seed=seed) for seed in (1, 1, 2)]
    assert all(one.sizes == (30, 60) for one in drawn)
    assert all(len(one.class_names) * len(one.templates) <= 10 for one in drawn)
    first, second, other = (torch.stack([image for image, _ in one.images]) for one in drawn)
    assert len(first) == 60
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_later_looks_measure_only_what_is_undecided_and_end_with_it(checkpoint, images):
    values = plausible_values(checkpoint.architecture, {})
    left = []

    def undecided(fit):
        left.append(fit.combinations[:2] if not left else ())
        return left[-1]

    fit = measure(checkpoint, sample_of(images, (8, 16, 24)), values, device=CPU, undecided=undecided)
    assert [fit.n(one) for one in fit.combinations] == [16, 16, *[8] * 16]
    once = measure(checkpoint, sample_of(images, (16,)), values, device=CPU)
    first, second, dropped = fit.combinations[:3]
    assert fit.mean(first) == pytest.approx(once.mean(first), abs=1e-6)
    assert fit.margin(first, second).n == 16
    assert fit.margin(first, dropped).n == 8
