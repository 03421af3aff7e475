"""UAR's objective and step against loops and plain autograd, a whole run against a plain one; in float64."""

import copy
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize as unit

from cleanclip.vocabulary.uar_recipe import UARRecipe
from sanitizer.data.pairs import open_pairs
from sanitizer.methods.catalogue import build_method
from sanitizer.methods.uar import Embeddings, objective
from sanitizer.perturbations.edits import families
from sanitizer.perturbations.families import Blend, Patch
from sanitizer.perturbations.patterns import NO_PATTERN, Pattern
from sanitizer.seeding import generator
from sanitizer.training import loop, towers
from sanitizer.training.distributed import World
from sanitizer.training.feeding import open_batches
from sanitizer.training.inverting import images_to_invert_on
from sanitizer.training.loop import finetune
from sanitizer.training.pattern_pool import Assigned
from sanitizer.training.step import StepOptions, accumulate_gradients
from tests.fixtures.shards import make_pairs
from tests.fixtures.tiny_clips import IMAGE_SIZE, tiny_batch, tiny_checkpoint, tiny_clip
from tests.numerics import reference_training as reference
from tests.numerics.test_edits import plain as plain_edit
from tests.numerics.test_losses import unit_rows
from tests.suites import mostly_full

CPU = torch.device("cpu")
IMAGES_ALONE = "images_of_pairs"


def to_input(image: Tensor) -> Tensor:
    return ((image / 255 if image.dtype == torch.uint8 else image).to(torch.float64) - 0.45) / 0.27


def rows() -> tuple[Tensor, Tensor, Tensor]:
    """Images, what they were, captions."""
    return unit(unit_rows(1) + 0.3 * unit_rows(11), dim=-1), unit_rows(1), unit_rows(2)


@pytest.mark.parametrize("has_captions", [True, False])
def test_the_objective_equals_the_loops(has_captions):
    images, before, texts = rows()
    captions = texts if has_captions else None
    scale = torch.tensor(21.0, dtype=torch.float64)
    losses = objective(Embeddings(images, before, captions), scale, consistency_weight=5.0)
    expected = reference.uar(
        images.tolist(), before.tolist(), texts.tolist() if has_captions else None, scale=21.0, weight=5.0
    )
    assert losses.total.item() == pytest.approx(expected, rel=1e-12)
    assert losses.parts["loss_consistency"].item() == pytest.approx(
        reference.uar(images.tolist(), before.tolist(), None, scale=1.0, weight=1.0), rel=1e-12
    )
    assert ("loss_clip" in losses.parts) == has_captions


def test_gradients_are_what_finite_differences_say_and_the_scale_has_none():
    images, before, texts = rows()
    images.requires_grad_()
    scale = torch.tensor(5.0, dtype=torch.float64, requires_grad=True)

    def total(image_ND: Tensor) -> Tensor:
        return objective(Embeddings(image_ND, before, texts), scale, consistency_weight=5.0).total

    assert torch.autograd.gradcheck(total, (images,))
    assert torch.autograd.grad(total(images), [scale], allow_unused=True) == (None,)


def options(teacher, recipe: UARRecipe, chunk_size: int | None) -> StepOptions:
    return StepOptions(
        to_input=to_input,
        method=build_method(recipe),
        input_model=teacher,
        chunk_size=chunk_size,
        max_grad_norm=None,
        towers_dtype=torch.float32,
    )


def moved(tower: str):
    """A model in training, and the image tower that it had before its weights moved."""
    model = tiny_clip(tower).double()
    teacher = towers.frozen_image_tower(model)
    towers.prepare(model, freeze_batch_norm_statistics=True)
    with torch.no_grad():
        noise = torch.Generator().manual_seed(3)
        for parameter in model.visual.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=noise, dtype=torch.float64))
    return model, teacher


def carried() -> Assigned:
    """Six images: a patch twice, a blend once, the same patch elsewhere, two clean."""
    draws = generator(1, "patterns")
    patch = Pattern(Patch(9), torch.from_numpy(draws.random((3, 9, 9))).requires_grad_())
    blend = Pattern(Blend(0.3), torch.from_numpy(draws.random((3, IMAGE_SIZE, IMAGE_SIZE))).requires_grad_())
    places = torch.from_numpy(draws.random((6, 2)))
    return Assigned((patch, blend), (0, 0, 1, NO_PATTERN, 0, NO_PATTERN), places)


def plain_images(assigned: Assigned, image_NCHW: Tensor, values: list[Tensor]) -> Tensor:
    """The pixels that the patterns make, image by image, float64."""
    changed = []
    for n, which in enumerate(assigned.which_N):
        pixels = image_NCHW[n].double() / 255
        if which == 0:
            top, left = (math.floor(assigned.place_N2[n, axis].item() * (IMAGE_SIZE - 8)) for axis in (0, 1))
            pixels = pixels.clone()
            pixels[:, top : top + 9, left : left + 9] = values[0]
        elif which == 1:
            pixels = 0.7 * pixels + 0.3 * values[1]
        changed.append(pixels)
    return torch.stack(changed)


@pytest.mark.parametrize("trained_on", ["pairs", IMAGES_ALONE])
@pytest.mark.parametrize("chunk_size", [None, 4])
@pytest.mark.parametrize("tower", ["resnet", "vit"])
def test_a_step_equals_open_clips_forward_and_plain_autograd(tower, chunk_size, trained_on):
    """Of the weights and of the patterns, from one backward pass; the captions' tower has no gradient."""
    model, teacher = moved(tower)
    batch, assigned = tiny_batch(6), carried()
    recipe = UARRecipe(trained_on=trained_on, consistency_weight=3.0)
    step_options = options(teacher, recipe, chunk_size)
    losses = accumulate_gradients(model, batch, step_options, World(), perturb=assigned.perturb)
    ours = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}

    model.zero_grad()
    values = [pattern.value.detach().clone().requires_grad_() for pattern in assigned.patterns]
    images = unit(
        model.encode_image((plain_images(assigned, batch.image_NCHW, values) - 0.45) / 0.27), dim=-1
    )
    with torch.no_grad():
        texts = unit(model.encode_text(batch.tokens_NL), dim=-1)
        before = unit(teacher.encode_image(to_input(batch.image_NCHW)), dim=-1)
    total = 3.0 * sum(1 - images[j] @ before[j] for j in range(6)) / 6
    if trained_on == "pairs":
        for anchors, candidates in ((images, texts), (texts, images)):
            for j in range(6):
                logits = model.logit_scale.exp().detach() * (candidates @ anchors[j])
                total = total + 0.5 * (torch.logsumexp(logits, 0) - logits[j]) / 6
    assert losses.total.item() == pytest.approx(total.item(), rel=1e-7), "pixels are float32 until the tower"
    total.backward()
    theirs = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    assert ours.keys() == theirs.keys()
    assert all(name.startswith("visual.") for name in ours)
    for name, gradient in theirs.items():
        torch.testing.assert_close(ours[name], gradient, rtol=1e-5, atol=1e-7)
    for pattern, value in zip(assigned.patterns, values, strict=True):
        torch.testing.assert_close(pattern.value.grad, value.grad, rtol=1e-5, atol=1e-8)


def test_the_teacher_shares_the_captions_tower_and_keeps_its_own_image_tower():
    model = tiny_clip("vit")
    teacher = towers.frozen_image_tower(model)
    ours, theirs = dict(model.named_parameters()), dict(teacher.named_parameters())
    for name, parameter in ours.items():
        assert (parameter is theirs[name]) == (not name.startswith("visual.")), name
        assert parameter.requires_grad
    assert not any(p.requires_grad for name, p in theirs.items() if name.startswith("visual."))


# ---------------------------------------------------------------- a whole run

RECIPE = UARRecipe(
    epochs=3,
    strong_epochs=2,
    batch_size=8,
    learning_rate=1e-3,
    weak_learning_rate=6e-4,
    warmup_steps=2,
    strong_live_share=0.63,
    strong_bank_share=0.25,
    weak_live_share=0.63,
    weak_bank_share=0.25,
    strong_edit_share=0.12,
    weak_edit_share=0.12,
    edit_strength=0.7,
    live_patches=2,
    live_warps=1,
    live_colours=1,
    live_updates=3,
    bank_size=15,
    inverted_patches=2,
    inverted_fixed_patches=1,
    inverted_blends=1,
    inverted_warps=1,
    inverted_colours=1,
    inversion_steps=3,
    reinversion_steps=2,
    consistency_weight=4.0,
    kept_change=0.75,
    precision="fp32",
)
SEED, NUM_PAIRS = 5, 29


def warped(pixels: Tensor, value: Tensor, strength: float) -> Tensor:
    """Each pixel from where the displacement points: Keys' cubic between control points, then bilinear."""

    def near(distance: float) -> float:
        d = abs(distance)
        return (1.25 * d - 2.25) * d * d + 1 if d <= 1 else ((-0.75 * d + 3.75) * d - 6) * d + 3

    weights = torch.zeros(32, 4, dtype=torch.float64)
    for y in range(32):
        at = y * 3 / 31
        for k in range(math.floor(at) - 1, math.floor(at) + 3):
            weights[y, min(3, max(0, k))] += near(at - k)
    flow = weights @ (2 * value - 1) @ weights.T
    line = torch.arange(32, dtype=torch.float64)
    at_row = (line[:, None] + 31 * strength * flow[0]).clamp(0, 31)
    at_column = (line[None, :] + 31 * strength * flow[1]).clamp(0, 31)
    top, left = (at.detach().floor().clamp(max=30).long() for at in (at_row, at_column))
    down, right = at_row - top, at_column - left
    upper = (1 - right) * pixels[:, top, left] + right * pixels[:, top, left + 1]
    lower = (1 - right) * pixels[:, top + 1, left] + right * pixels[:, top + 1, left + 1]
    return (1 - down) * upper + down * lower


def coloured(pixels: Tensor, value: Tensor, radius: float) -> Tensor:
    """One channel after the other."""
    change = radius * (2 * value - 1)
    mixed = [pixels[c] + sum(change[c, d] * pixels[d] for d in range(3)) + change[c, 3] for c in range(3)]
    return torch.stack(mixed).clamp(0, 1)


class PlainRun:
    """UAR by the words of docs/uar/method.md: one pattern, one image, one number at a time; float64."""

    def __init__(self, folder: Path, tower: str) -> None:
        self.checkpoint = tiny_checkpoint(tower)
        self.model = self.checkpoint.model.double().eval()
        self.teacher = copy.deepcopy(self.model)
        self.data = open_pairs(folder)
        self.live = [self.fresh(number, 0) for number in range(5)]
        self.inverted: list[tuple[str, Tensor]] = []
        self.graduated: list[tuple[str, Tensor]] = []
        self.losses: list[float] = []
        self.rates: list[float] = []

    def fresh(self, number: int, step: int) -> tuple[str, Tensor]:
        shape: tuple[int, ...]
        if number >= 2:
            shape, kind = (
                ((3, 32, 32), "blend 0.12"),
                ((2, 4, 4), "warp 0.06"),
                ((3, 4), "colour 0.3"),
            )[number - 2]
        else:
            side = int(generator(SEED, "uar_side", number, step).integers(4, 11))
            shape, kind = (3, side, side), "patch"
        numbers = generator(SEED, "uar_live", number, step).random(shape)
        return kind, torch.from_numpy(numbers).float().double()

    @staticmethod
    def changed(pixels: Tensor, kind: str, value: Tensor, place: Tensor) -> Tensor:
        if kind.startswith("patch at "):
            place = torch.tensor([float(share) for share in kind.split()[2:]])
        elif kind != "patch":
            name, number = kind.split()
            if name == "warp":
                return warped(pixels, value, float(number))
            if name == "colour":
                return coloured(pixels, value, float(number))
            alpha = float(number)
            return (1 - alpha) * pixels + alpha * value
        side = value.shape[-1]
        top, left = (math.floor(place[axis].item() * (32 - side + 1)) for axis in (0, 1))
        pixels = pixels.clone()
        pixels[:, top : top + side, left : left + side] = value
        return pixels

    def embed(self, model, pixels: list[Tensor]) -> Tensor:
        mean, std = self.checkpoint.architecture.image_mean, self.checkpoint.architecture.image_std
        channels = [torch.tensor(one, dtype=torch.float64).view(3, 1, 1) for one in (mean, std)]
        return unit(
            model.encode_image(torch.stack([(x - channels[0]) / channels[1] for x in pixels])), dim=-1
        )

    def invert(self, number: int, num_steps: int) -> None:
        images = images_to_invert_on(self.data, 32, SEED).double() / 255
        kinds: list[tuple[str, tuple[int, ...]]] = [("patch", (3, 8, 8)), ("patch", (3, 8, 8))]
        (at,) = generator(SEED, "uar_fixed_places", number).random((1, 2)).tolist()
        kinds += [(f"patch at {at[0]} {at[1]}", (3, 8, 8))]
        kinds += [("blend 0.2", (3, 32, 32)), ("warp 0.06", (2, 4, 4)), ("colour 0.3", (3, 4))]
        stream = f"uar_inversion_{number}"
        values = [
            torch.from_numpy(generator(SEED, f"{stream}_start", n).random(shape)).float().double()
            for n, (_, shape) in enumerate(kinds)
        ]
        speed = [torch.zeros_like(value) for value in values]
        for step in range(num_steps):
            draws = generator(SEED, f"{stream}_images", step)
            order = [
                int(i) for _ in range(math.ceil(48 / len(images))) for i in draws.permutation(len(images))
            ]
            places = torch.from_numpy(draws.random((48, 2)))
            size = 0.08 + (0.024 - 0.08) * step / (num_steps - 1)
            for n, (kind, _) in enumerate(kinds):
                leaf = values[n].clone().requires_grad_()
                own = range(8 * n, 8 * n + 8)
                rows = self.embed(
                    self.model, [self.changed(images[order[i]], kind, leaf, places[i]) for i in own]
                )
                mean = sum(rows) / 8
                gradient = torch.autograd.grad(mean @ mean, leaf)[0]
                speed[n] = 0.7 * speed[n] + gradient / gradient.abs().mean()
                values[n] = (values[n] + size * speed[n].sign()).clamp(0, 1)
        self.inverted += [(kind, value) for (kind, _), value in zip(kinds, values, strict=True)]

    def run(self) -> None:
        batches = open_batches(
            self.checkpoint, self.data, RECIPE, seed=SEED, world=World(), num_workers=0, device=CPU
        )
        per_epoch = batches.steps_per_epoch
        self.rates = reference.learning_rates(1e-3, 2, 2 * per_epoch)
        self.rates += reference.learning_rates(6e-4, 2, per_epoch)
        moments = {name: (torch.zeros_like(p), torch.zeros_like(p)) for name, p in self.visual()}
        step = 0
        for epoch in range(3):
            if epoch in (0, 2):
                self.invert(epoch // 2, (3, 0, 2)[epoch])
            for batch in batches.epoch(epoch):
                self.update(step, batch, moments, num_live=5, num_bank=2)
                step += 1
        before = dict(self.teacher.named_parameters())
        with torch.no_grad():
            for name, parameter in self.visual():
                parameter.copy_(0.25 * before[name] + 0.75 * parameter)

    def visual(self):
        return [(n, p) for n, p in self.model.named_parameters() if n.startswith("visual.")]

    def update(self, step: int, batch, moments, *, num_live: int, num_bank: int) -> None:
        bank = self.inverted + self.graduated
        leaves = [value.clone().requires_grad_() for _, value in self.live]
        places = torch.from_numpy(generator(SEED, "uar_places", step).random((8, 2)))
        from_bank = generator(SEED, "uar_bank", step).integers(len(bank), size=num_bank)
        clean = [image.double() / 255 for image in batch.image_NCHW]
        pixels = list(clean)
        for n in range(num_live):
            pixels[n] = self.changed(clean[n], self.live[n][0], leaves[n], places[n])
        for n, drawn in zip(range(num_live, num_live + num_bank), from_bank, strict=True):
            pixels[n] = self.changed(clean[n], *bank[int(drawn)], places[n])
        edits = families(0.7)
        draws = generator(SEED, "uar_edits", step)
        (chosen,), numbers = (
            draws.integers(len(edits), size=1),
            torch.from_numpy(draws.random((1, 4))).float(),
        )
        num_numbers = edits[chosen].shape(32)[0]
        pixels[7] = plain_edit(edits[chosen], clean[7], numbers[0, :num_numbers].double())
        self.model.zero_grad()
        images = self.embed(self.model, pixels)
        with torch.no_grad():
            texts = unit(self.model.encode_text(batch.tokens_NL), dim=-1)
            before = self.embed(self.teacher, clean)
        loss = 4.0 * sum(1 - images[j] @ before[j] for j in range(8)) / 8
        for anchors, candidates in ((images, texts), (texts, images)):
            for j in range(8):
                logits = self.model.logit_scale.exp().detach() * (candidates @ anchors[j])
                loss = loss + 0.5 * (torch.logsumexp(logits, 0) - logits[j]) / 8
        loss.backward()
        self.losses.append(loss.item())
        with torch.no_grad():
            self.adamw(step, moments)
        for number, leaf in enumerate(leaves):
            gradient = torch.zeros_like(leaf) if leaf.grad is None else leaf.grad
            kind, value = self.live[number][0], (leaf.detach() + 0.1 * gradient.sign()).clamp(0, 1)
            if (step + 1 + number * 3 // 5) % 3 == 0:  # spread over a life
                self.graduated.append((kind, value))
                self.live[number] = self.fresh(number, step + 1)
            else:
                self.live[number] = (kind, value)
        self.graduated = self.graduated[len(self.inverted) - 15 :]

    def adamw(self, step: int, moments) -> None:
        rate, count = self.rates[step], step + 1
        for name, parameter in self.visual():
            if parameter.grad is None:
                continue
            if parameter.ndim >= 2:
                parameter.mul_(1 - rate * 0.1)
            first, second = moments[name]
            first.mul_(0.9).add_(0.1 * parameter.grad)
            second.mul_(0.98).add_(0.02 * parameter.grad**2)
            root = (second / (1 - 0.98**count)).sqrt() + 1e-8
            parameter.sub_(rate * (first / (1 - 0.9**count)) / root)


@pytest.mark.parametrize("tower", mostly_full(["resnet", "vit"], daily=["vit"]))
def test_a_run_gives_the_curve_and_the_weights_of_a_plain_one(tower, tmp_path, monkeypatch):
    folder = make_pairs(tmp_path / "pairs", NUM_PAIRS)
    plain = PlainRun(folder, tower)
    plain.run()
    ours = tiny_checkpoint(tower)
    ours.model.double()
    as_it_is = loop.to_input
    monkeypatch.setattr(loop, "to_input", lambda checkpoint: lambda x: as_it_is(checkpoint)(x).double())
    trained = finetune(ours, open_pairs(folder), RECIPE, seed=SEED, device=CPU)
    curve = trained.training.curve
    assert len(plain.losses) == len(curve) == 9
    assert len(plain.inverted) == 12
    assert [point.learning_rate for point in curve] == pytest.approx(plain.rates, rel=1e-12)
    assert [point.loss for point in curve] == pytest.approx(plain.losses, rel=1e-5)
    weights = ours.model.state_dict()
    for name, tensor in plain.model.state_dict().items():
        torch.testing.assert_close(weights[name], tensor, rtol=1e-3, atol=1e-5, msg=name)


def test_the_stages_are_those_that_have_epochs():
    recipe = UARRecipe(epochs=3, strong_epochs=1, reinversion_steps=7)
    assert [(one.first_epoch, one.num_epochs, one.inversion_steps) for one in recipe.stages()] == [
        (0, 1, 100),
        (1, 2, 7),
    ]
    assert [one.inversion_steps for one in replace(recipe, strong_epochs=0).stages()] == [100]
    assert replace(recipe, strong_epochs=3).stage_names() == ("strong",)
