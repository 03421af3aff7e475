"""Training in one process, or in several of this machine that share out each batch.

Audits do not come here: their figures are to be the same to the last bit wherever they are made, and they are
short beside a training. The trained weights come back as the last training state, which rank 0 saves.
"""

import copy
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch
from open_clip.model import CLIP
from safetensors.torch import load_file
from torch import Tensor, nn

from cleanclip.vocabulary.jobspec import MaxRanks
from cleanclip.vocabulary.progress import RANKS, Noted, Progress, Stop
from cleanclip.vocabulary.recipe import Recipe
from cleanclip.vocabulary.uar_recipe import UARRecipe
from sanitizer.checkpoints.model import LoadedCheckpoint
from sanitizer.checkpoints.safetensors_file import write_safetensors
from sanitizer.data.training_data import TrainingData
from sanitizer.ranks.group import run_ranks
from sanitizer.ranks.protocol import CLASSES_NAME, RankOrder
from sanitizer.training import state
from sanitizer.training.fits import check_fits
from sanitizer.training.loop import Finetuned, finetune
from sanitizer.training.towers import has_batch_norm, keep_change


def how_many(at_most: MaxRanks, recipe: Recipe, model: nn.Module, device: torch.device) -> int:
    """As many processes as share out the recipe's batch evenly, and each have a device if that is CUDA.

    One where a batch cannot be split: BatchNorm's statistics that move depend on all of it.
    """
    if not recipe.freeze_batch_norm_statistics and has_batch_norm(model):
        return 1
    limit = 1 if at_most == "auto" else at_most
    if device.type != "cpu":  # a device that was named by its number is one
        devices = torch.cuda.device_count() if str(device) == "cuda" else 1
        limit = devices if at_most == "auto" else min(at_most, devices)
    return max(number for number in range(1, limit + 1) if recipe.batch_size % number == 0)


@dataclass(frozen=True, kw_only=True)
class Sources:
    """Where `checkpoint` and `data` were opened, for ranks to open them again."""

    checkpoint_folder: Path
    training_path: Path
    exclude: tuple[Path, ...] = ()
    """Lists of samples to leave out, of this dataset or others."""


def train(
    checkpoint: LoadedCheckpoint,
    data: TrainingData,
    recipe: Recipe,
    sources: Sources,
    *,
    num_ranks: int,
    seed: int,
    device: torch.device,
    state_folder: Path,
    save_every_s: float,
    progress: Progress,
    stop: Stop,
    num_workers: int,
    class_CD: Tensor | None,
) -> Finetuned:
    """As `training.loop.finetune`, in `num_ranks` processes, each on a device of its own if `device` is CUDA.

    `num_workers` is for one; several share out the cores. Raises what `finetune` does, and RankLost where one
    of several crashes or is killed.
    """
    if num_ranks == 1:
        return finetune(
            checkpoint,
            data,
            recipe,
            seed=seed,
            device=device,
            state_folder=state_folder,
            save_every_s=save_every_s,
            progress=progress,
            stop=stop,
            num_workers=num_workers,
            class_CD=class_CD,
        )
    check_fits(recipe, checkpoint, len(data), num_ranks)
    progress(Noted(level="info", message=RANKS(num=num_ranks)))
    checkpoint.model.to("cpu")  # each rank has its own; this process needs none meanwhile
    with tempfile.TemporaryDirectory(prefix="ranks-") as meeting:
        if class_CD is not None:
            write_safetensors(Path(meeting) / CLASSES_NAME, {"class_CD": class_CD}, {})
        orders = [
            RankOrder(
                rank=rank,
                num_ranks=num_ranks,
                meeting_folder=Path(meeting),
                checkpoint_folder=sources.checkpoint_folder.resolve(),
                architecture=checkpoint.architecture.to_config(),
                training_path=sources.training_path.resolve(),
                exclude=tuple(path.resolve() for path in sources.exclude),
                recipe=recipe,
                seed=seed,
                device="cuda" if device.type == "cuda" else "cpu",
                state_folder=state_folder.resolve(),
                save_every_s=save_every_s,
                has_classes=class_CD is not None,
            )
            for rank in range(num_ranks)
        ]
        finetuned = run_ranks(orders, progress, stop)
    run_sha256 = state.run_sha256(
        recipe,
        seed=seed,
        weights_sha256=checkpoint.weights_sha256,
        pairs_sha256=data.sha256,
        world_size=num_ranks,
    )
    _bring_back(checkpoint.model, recipe, state_folder, run_sha256)
    checkpoint.model.to(device).eval()
    return finetuned


def _bring_back(model: CLIP, recipe: Recipe, folder: Path, run_sha256: str) -> None:
    """`model`: the input's weights, which become the trained ones. States hold the whole change."""
    trained = state.find_newest(folder, run_sha256)
    if trained is None:
        raise RuntimeError("the ranks ended, and left no state")
    kept = recipe.kept_change if isinstance(recipe, UARRecipe) else 1.0
    before = copy.deepcopy(model) if kept < 1 else None
    model.load_state_dict(load_file(trained / state.WEIGHTS_NAME))
    if before is not None:
        keep_change(model, before, kept)
