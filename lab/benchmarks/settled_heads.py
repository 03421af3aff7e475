"""How often heads and activation are settled rightly, on small ViT CLIPs of known ones (decision 0076).

    .venv/bin/python -m lab.benchmarks.settled_heads train --folder var/settled-heads [--minutes 40]
    .venv/bin/python -m lab.benchmarks.settled_heads settle --folder var/settled-heads
    .venv/bin/python -m lab.benchmarks.settled_heads tables --folder var/settled-heads

Trains the models that are missing in the folder, one thread each; then settles each as a job would. The seed
says what a model is and whether it is a development model, on which the rule was chosen, or a held-out one.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from open_clip.tokenizer import SimpleTokenizer
from torch.nn.functional import cross_entropy, normalize

from cleanclip.spec.errors import CheckpointRejected
from cleanclip.spec.settled import COMPARED
from lab.reproduction.row_files import append, json_of
from lab.testbed.writing import write_labelled_shards
from lab.zoo.intervals import clopper_pearson
from lab.zoo.markdown import cells, percent, table
from sanitizer.audits.settings_fit import draw_sample, measure
from sanitizer.checkpoints.architecture import (
    OPENAI_MEAN,
    OPENAI_STD,
    Architecture,
    Blocks,
    TextTransformer,
    VisionTransformer,
)
from sanitizer.checkpoints.building import build_clip
from sanitizer.checkpoints.model import load_canonical
from sanitizer.checkpoints.plausible import plausible_values
from sanitizer.checkpoints.settings import Settings
from sanitizer.checkpoints.writing import write_canonical
from sanitizer.data.labelled import LabelledDataset, open_labelled
from sanitizer.data.pixels import normalise
from sanitizer.pipeline.settings_race import Race
from sanitizer.seeding import generator
from tests.fixtures import learned

DEVELOPMENT, HELD_OUT = range(12), range(100, 142)
_WIDTHS = {16: (64, 128), 32: (64, 128), 64: (64, 128), 80: (160, 160, 160, 160, 320)}
"""Head width → tower widths."""
NUM_IMAGES = (256, 1_280, 3_000)
DECLARED = (("quick_gelu",), ())
"""The activation, as by someone who trained with open_clip; nothing, as by someone who has only the file."""
ROOT = Path(__file__).resolve().parents[2]
RAW = ROOT / "docs" / "settings" / "settled.jsonl"
PAGE = ROOT / "docs" / "decisions" / "0076-heads-and-activation-are-measured.md"
_BATCH = 48
_OUTCOMES = ("right", "refused", "ruled out", "wrong")


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """What a seed says of a model. Head widths are taken in turn, the rest is drawn."""

    seed: int
    head_width: int
    width: int
    layers: int
    text_width: int
    text_head_width: int
    quick_gelu: bool
    steps: int

    @staticmethod
    def of(seed: int) -> Drawn:
        """The model of that seed."""
        random = generator(seed, "settled_heads")
        head_width = tuple(_WIDTHS)[seed % len(_WIDTHS)]
        width = int(random.choice(_WIDTHS[head_width]))
        text_width = int(random.choice((64, 128)))
        return Drawn(
            seed=seed,
            head_width=head_width,
            width=width,
            layers=2 if width > 128 else int(random.integers(2, 4)),
            text_width=text_width,
            text_head_width=int(random.choice((64, 64, 32, 16))),
            quick_gelu=bool(random.integers(2)),
            steps=int(random.integers(60, 121)),
        )

    @property
    def architecture(self) -> Architecture:
        """As the model is trained."""
        width, text_width = self.width, self.text_width
        return Architecture(
            embed_dim=64,
            vision=VisionTransformer(
                blocks=Blocks(
                    width=width, layers=self.layers, heads=width // self.head_width, mlp_width=2 * width
                ),
                patch_size=8,
                image_size=learned.SIDE,
            ),
            text=TextTransformer(
                blocks=Blocks(
                    width=text_width,
                    layers=2,
                    heads=text_width // self.text_head_width,
                    mlp_width=2 * text_width,
                ),
                context_length=16,
                vocab_size=49408,
            ),
            quick_gelu=self.quick_gelu,
        )


def train(drawn: Drawn, folder: Path) -> None:
    """Cross-entropy among the captions of all classes, template by template; the canonical folder.

    Its classes are places of a bright square among decoys, which attention learns to tell in a minute.
    """
    torch.manual_seed(drawn.seed)
    model = build_clip(drawn.architecture).train()
    with torch.no_grad():  # strong attention and texts that differ, or nothing is learnt so soon
        model.token_embedding.weight.mul_(50).requires_grad_(False)
        model.visual.positional_embedding.mul_(3)
        for tower, width in ((model.visual.transformer, drawn.width), (model.transformer, drawn.text_width)):
            for block in tower.resblocks:
                block.attn.in_proj_weight[: 2 * width].mul_(2.5)
    captions = [learned.TEMPLATES[0].replace("{c}", name) for name in learned.CLASS_NAMES]
    captions += [learned.TEMPLATES[1].replace("{c}", name) for name in learned.CLASS_NAMES]
    token_TCL = SimpleTokenizer()(captions, context_length=16).unflatten(0, (2, -1))
    optimizer = torch.optim.Adam([one for one in model.parameters() if one.requires_grad], lr=1e-3)
    for step in range(drawn.steps):
        pixels, labels = learned.images(_BATCH, 1_000_000 + 1_000 * drawn.seed + step, decoys=20)
        image_NCHW = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2)
        image_ND = model.encode_image(normalise(image_NCHW, OPENAI_MEAN, OPENAI_STD))
        text_CD = model.encode_text(token_TCL[step % 2])
        cosine_NC = normalize(image_ND, dim=-1) @ normalize(text_CD, dim=-1).T
        loss = cross_entropy(10 * cosine_NC, torch.tensor(labels))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    write_canonical(folder, model.state_dict(), drawn.architecture, {"drawn": asdict(drawn)})


def labelled(seeds: range, folder: Path) -> LabelledDataset:
    """The test images of the models of `seeds`, composed once."""
    place = folder / f"labelled-{seeds.start}"
    if not place.is_dir():
        samples = zip(*learned.images(max(NUM_IMAGES), seeds.start), strict=True)
        write_labelled_shards(samples, place, learned.CLASS_NAMES, learned.TEMPLATES)
    return open_labelled(place)


def settle(drawn: Drawn, folder: Path, images: LabelledDataset, declared: tuple[str, ...]) -> dict[str, Any]:
    """What the service makes of the model if it is read with another activation and 64-wide heads."""
    as_read = replace(drawn.architecture, quick_gelu=not drawn.quick_gelu)
    true = Settings.of(drawn.architecture)
    usual = Settings(
        num_heads_vision=max(1, drawn.width // 64) if drawn.width % 64 == 0 else true.num_heads_vision,
        num_heads_text=drawn.text_width // 64,
        quick_gelu=drawn.quick_gelu if "quick_gelu" in declared else not drawn.quick_gelu,
    )
    checkpoint = load_canonical(folder, usual.applied(as_read))
    known = {one: "declared" if one in declared else "assumed" for one in COMPARED}
    sample = draw_sample(images, learned.TEMPLATES, image_size=learned.SIDE, seed=drawn.seed)
    assert sample is not None
    values = plausible_values(checkpoint.architecture, known)
    race = Race(checkpoint.architecture, known, values)
    started, code, ca = time.process_time(), None, None
    try:
        fit = measure(checkpoint, sample, values, device=torch.device("cpu"), undecided=race.undecided)
        ca = fit.ca(race.chosen).value
        race.decided(fit)
    except CheckpointRejected as error:
        code = error.code
    return {
        "seed": drawn.seed,
        "head_width": drawn.head_width,
        "num_images": len(images),
        "declared": declared,
        "refused": code,
        "ca": ca,
        "true": asdict(true),
        "chosen": asdict(race.chosen),
        "open": race.open,
        "cpu_s": round(time.process_time() - started, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("step", choices=["train", "settle", "tables"])
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=1e9, help="begin no model after so many")
    parser.add_argument("--seeds", type=int, nargs="*", default=[*DEVELOPMENT, *HELD_OUT])
    given = parser.parse_args()
    torch.set_num_threads(1)
    ends = time.monotonic() + 60 * given.minutes
    if given.step == "settle":
        for declared, seed in product(DECLARED, given.seeds):
            _settle_all(Drawn.of(seed), given.folder / f"{seed:03}", declared)
        return
    if given.step == "tables":
        write_tables()
        return
    for seed in given.seeds:
        folder, drawn = given.folder / f"{seed:03}", Drawn.of(seed)
        if not (folder / "config.json").is_file() and time.monotonic() < ends:
            train(drawn, folder)
            print(drawn, flush=True)


def _settle_all(drawn: Drawn, folder: Path, declared: tuple[str, ...]) -> None:
    """Append the rows of the model that are missing."""
    seeds = DEVELOPMENT if drawn.seed in DEVELOPMENT else HELD_OUT
    images = labelled(seeds, folder.parent)
    done = {(one["seed"], one["num_images"], tuple(one["declared"])) for one in rows()}
    for num_images in NUM_IMAGES:
        if (drawn.seed, num_images, declared) not in done:
            row = settle(drawn, folder, images.only(range(num_images)), declared)
            RAW.parent.mkdir(exist_ok=True)
            append(RAW, json.dumps(row))


def rows() -> list[dict[str, Any]]:
    """Every row so far."""
    return json_of(RAW)


def outcome(row: dict[str, Any], option: str) -> str:
    """'right', 'refused', 'ruled out' (refused, and the true value is not among those left) or 'wrong'."""
    left, true = row["open"].get(option, [row["chosen"][option]]), row["true"][option]
    if row["refused"] == "settings_at_chance":
        return "refused"
    if true not in left:
        return "ruled out" if row["refused"] else "wrong"
    return "refused" if len(left) > 1 else "right"


def outcome_of_job(row: dict[str, Any]) -> str:
    """Wrong if any option is, ruled out if any is; refused if the job is."""
    of_options = {outcome(row, option) for option in COMPARED}
    worst = next((one for one in ("wrong", "ruled out") if one in of_options), None)
    return worst or ("refused" if row["refused"] else "right")


def write_tables() -> None:
    """Those of decision 0076, from the rows."""
    held_out = [one for one in rows() if one["seed"] in HELD_OUT]
    given = [one for one in held_out if one["declared"]]
    lines = []
    for num_images in NUM_IMAGES:
        mine = [one for one in given if one["num_images"] == num_images]
        for name, option in (("vision heads", "num_heads_vision"), ("text heads", "num_heads_text")):
            lines.append(_line(f"{num_images:,}", name, [outcome(one, option) for one in mine]))
        lines.append(
            _line(f"{num_images:,}", "the job, activation declared", list(map(outcome_of_job, mine)))
        )
        bare = [one for one in held_out if not one["declared"] and one["num_images"] == num_images]
        if bare:
            lines.append(_line(f"{num_images:,}", "activation", [outcome(one, "quick_gelu") for one in bare]))
    most = [one for one in given if one["num_images"] == NUM_IMAGES[-1]]
    for head_width in _WIDTHS:
        outcomes = [outcome(one, "num_heads_vision") for one in most if one["head_width"] == head_width]
        lines.append(_line(f"{NUM_IMAGES[-1]:,}", f"vision heads of {head_width}", outcomes))
    found = table(
        ("images", "settled", "models", "right, %", "refused, %", "true value ruled out, %", "wrong, %"),
        lines,
    )
    page = PAGE.read_text("utf-8")
    before, _, rest = page.partition("<!-- settled -->\n")
    after = rest.partition("<!-- /settled -->")[2]
    PAGE.write_text(f"{before}<!-- settled -->\n{found}\n<!-- /settled -->{after}", "utf-8")


def _line(num_images: str, what: str, outcomes: list[str]) -> str:
    n = len(outcomes)
    shares = (percent(clopper_pearson(outcomes.count(one), n)) for one in _OUTCOMES)
    return cells(num_images, what, n, *(share.replace(" %", "") for share in shares))


if __name__ == "__main__":
    main()
