"""Two real processes that talk over gloo give what one process with the joined batch gives."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from cleanclip.vocabulary.recipe import CleanCLIPRecipe, PARRecipe, SupervisedRecipe
from cleanclip.vocabulary.uar_recipe import UARRecipe
from sanitizer.data.batches import PairBatch
from sanitizer.data.pairs import open_pairs
from sanitizer.methods.catalogue import build_method
from sanitizer.training import distributed, state, towers
from sanitizer.training.distributed import World
from sanitizer.training.loop import finetune
from sanitizer.training.pattern_pool import Assigned, PatternPool
from sanitizer.training.step import StepOptions, accumulate_gradients
from tests.fixtures.shards import make_pairs, write_tar
from tests.fixtures.tiny_clips import tiny_batch, tiny_checkpoint, tiny_clip

pytestmark = pytest.mark.slow

NUM_RANKS = 2
PAIRS_A_RANK = 5
RECIPE = CleanCLIPRecipe(epochs=2, batch_size=6, learning_rate=1e-3, warmup_steps=2, max_skipped_share=0.5)


METHODS = {
    "cleanclip": CleanCLIPRecipe(lambda1=0.9, lambda2=1.4),
    "par": PARRecipe(threshold=4.0),
    "supervised": SupervisedRecipe(),
    "uar": UARRecipe(),
    "uar_words": UARRecipe(trigger_words=("word",)),
}
UAR = UARRecipe(
    epochs=2,
    strong_epochs=1,
    batch_size=6,
    learning_rate=1e-3,
    warmup_steps=2,
    max_skipped_share=0.5,
    inversion_steps=3,
    reinversion_steps=2,
    live_updates=3,
    strong_live_share=0.5,
)


def to_input(image: torch.Tensor) -> torch.Tensor:
    pixels = image / 255 if image.dtype == torch.uint8 else image
    return (pixels.double() - 0.45) / 0.27


def step_options(method: str, chunk_size: int | None) -> StepOptions:
    before = tiny_clip(seed=1).double().eval().requires_grad_(False)
    # Any numbers do for labels: here the first token of each caption is one.
    class_CD = torch.nn.functional.normalize(before.token_embedding.weight @ before.text_projection, dim=-1)
    return StepOptions(
        to_input=lambda image: (
            ((image / 255 if image.dtype == torch.uint8 else image).double() - 0.45) / 0.27
        ),
        method=build_method(METHODS[method]),
        input_model=before if method in ("par", "uar", "uar_words") else None,
        class_CD=class_CD if method == "supervised" else None,
        chunk_size=chunk_size,
        max_grad_norm=None,
        towers_dtype=torch.float32,
    )


def rows(batch: PairBatch, chosen: slice) -> PairBatch:
    return PairBatch(
        image_NCHW=batch.image_NCHW[chosen],
        image_view_NCHW=batch.image_view_NCHW[chosen],
        tokens_NL=batch.tokens_NL[chosen],
        tokens_view_NL=batch.tokens_view_NL[chosen],
    )


def gradients(method: str, batch: PairBatch, world: World, chunk_size: int | None) -> dict[str, torch.Tensor]:
    """Of every parameter that the method trains, and the loss beside them; of uar's live patterns what they
    climbed to."""
    model = tiny_clip().double()
    towers.prepare(model, freeze_batch_norm_statistics=True)
    pool = PatternPool(UAR, image_size=32, seed=1, device=torch.device("cpu"))
    assigned = pool.assign(0, UAR.stages()[0], NUM_RANKS * PAIRS_A_RANK, world) if "uar" in method else None
    perturb = None if assigned is None else _in_rank_order(assigned, world).perturb
    losses = accumulate_gradients(model, batch, step_options(method, chunk_size), world, perturb=perturb)
    found = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    if assigned is not None:
        pool.ascend(0, world)
        found |= pool.export()
    return {"loss": losses.total} | found


def _in_rank_order(assigned: Assigned, world: World) -> Assigned:
    """Here rank r has its rows in one piece; a run's batches go round the ranks row by row."""
    if world.size > 1:
        return assigned
    order = [row for rank in range(NUM_RANKS) for row in range(rank, len(assigned.which_N), NUM_RANKS)]
    which = tuple(assigned.which_N[row] for row in order)
    return replace(assigned, which_N=which, place_N2=assigned.place_N2[order])


def rank_main(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=NUM_RANKS
    )
    world = distributed.current_world()
    own = rows(tiny_batch(NUM_RANKS * PAIRS_A_RANK), slice(rank * PAIRS_A_RANK, (rank + 1) * PAIRS_A_RANK))
    found = {}
    for method in METHODS:
        found |= {f"{method}:whole:{k}": v for k, v in gradients(method, own, world, None).items()}
        found |= {f"{method}:chunked:{k}": v for k, v in gradients(method, own, world, 2).items()}
    found["any"] = torch.tensor(
        [world.any(rank == 1, own.image_NCHW.device), world.any(False, torch.device("cpu"))]
    )
    checkpoint = tiny_checkpoint()
    finetuned = finetune(
        checkpoint,
        open_pairs(folder / "pairs"),
        RECIPE,
        seed=5,
        device=torch.device("cpu"),
        state_folder=folder / "state",
    )
    found |= {f"trained:{k}": v for k, v in checkpoint.model.state_dict().items()}
    found["curve"] = torch.tensor([point.loss for point in finetuned.training.curve])
    uar_checkpoint = tiny_checkpoint("vit")
    finetuned_uar = finetune(
        uar_checkpoint, open_pairs(folder / "pairs"), UAR, seed=5, device=torch.device("cpu")
    )
    found |= {f"uar_trained:{k}": v for k, v in uar_checkpoint.model.state_dict().items()}
    found["uar_curve"] = torch.tensor([point.loss for point in finetuned_uar.training.curve])
    found["skipped"] = torch.tensor(finetuned.num_skipped)
    found["joined"] = torch.tensor(world.join([10 * rank, 10 * rank + 1]))
    found["pairs_seen"] = torch.tensor(finetuned.training.num_pairs_seen)
    torch.save(found, folder / f"rank-{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    make_pairs(folder / "pairs", 20)
    bad = [(f"bad{n}.{kind}", b"nothing") for n in range(4) for kind in ("jpg", "txt")]
    write_tar(folder / "pairs" / "zz.tar", bad)
    mp.spawn(rank_main, args=(folder,), nprocs=NUM_RANKS)
    return folder


@pytest.fixture(scope="module")
def ranks(folder):
    return [torch.load(folder / f"rank-{rank}.pt", weights_only=True) for rank in range(NUM_RANKS)]


@pytest.mark.parametrize("way", ["whole", "chunked"])
@pytest.mark.parametrize("method", list(METHODS))
def test_two_ranks_give_the_loss_and_the_gradients_of_the_joined_batch(ranks, method, way):
    expected = gradients(method, tiny_batch(NUM_RANKS * PAIRS_A_RANK), World(), None)
    for found in ranks:
        for name, gradient in expected.items():
            torch.testing.assert_close(found[f"{method}:{way}:{name}"], gradient, rtol=1e-9, atol=1e-13)


def test_two_ranks_that_share_out_a_batch_train_the_same_model_as_one_process(ranks, folder):
    checkpoint = tiny_checkpoint()
    alone = finetune(checkpoint, open_pairs(folder / "pairs"), RECIPE, seed=5, device=torch.device("cpu"))
    first, second = ranks
    trained = [name for name in first if name.startswith("trained:")]
    assert len(trained) > 50
    assert all(torch.equal(first[name], second[name]) for name in trained)
    assert first["curve"].tolist() == pytest.approx([p.loss for p in alone.training.curve], rel=1e-3)
    assert first["pairs_seen"].item() == alone.training.num_pairs_seen == 48


def test_two_ranks_train_the_model_of_one_by_uar_too(ranks, folder):
    """Patterns, their gradients and inversions are those of the joined batch; but for rounding, which moves
    the few pixels whose gradient is almost zero to the other side."""
    checkpoint = tiny_checkpoint("vit")
    alone = finetune(checkpoint, open_pairs(folder / "pairs"), UAR, seed=5, device=torch.device("cpu"))
    first, second = ranks
    trained = [name for name in first if name.startswith("uar_trained:")]
    assert len(trained) > 30
    assert all(torch.equal(first[name], second[name]) for name in trained)
    assert first["uar_curve"].tolist() == pytest.approx([p.loss for p in alone.training.curve], rel=1e-3)


def test_rank_0_alone_saves_and_the_state_is_whole(folder):
    saved = {path.name for path in (folder / "state").iterdir()}
    assert saved == {"step-00000000", "step-00000008"}, "before the first update, and at the end"
    assert state.find_newest(folder / "state") is not None


def test_what_one_rank_skipped_is_counted_by_all(ranks):
    assert [found["skipped"].item() for found in ranks] == [4, 4]
    assert all(found["joined"].tolist() == [0, 1, 10, 11] for found in ranks)


def test_a_claim_of_one_rank_is_known_to_all(ranks):
    assert all(found["any"].tolist() == [True, False] for found in ranks)


def test_without_a_group_the_world_is_one_process():
    assert distributed.current_world() == World(rank=0, size=1)
