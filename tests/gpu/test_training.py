"""The same step and loop on a CUDA device: near the CPU's float64, resumable, in bf16 by default."""

import pytest
import torch

from cleanclip.vocabulary.errors import Interrupted
from cleanclip.vocabulary.progress import Advanced, ignore, never_stop
from cleanclip.vocabulary.recipe import CleanCLIPRecipe, PARRecipe
from cleanclip.vocabulary.uar_recipe import UARRecipe
from sanitizer.checkpoints.model import load_canonical
from sanitizer.data.pairs import open_pairs
from sanitizer.methods.catalogue import build_method
from sanitizer.ranks.shared_training import Sources, train
from sanitizer.training import device as devices
from sanitizer.training import loop, optimizer, state, towers
from sanitizer.training.distributed import World
from sanitizer.training.pattern_pool import PatternPool
from sanitizer.training.step import StepOptions, accumulate_gradients, take_step
from tests.fixtures.audited import write_model
from tests.fixtures.shards import make_pairs
from tests.fixtures.tiny_clips import tiny_batch, tiny_checkpoint, tiny_clip

RECIPE = CleanCLIPRecipe(epochs=3, batch_size=4, learning_rate=1e-3, warmup_steps=2, precision="fp32")


def options(dtype: torch.dtype, towers_dtype: torch.dtype = torch.float32, **changes) -> StepOptions:
    values = {
        "to_input": lambda image: (image.to(dtype) / 255 - 0.45) / 0.27,
        "method": build_method(CleanCLIPRecipe()),
        "chunk_size": None,
        "max_grad_norm": None,
        "towers_dtype": towers_dtype,
    }
    return StepOptions(**(values | changes))


def loss_and_gradients(model, step_options):
    towers.prepare(model, freeze_batch_norm_statistics=True)
    losses = accumulate_gradients(model, tiny_batch(8), step_options, World())
    trained = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return losses.total.item(), {name: gradient.double().cpu() for name, gradient in trained.items()}


def pushed(model, input_model, dtype: torch.dtype):
    """By PAR, away from `input_model`."""
    frozen = input_model.eval().requires_grad_(False)
    return loss_and_gradients(
        model, options(dtype, method=build_method(PARRecipe(threshold=4.0)), input_model=frozen)
    )


@pytest.mark.parametrize("tower", ["resnet", "vit"])
def test_the_gradient_on_cuda_equals_that_of_the_cpu_in_float64(cuda, tower):
    loss, gradients = loss_and_gradients(tiny_clip(tower).double().to(cuda), options(torch.float64))
    expected_loss, expected = loss_and_gradients(tiny_clip(tower).double(), options(torch.float64))
    assert loss == pytest.approx(expected_loss, rel=1e-10)
    for name, gradient in expected.items():
        torch.testing.assert_close(gradients[name], gradient, rtol=1e-7, atol=1e-11)


def repaired(model, teacher, device: torch.device):
    """One step of UAR: the loss, the gradients, and what the live patterns climbed to."""
    recipe = UARRecipe(batch_size=8, strong_live_share=1.0, strong_bank_share=0.0)
    pool = PatternPool(recipe, image_size=32, seed=1, device=device)
    step_options = options(
        torch.float64,
        method=build_method(recipe),
        input_model=teacher,
        to_input=lambda x: ((x / 255 if x.dtype == torch.uint8 else x).double() - 0.45) / 0.27,
    )
    towers.prepare(model, freeze_batch_norm_statistics=True)
    perturb = pool.assign(0, recipe.stages()[0], 8, World()).perturb
    losses = accumulate_gradients(model, tiny_batch(8), step_options, World(), perturb=perturb)
    pool.ascend(0, World())
    trained = {name: p.grad.cpu() for name, p in model.named_parameters() if p.grad is not None}
    return losses.total.item(), trained, {name: value.cpu() for name, value in pool.export().items()}


@pytest.mark.parametrize("tower", ["resnet", "vit"])
def test_uars_step_on_cuda_equals_that_of_the_cpu_in_float64(cuda, tower):
    on_cuda = [tiny_clip(tower, seed=seed).double().to(cuda) for seed in (0, 1)]
    loss, gradients, patterns = repaired(on_cuda[0], towers.frozen_image_tower(on_cuda[1]), cuda)
    on_cpu = [tiny_clip(tower, seed=seed).double() for seed in (0, 1)]
    teacher = towers.frozen_image_tower(on_cpu[1])
    expected_loss, expected, expected_patterns = repaired(on_cpu[0], teacher, torch.device("cpu"))
    assert loss == pytest.approx(expected_loss, rel=1e-7)
    assert gradients.keys() == expected.keys()
    assert all(name.startswith("visual.") for name in gradients)
    for name, gradient in expected.items():
        torch.testing.assert_close(gradients[name], gradient, rtol=1e-5, atol=1e-8)
    for name, value in expected_patterns.items():
        assert ((patterns[name] - value).abs() > 1e-6).float().mean() < 0.01, "signs of what is almost 0"


def test_a_run_of_uar_on_cuda_inverts_trains_and_resumes(cuda, tmp_path):
    pairs = open_pairs(make_pairs(tmp_path / "pairs", 22))
    recipe = UARRecipe(
        epochs=3,
        strong_epochs=2,
        batch_size=4,
        learning_rate=1e-3,
        warmup_steps=2,
        inversion_steps=3,
        reinversion_steps=3,
        precision="bf16",
    )
    done = [0]

    def progress(event):
        if isinstance(event, Advanced):
            done[0] = event.done

    arguments = {"seed": 5, "device": cuda, "state_folder": tmp_path / "state"}
    with pytest.raises(Interrupted):
        loop.finetune(
            tiny_checkpoint("vit"), pairs, recipe, progress=progress, stop=lambda: done[0] >= 12, **arguments
        )
    checkpoint = tiny_checkpoint("vit")
    finished = loop.finetune(checkpoint, pairs, recipe, **arguments)
    assert finished.training.num_steps == 15
    assert finished.training.resumed_from_steps == (12,)
    assert all(torch.isfinite(p).all() for p in checkpoint.model.parameters())


@pytest.mark.parametrize("tower", ["resnet", "vit"])
def test_pars_gradient_on_cuda_equals_that_of_the_cpu_in_float64(cuda, tower):
    on_cuda = [tiny_clip(tower, seed=seed).double().to(cuda) for seed in (0, 1)]
    loss, gradients = pushed(*on_cuda, torch.float64)
    expected_loss, expected = pushed(
        *(tiny_clip(tower, seed=seed).double() for seed in (0, 1)), torch.float64
    )
    assert loss == pytest.approx(expected_loss, rel=1e-10)
    assert gradients.keys() == expected.keys()
    assert "logit_scale" not in gradients
    for name, gradient in expected.items():
        torch.testing.assert_close(gradients[name], gradient, rtol=1e-7, atol=1e-11)


@pytest.mark.parametrize("tower", ["resnet", "vit"])
def test_bf16_towers_on_cuda_stay_near_the_cpu(cuda, tower):
    model = tiny_clip(tower).to(cuda, memory_format=torch.channels_last)
    loss, gradients = loss_and_gradients(model, options(torch.float32, torch.bfloat16))
    expected_loss, expected = loss_and_gradients(tiny_clip(tower).double(), options(torch.float64))
    assert loss == pytest.approx(expected_loss, rel=0.03)
    ours = torch.cat([gradients[name].flatten() for name in expected])
    theirs = torch.cat([gradient.flatten() for gradient in expected.values()])
    assert torch.nn.functional.cosine_similarity(ours, theirs, dim=0) > 0.98


def test_chunks_on_cuda_give_the_gradient_of_the_whole_batch(cuda):
    _, whole = loss_and_gradients(tiny_clip().double().to(cuda), options(torch.float64))
    _, chunked = loss_and_gradients(tiny_clip().double().to(cuda), options(torch.float64, chunk_size=3))
    for name, gradient in whole.items():
        torch.testing.assert_close(chunked[name], gradient, rtol=1e-7, atol=1e-11)


def test_an_update_on_cuda_moves_every_weight_and_no_statistic(cuda):
    model = tiny_clip().to(cuda, memory_format=torch.channels_last)
    towers.prepare(model, freeze_batch_norm_statistics=True)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    update = optimizer.build(model, CleanCLIPRecipe(learning_rate=1e-3))
    result = take_step(model, update, tiny_batch(8), options(torch.float32, torch.bfloat16), World())
    assert result.is_finite
    parameters = {name for name, _ in model.named_parameters()}
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]) == (name not in parameters), name


def test_auto_takes_bf16_on_cuda(cuda):
    assert devices.pick("auto").type == "cuda"
    expected = torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    assert devices.towers_dtype("auto", cuda, tiny_clip()) == expected


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_run_cut_on_cuda_resumes_near_the_uncut_run(cuda, tmp_path, precision):
    pairs = open_pairs(make_pairs(tmp_path / "pairs", 22))
    recipe = CleanCLIPRecipe(epochs=3, batch_size=4, learning_rate=1e-4, warmup_steps=2, precision=precision)
    uncut = loop.finetune(tiny_checkpoint(), pairs, recipe, seed=5, device=cuda)
    done = [0]

    def progress(event) -> None:
        done[0] = event.done if isinstance(event, Advanced) else done[0]

    arguments = {"seed": 5, "device": cuda, "state_folder": tmp_path / "state"}
    with pytest.raises(Interrupted):
        loop.finetune(
            tiny_checkpoint(), pairs, recipe, progress=progress, stop=lambda: done[0] >= 7, **arguments
        )
    assert state.find_newest(tmp_path / "state").name == "step-00000007"
    resumed = loop.finetune(tiny_checkpoint(), pairs, recipe, **arguments)
    assert resumed.precision == precision
    assert resumed.training.resumed_from_steps == (7,)
    expected = [point.loss for point in uncut.training.curve]
    assert [point.loss for point in resumed.training.curve] == pytest.approx(expected, rel=0.02)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="fewer than two CUDA devices")
def test_two_devices_train_nearly_the_model_of_one(cuda, tmp_path):
    folder = write_model(tmp_path / "checkpoint")
    pairs = open_pairs(make_pairs(tmp_path / "pairs", 22))
    trained = []
    for num_ranks in (1, 2):
        checkpoint = load_canonical(tmp_path / "checkpoint")
        finetuned = train(
            checkpoint,
            pairs,
            RECIPE,
            Sources(checkpoint_folder=folder, training_path=tmp_path / "pairs"),
            num_ranks=num_ranks,
            seed=5,
            device=cuda,
            state_folder=tmp_path / "state",
            save_every_s=60.0,
            progress=ignore,
            stop=never_stop,
            num_workers=0,
            class_CD=None,
        )
        assert finetuned.num_processes == num_ranks
        assert checkpoint.model.logit_scale.device.type == "cuda"
        trained.append([point.loss for point in finetuned.training.curve])
    assert trained[1] == pytest.approx(trained[0], rel=1e-3)


def test_a_state_saved_on_cuda_goes_on_on_a_cpu(cuda, tmp_path):
    pairs = open_pairs(make_pairs(tmp_path / "pairs", 22))
    arguments = {"seed": 5, "state_folder": tmp_path / "state"}
    with pytest.raises(Interrupted):
        loop.finetune(tiny_checkpoint(), pairs, RECIPE, device=cuda, stop=lambda: True, **arguments)
    resumed = loop.finetune(tiny_checkpoint(), pairs, RECIPE, device=torch.device("cpu"), **arguments)
    assert resumed.training.num_steps == 15
