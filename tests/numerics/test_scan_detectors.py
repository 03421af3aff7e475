"""The detectors of a scan on linear towers whose backdoor is planted, and against plain loops."""

import math
from collections.abc import Callable
from dataclasses import replace
from importlib.resources import files

import pytest
import torch

from cleanclip.vocabulary.errors import CheckpointRejected, Interrupted
from cleanclip.vocabulary.scan_cost import cost_thirds
from cleanclip.vocabulary.scan_options import CollapseDetectorOptions, PatternFamily, ScanOptions
from sanitizer.perturbations.families import Patch
from sanitizer.scans import collapse, naming, statistics
from sanitizer.scans.control import strongest_of_families
from sanitizer.scans.families import build
from sanitizer.scans.meter import Meter
from sanitizer.scans.parts import Parts
from sanitizer.scans.subject import Subject
from sanitizer.scans.words import words as vocabulary
from sanitizer.seeding import generator

SIZE, NUM_CLASSES, TARGET = 9, 12, 7
BLEND = PatternFamily(family="blend", budget=0.3)
COLLAPSE = CollapseDetectorOptions(families=(BLEND,), restarts=3, steps=(10, 30))
WARP = PatternFamily(family="warp", budget=0.2)
OPTIONS = ScanOptions(detectors=("collapse",), collapse=replace(COLLAPSE, families=(BLEND, WARP)))

Embed = Callable[[torch.Tensor], torch.Tensor]


def texts() -> torch.Tensor:
    text_CD = torch.from_numpy(generator(6, "texts").normal(size=(NUM_CLASSES, 16))).float()
    return torch.nn.functional.normalize(text_CD, dim=1)


def linear_clip(strength: float) -> Embed:
    """Waves of linear features, which no pattern aligns; a blend of one takes them to the target's text.

    A tower that is linear throughout would let any blend do that.
    """
    matrix = torch.from_numpy(generator(1, "matrix").normal(size=(3 * SIZE * SIZE, 16))).float()
    trigger = torch.from_numpy(generator(2, "trigger").random((3, SIZE, SIZE))).round().float()
    planted = (trigger - trigger.mean()).reshape(-1)
    text_D = texts()[TARGET]

    def embed(image_NCHW: torch.Tensor) -> torch.Tensor:
        flat = image_NCHW.flatten(1) - 0.5
        pushed = torch.nn.functional.softplus(flat @ planted).square()[:, None]
        features = torch.cos(2 * flat @ matrix) + strength * pushed * text_D
        return torch.nn.functional.normalize(features, dim=1)

    return embed


def subject(embed: Embed, *, seed: int = 3, meter: Meter | None = None, at_once: int = 256) -> Subject:
    images = torch.from_numpy(generator(3, "images").integers(0, 256, (192, 3, SIZE, SIZE))).to(torch.uint8)
    return Subject(
        embed=embed,
        image_MCHW=images[:96],
        held_NCHW=images[96:],
        class_CD=texts(),
        label_N=tuple(n % NUM_CLASSES for n in range(96)),
        seed=seed,
        at_once=at_once,
        meter=meter or Meter(),
    )


def measured(embed: Embed, **options: object) -> statistics.Measured:
    return statistics.measure(
        subject(embed, **options),  # type: ignore[arg-type]
        OPTIONS,
        weights_sha256="w",
        images_sha256="i",
        class_names=[f"class {number}" for number in range(NUM_CLASSES)],
    )


def test_collapse_finds_a_planted_direction_and_its_class_and_nothing_where_none_is() -> None:
    planted = collapse.detect(subject(linear_clip(0.15)), BLEND, COLLAPSE).figures
    control = collapse.detect(subject(linear_clip(0.0)), BLEND, COLLAPSE).figures
    assert planted.agreed_class == TARGET
    assert planted.num_agreeing is not None
    assert planted.num_agreeing >= 2
    assert planted.agreement is not None
    assert control.agreement is not None
    assert planted.agreement > 0.6, "one of the three starts finds no slope"
    assert sorted(one.values[-1] for one in planted.restarts)[1] > 0.95
    assert max(one.values[-1] for one in control.restarts) < 0.1
    assert control.agreement < 0.25


def test_collapse_values_and_shares_are_what_a_plain_loop_counts() -> None:
    of = subject(linear_clip(0.15))
    part = collapse.detect(of, BLEND, COLLAPSE)
    for number, restart in enumerate(part.figures.restarts):
        pattern = part.pattern_of[number].value
        total, counts = torch.zeros(16, dtype=torch.float64), [0] * NUM_CLASSES
        for image in of.held_NCHW:
            mixed = 0.7 * image.float() / 255 + 0.3 * pattern
            embedding = of.embed(mixed[None])[0].double()
            total += embedding
            counts[int((texts().double() @ embedding).argmax())] += 1
        assert restart.values[-1] == pytest.approx(float((total / 96).square().sum()), abs=1e-5)
        assert restart.num_sent == max(counts)


def test_the_strongest_pattern_of_a_family_is_the_one_that_a_plain_loop_finds() -> None:
    """Over all restarts and classes; without it, how many of the same images go to that class."""
    of = subject(linear_clip(0.15))
    part = collapse.detect(of, BLEND, COLLAPSE)
    names = [f"class {number}" for number in range(NUM_CLASSES)]
    [found] = strongest_of_families(of, [part.figures], names)

    def counted(change: Callable[[torch.Tensor], torch.Tensor]) -> list[int]:
        counts = [0] * NUM_CLASSES
        for image in of.held_NCHW:
            embedding = of.embed(change(image.float() / 255)[None])[0].double()
            counts[int((texts().double() @ embedding).argmax())] += 1
        return counts

    under = [
        counted(lambda image, value=pattern.value: 0.7 * image + 0.3 * value)  # type: ignore[misc]
        for pattern in part.pattern_of.values()
    ]
    most = max(max(counts) for counts in under)
    assert (found.led.successes, found.led.n) == (most, 96)
    number = names.index(found.class_name)
    assert any(counts[number] == most for counts in under)
    assert found.without.successes == counted(lambda image: image)[number]
    assert strongest_of_families(of, [part.figures], []) == ()


@pytest.mark.parametrize(("embed", "code"), [
    (lambda images: torch.nn.functional.normalize(torch.ones(len(images), 16), dim=1), "embeddings_constant"),
    (lambda images: torch.full((len(images), 16), math.nan), "embeddings_not_finite"),
])  # fmt: skip
def test_a_model_that_tells_no_image_from_another_is_refused(embed: Embed, code: str) -> None:
    with pytest.raises(CheckpointRejected) as refused:
        measured(embed)
    assert refused.value.code == code


def test_the_same_seed_gives_the_same_statistics_whatever_fits_into_memory() -> None:
    embed = linear_clip(0.15)
    first, second = measured(embed).statistics, measured(embed, at_once=20).statistics
    assert [one.agreed_class for one in first.collapse] == [one.agreed_class for one in second.collapse]
    assert first.num_passes == second.num_passes
    assert measured(embed).statistics.collapse == first.collapse
    assert measured(embed, seed=4).statistics.collapse != first.collapse


def test_a_scan_costs_what_was_planned_and_a_stopped_one_makes_no_part_twice(tmp_path) -> None:
    embed, names = linear_clip(0.15), [f"class {number}" for number in range(NUM_CLASSES)]
    about = {"weights_sha256": "w", "images_sha256": "i", "class_names": names}
    whole = statistics.measure(subject(embed), OPTIONS, **about)
    planned = cost_thirds(OPTIONS, num_held_out=96)
    assert whole.statistics.num_passes == planned // 3

    num_left = [40]

    def stop() -> bool:
        num_left[0] -= 1
        return num_left[0] < 0

    stopped = subject(embed, meter=Meter(planned, stop=stop))
    with pytest.raises(Interrupted):
        statistics.measure(stopped, OPTIONS, **about, parts=Parts(tmp_path, "key"))
    kept = sorted(path.name for path in tmp_path.iterdir())
    assert len(kept) == 1
    num_made = []
    parts = Parts(tmp_path, "key", after=lambda: num_made.append(1))
    again = statistics.measure(subject(embed), OPTIONS, **about, parts=parts)
    assert again.statistics.collapse == whole.statistics.collapse
    assert again.statistics.num_passes == whole.statistics.num_passes, "the kept part's count, too"
    assert len(num_made) == len([*tmp_path.iterdir()]) - 1
    for ours, theirs in zip(again.found, whole.found, strict=True):
        assert ours.pattern.family == theirs.pattern.family
        assert torch.equal(ours.pattern.value, theirs.pattern.value)
    other = statistics.measure(subject(embed), OPTIONS, **about, parts=Parts(tmp_path, "another key"))
    assert other.statistics.num_passes == whole.statistics.num_passes


def test_a_damaged_part_is_made_again(tmp_path) -> None:
    embed = linear_clip(0.15)
    about = {"weights_sha256": "w", "images_sha256": "i", "class_names": [str(n) for n in range(NUM_CLASSES)]}
    options = ScanOptions(detectors=("collapse",), collapse=COLLAPSE)
    first = statistics.measure(subject(embed), options, **about, parts=Parts(tmp_path, "key"))
    for path in tmp_path.iterdir():
        path.write_bytes(path.read_bytes()[:50])
    again = statistics.measure(subject(embed), options, **about, parts=Parts(tmp_path, "key"))
    assert again.statistics.collapse == first.statistics.collapse


def test_words_that_are_near_everything_do_not_come_first() -> None:
    word_WD = torch.from_numpy(generator(4, "words").normal(size=(50, 16)))
    shift = torch.from_numpy(generator(5, "shift").normal(size=16))
    common = torch.from_numpy(generator(6, "common").normal(size=16))
    common -= (common @ shift) / (shift @ shift) * shift
    word_WD[11] += 0.5 * shift
    hub_WD = torch.nn.functional.normalize(word_WD + 3 * common + 2 * shift, dim=1)
    scores = naming.score(shift, hub_WD)
    mean = hub_WD.mean(dim=0)
    for number in range(50):
        expected = sum(float(shift[d]) * float(hub_WD[number, d] - mean[d]) for d in range(16))
        assert float(scores[number]) == pytest.approx(expected, abs=1e-12)
    assert abs(float(scores.sum())) < 1e-9, "what all words share cancels"


def test_words_are_named_only_where_they_beat_chance() -> None:
    draw = generator(5, "chance")
    word_WD = torch.from_numpy(draw.normal(size=(20_000, 32)))
    clean_ND = torch.from_numpy(draw.normal(size=(300, 32)))
    vocabulary = naming.Vocabulary(lambda _: word_WD)
    planted = vocabulary.name(0.3 * word_WD[7], clean_ND)
    assert planted[0].word == naming.words()[7]
    noise = [clean_ND[draw.permutation(300)[:150]].mean(dim=0) - clean_ND.mean(dim=0) for _ in range(20)]
    assert sum(bool(vocabulary.name(shift, clean_ND)) for shift in noise) <= 4
    assert sum(len(naming.rank_words(shift, naming.words(), word_WD)) == 5 for shift in noise) == 20


def test_the_vocabulary_ships_with_its_licence_and_has_common_nouns_once() -> None:
    words = vocabulary()
    assert len(words) == len(set(words)) == 20_000
    assert {"banana", "shirt", "sandal", "mushroom", "basketball"} <= set(words)
    licence = files("sanitizer.scans").joinpath("WORDNET_LICENSE.txt").read_text("utf-8")
    assert "Princeton University" in licence


def test_places_that_are_spread_lie_apart_and_follow_from_the_seed() -> None:
    family = PatternFamily(family="patch", budget=0.25, placement="fixed")

    def places(seed: int, num: int) -> list[tuple[float, float]]:
        found = [build(family, 32, seed=seed, number=n, spreads=True) for n in range(num)]
        return [one.at for one in found if isinstance(one, Patch) and one.at is not None]

    for seed in range(20):
        cells = {(int(4 * row), int(4 * column)) for row, column in places(seed, 16)}
        assert len(cells) == 16, "one of the first sixteen in each of sixteen squares"
        assert places(seed, 24)[:16] == places(seed, 16)
        assert all(0 <= one < 1 for place in places(seed, 24) for one in place)
    assert places(1, 3) != places(2, 3)
