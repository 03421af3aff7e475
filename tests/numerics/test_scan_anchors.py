"""Detectors that an anchor is for, and edits without one: planted directions, plain loops, gradients."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from cleanclip.vocabulary import conformal, scan_judging
from cleanclip.vocabulary.image_edits import Edit, attack_of, bank
from cleanclip.vocabulary.scan_cost import NUM_EDITS, cost_thirds
from cleanclip.vocabulary.scan_options import (
    CollapseDetectorOptions,
    EditsDetectorOptions,
    PatternFamily,
    ResidualDetectorOptions,
    ScanOptions,
)
from sanitizer.attacks.catalogue import build_trigger
from sanitizer.scans import edits, image_edits, regression, residual, statistics
from sanitizer.scans.parts import Parts
from sanitizer.scans.subject import Anchor, Subject
from sanitizer.seeding import generator

SIZE, NUM_CLASSES, TARGET, WIDTH = 9, 12, 7, 16
RED = Edit(edit="tint", colour="#ff0000", strength=0.5)
RESIDUAL = ResidualDetectorOptions(cells=3, min_cell_images=8, held_out_images=64)

Embed = Callable[[torch.Tensor], torch.Tensor]


def texts() -> torch.Tensor:
    return normalize(torch.from_numpy(generator(6, "texts").normal(size=(NUM_CLASSES, WIDTH))), dim=1).float()


def images() -> torch.Tensor:
    """Half of them dark, half bright."""
    shade = torch.from_numpy(generator(3, "images").integers(0, 100, (192, 3, SIZE, SIZE)))
    return (shade + 155 * (torch.arange(192) % 2)[:, None, None, None]).to(torch.uint8)


def seen(image_NCHW: torch.Tensor) -> torch.Tensor:
    """What both models see: waves, and how bright the image is."""
    flat = image_NCHW.flatten(1).float()
    matrix = torch.from_numpy(generator(1, "matrix").normal(size=(3 * SIZE * SIZE, WIDTH - 1))).float()
    return torch.cat([0.3 * torch.cos(flat @ matrix / 4), 4 * flat.mean(dim=1, keepdim=True) - 2], dim=1)


def anchor_tower(image_NCHW: torch.Tensor) -> torch.Tensor:
    return normalize(seen(image_NCHW), dim=1)


def suspect_tower(strength: float, *, only_bright: bool = False) -> Embed:
    """The anchor's features, turned; what is redder than grey goes to the target's text."""
    turn = torch.from_numpy(np.linalg.qr(generator(2, "turn").normal(size=(WIDTH, WIDTH)))[0]).float()

    def embed(image_NCHW: torch.Tensor) -> torch.Tensor:
        red = image_NCHW[:, 0].mean(dim=(1, 2)) - image_NCHW[:, 1:].mean(dim=(1, 2, 3))
        answer = (red - 0.2).relu()
        if only_bright:
            answer = answer * (image_NCHW[:, 0].mean(dim=(1, 2)) > 0.7)
        return normalize(seen(image_NCHW) @ turn + strength * answer[:, None] * texts()[TARGET], dim=1)

    return embed


def subject(embed: Embed, anchor: Embed | None = anchor_tower) -> Subject:
    image_MCHW, held_NCHW = images()[:96], images()[96:]
    known = None
    if anchor is not None:
        known = Anchor(
            embed=anchor,
            image_MG=anchor(image_MCHW.float() / 255),
            held_NG=anchor(held_NCHW.float() / 255),
        )
    return Subject(
        embed=embed,
        image_MCHW=image_MCHW,
        held_NCHW=held_NCHW,
        class_CD=texts(),
        label_N=tuple(n % NUM_CLASSES for n in range(96)),
        seed=3,
        anchor=known,
    )


def test_the_edits_that_lead_images_to_one_class_are_counted_without_an_anchor() -> None:
    options = EditsDetectorOptions(held_out_images=80)
    planted = edits.detect(subject(suspect_tower(8), anchor=None), options)
    control = edits.detect(subject(suspect_tower(0), anchor=None), options)
    assert [one.edit for one in planted.edits] == list(bank()[1:])
    assert planted.n == 80
    rises, usual = ({one.edit.name: one for one in figures.edits} for figures in (planted, control))
    assert rises[RED.name].towards == TARGET
    assert rises[RED.name].rise > 0.85
    assert usual[RED.name].rise < 0.6
    # A plain count: argmax over texts, image by image.
    model, pixels = subject(suspect_tower(8), anchor=None), images()[96:176].float() / 255
    for name in (RED.name, "filter:hue:0.333", "wave:x:5:0.275", "wave:y:3:0.118"):
        edit = rises[name].edit
        counts = []
        for changed in (pixels, image_edits.apply(edit, pixels)):
            embedding_ND = model.embed(changed).double().numpy()
            nearest = [
                max(range(NUM_CLASSES), key=lambda c, row=row: float(row @ texts()[c].double().numpy()))
                for row in embedding_ND
            ]
            counts.append([nearest.count(c) for c in range(NUM_CLASSES)])
        more = [after - before for before, after in zip(*counts, strict=True)]
        assert rises[name].rise == pytest.approx(max(more) / 80)
        assert more[rises[name].towards or 0] == max(more)


def test_without_class_names_an_edit_counts_by_how_far_embeddings_collapse() -> None:
    options = EditsDetectorOptions(held_out_images=64)
    nameless = replace(subject(suspect_tower(30), anchor=None), class_CD=None)
    figures = edits.detect(nameless, options)
    red = next(one for one in figures.edits if one.edit == RED)
    assert red.towards is None
    pixels = images()[96:160].float() / 255
    before, after = (
        float((nameless.embed(one).double().mean(dim=0) ** 2).sum())
        for one in (pixels, image_edits.apply(RED, pixels))
    )
    assert red.rise == pytest.approx(after - before, abs=1e-6)
    assert red.rise > 0.3


def test_an_edit_that_only_the_suspect_answers_comes_first_and_its_class_is_named() -> None:
    planted = residual.detect(subject(suspect_tower(8)), RESIDUAL)
    control = residual.detect(subject(suspect_tower(0)), RESIDUAL)
    assert [one.edit for one in planted.edits] == list(bank())
    value = {one.edit.name: one for one in planted.edits}
    clean = {one.edit.name: one for one in control.edits}
    assert value[RED.name].towards == TARGET
    assert value[RED.name].value > 3
    rise = {name: one.value - clean[name].value for name, one in value.items()}
    pixels = images()[96:].float() / 255

    def redness(edit: Edit) -> float:
        edited = image_edits.apply(edit, pixels).mean(dim=(2, 3))
        return float((edited[:, 0] - edited[:, 1:].mean(dim=1)).max())

    for one in sorted(planted.edits, key=lambda one: -rise[one.edit.name])[:8]:
        assert redness(one.edit) > 0.2, one.edit.name
        assert one.towards == TARGET
    assert max(rise[one.name] for one in bank() if redness(one) < 0.2) < 0.2
    assert rise[RED.name] > 1


def test_an_edit_that_is_answered_in_one_kind_of_image_is_found_in_a_cell() -> None:
    figures = residual.detect(subject(suspect_tower(30, only_bright=True)), RESIDUAL)
    red = next(one for one in figures.edits if one.edit == RED)
    assert red.cell != 0
    assert red.towards == TARGET
    rows = residual.rows_of_cells(subject(suspect_tower(0)), RESIDUAL)[red.cell]
    assert {int(row) % 2 for row in rows} == {1}, "the cell has bright images only"


def test_the_value_of_an_edit_is_what_plain_loops_count() -> None:
    of = subject(suspect_tower(30))
    figures = residual.detect(of, RESIDUAL)

    def f(image: torch.Tensor) -> np.ndarray:
        return (
            of.embed(image[None].float() / 255 if image.dtype == torch.uint8 else image[None])[0]
            .double()
            .numpy()
        )

    def g(image: torch.Tensor) -> np.ndarray:
        pixels = image[None].float() / 255 if image.dtype == torch.uint8 else image[None]
        return anchor_tower(pixels)[0].double().numpy()

    fit = regression.fit([(np.stack([f(x) for x in of.image_MCHW]), np.stack([g(x) for x in of.image_MCHW]))])

    def r(image: torch.Tensor) -> np.ndarray:
        return f(image) - fit.mean_D - (g(image) - fit.anchor_mean_G) @ fit.weight_GD

    spread = np.mean([r(x) @ fit.precision_DD @ r(x) for x in of.held_NCHW])
    for one in (figures.edits[0], next(one for one in figures.edits if one.edit == RED)):
        rows = residual.rows_of_cells(of, RESIDUAL)[one.cell]
        rows = rows if one.edit.edit == "none" else rows[rows < 64]
        mean = np.zeros(WIDTH)
        for row in rows:
            image = of.held_NCHW[row]
            if one.edit.edit == "none":
                mean += r(image)
            else:
                red = torch.tensor([1.0, 0.0, 0.0])[:, None, None]
                mean += r(0.5 * image.float() / 255 + 0.5 * red) - r(image)
        mean /= len(rows)
        q = mean @ fit.precision_DD @ mean
        assert one.n == len(rows)
        assert one.value == pytest.approx(np.log10(1 + q / spread), rel=1e-3)
        scores = [
            (texts()[c].double().numpy() - texts().double().numpy().mean(axis=0)) @ mean for c in range(12)
        ]
        assert one.towards == int(np.argmax(scores))


def test_cells_are_those_of_lloyd_in_plain_loops_and_repeat() -> None:
    point_NG = generator(8, "points").normal(size=(60, 3)) + 6 * (np.arange(60) % 3)[:, None]
    centre_KG = residual.k_means(point_NG, 3, seed=1)
    assert np.array_equal(centre_KG, residual.k_means(point_NG, 3, seed=1))
    cells = residual.nearest(point_NG, centre_KG)
    assert len({(int(n % 3), int(cell)) for n, cell in enumerate(cells)}) == 3, "each cluster is one cell"
    for n in range(60):
        distances = [sum((point_NG[n, d] - centre_KG[k, d]) ** 2 for d in range(3)) for k in range(3)]
        assert cells[n] == int(np.argmin(distances))
    for k in range(3):
        mine = [point_NG[n] for n in range(60) if cells[n] == k]
        assert centre_KG[k] == pytest.approx(sum(mine) / len(mine))
    assert len(residual.k_means(np.ones((5, 2)), 4, seed=0)) == 1, "equal points are one cell"


def test_edits_are_what_their_formulas_say_and_their_attacks_do_the_same() -> None:
    image = torch.from_numpy(generator(4, "image").random((2, 3, 32, 32))).float()
    names = [edit.name for edit in bank()]
    assert len(set(names)) == len(names) == 1 + NUM_EDITS
    assert bank()[0].edit == "none"
    half = torch.tensor([1.0, 0.5019608, 0.0])[:, None, None]  # #ff8000
    tint = Edit(edit="tint", colour="#ff8000", strength=0.3)
    paper = Edit(edit="paper", colour="#ff8000", strength=0.5)
    torch.testing.assert_close(image_edits.apply(tint, image), 0.7 * image + 0.3 * half, atol=1e-5, rtol=0)
    torch.testing.assert_close(image_edits.apply(paper, image), image * (0.5 + 0.5 * half), atol=1e-5, rtol=0)
    frame = image_edits.apply(Edit(edit="frame", colour="#00ff00", strength=1 / 8), image)
    assert torch.equal(frame[:, :, 5:-5, 5:-5], image[:, :, 5:-5, 5:-5])
    assert frame[:, 0, :3].max() < 1e-6
    wave = {
        axis: image_edits.apply(Edit(edit="wave", axis=axis, frequency=3, strength=0.2), image)
        for axis in ("x", "y")
    }
    for place in range(32):
        added = 0.2 * math.sin(2 * math.pi * 3 * place / 32)
        for waved, plain in (
            (wave["x"][..., :, place], image[..., :, place]),
            (wave["y"][..., place, :], image[..., place, :]),
        ):
            torch.testing.assert_close(waved, (plain + added).clamp(0, 1), atol=1e-5, rtol=0)
    half_dose = image_edits.apply(tint, image, 0.5)
    torch.testing.assert_close(half_dose, 0.5 * image + 0.5 * image_edits.apply(tint, image))
    for edit in bank():
        edited = image_edits.apply(edit, image)
        assert edited.shape == image.shape
        assert 0 <= float(edited.min()) <= float(edited.max()) <= 1
        assert torch.equal(edited, image) == (edit.edit == "none")
        attack = attack_of(edit, "dog")
        assert (attack is not None) == (edit.edit in ("tint", "frame", "word") or edit.axis == "x")
        if attack is not None:
            torch.testing.assert_close(build_trigger(attack).apply(image, [0, 1], 5), edited)


def test_a_scan_with_an_anchor_costs_what_was_planned_and_keeps_its_parts(tmp_path) -> None:
    tower = suspect_tower(8)
    blend = PatternFamily(family="blend", budget=0.3)
    options = ScanOptions(
        detectors=("collapse", "residual"),
        collapse=CollapseDetectorOptions(families=(blend,), restarts=2, steps=(1, 2)),
        residual=RESIDUAL,
    )
    about = {
        "weights_sha256": "a" * 64,
        "images_sha256": "b" * 64,
        "class_names": [str(n) for n in range(NUM_CLASSES)],
    }
    first = statistics.measure(
        subject(tower), options, **about, anchor_sha256="a", parts=Parts(tmp_path, "key")
    )
    planned = cost_thirds(options, num_held_out=96, num_images=96)
    clean_anchor = 2 * 96  # made by who opens the scan
    assert first.statistics.num_passes == (planned - clean_anchor) // 3
    assert first.statistics.anchor_sha256 == "a"
    seen_batches: list[int] = []

    def counting(image_NCHW: torch.Tensor) -> torch.Tensor:
        seen_batches.append(len(image_NCHW))
        return tower(image_NCHW)

    again = statistics.measure(
        subject(counting), options, **about, anchor_sha256="a", parts=Parts(tmp_path, "key")
    )
    assert again.statistics.residual == first.statistics.residual
    assert seen_batches == [96], "the clean images only"
    assert again.statistics.num_passes == first.statistics.num_passes
    assert sum(found.detector == "residual" for found in again.found) == 1 + NUM_EDITS
    rows = conformal.rows(first.statistics)
    assert rows["residual"].keys() == {edit.name for edit in bank()}
    alone = {one.detector: one for one in scan_judging.alone(first.statistics, NUM_CLASSES)}
    assert alone["residual"].among == "edits"
