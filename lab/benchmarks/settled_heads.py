"""How often heads and activation are settled rightly, on small ViT CLIPs of known ones (decision 0076).

    .venv/bin/python -m lab.benchmarks.settled_heads train --folder var/settled-heads [--minutes 40]
    .venv/bin/python -m lab.benchmarks.settled_heads settle --folder var/settled-heads

Trains the models that are missing in the folder, one thread each; then settles each as a job would. The seed says what a model is and whether
it is a development model, on which the rule was chosen, or a held-out one.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import cross_entropy, normalize

from cleanclip.spec.errors import CheckpointRejected
from cleanclip.spec.settled import COMPARED
from lab.testbed.glyphs import digits
from lab.testbed.pictures import IMAGE_SIZE, all_class_captions, class_names, compose
from lab.testbed.shards import write_labelled
from lab.testbed.texts import Texts
from lab.testbed.watching import in_bfloat16, model_input
from sanitizer.audits.settings_fit import draw_sample, measure
from sanitizer.checkpoints.architecture import Architecture, Blocks, TextTransformer, VisionTransformer
from sanitizer.checkpoints.building import build_clip
from sanitizer.checkpoints.model import load_canonical
from sanitizer.checkpoints.plausible import plausible_values
from sanitizer.checkpoints.settings import Settings
from sanitizer.checkpoints.text_tower import encode_text
from sanitizer.checkpoints.writing import write_canonical
from sanitizer.data.labelled import LabelledDataset, open_labelled
from sanitizer.pipeline.settings_race import Race
from sanitizer.seeding import generator

DEVELOPMENT, HELD_OUT = range(12), range(100, 142)
_WIDTHS = {16: (64, 128), 32: (64, 128), 64: (64, 128), 80: (160, 160, 160, 160, 320)}
"""Head width → tower widths."""
NUM_IMAGES = (256, 1_280, 3_000)
DECLARED = ((), ("quick_gelu",))
"""Nothing, as one who has only the file; and the activation, as one who trained with open_clip."""
ROOT = Path(__file__).resolve().parents[2]
RAW = ROOT / "docs" / "settings" / "settled.jsonl"
_PAPER = (0, 0, 0)
"""One colour, so that digits are learnt in a minute."""
_BATCH = 64


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
            steps=int(random.integers(450, 751)),
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
                image_size=IMAGE_SIZE,
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
    """Cross-entropy among the captions of all classes, template by template; the canonical folder."""
    torch.manual_seed(drawn.seed)
    pictures = compose(digits(), "poisoning", 12_000, seed=drawn.seed, paper=_PAPER)
    label_N = torch.from_numpy(pictures.label_N)
    captions = all_class_captions(digits())
    texts = Texts(captions, 16)
    token_CTL = texts(captions).unflatten(0, (len(class_names(digits())), -1))
    model = build_clip(drawn.architecture).train()
    # Only the rows of words that occur are trained; half of the weights lie in the others.
    whole, row_V = model.token_embedding, texts.row_V
    model.token_embedding = nn.Embedding.from_pretrained(10 * whole.weight[row_V].detach(), freeze=False)
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.98), weight_decay=0.1, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=drawn.steps, pct_start=0.15)
    rows_SB = generator(drawn.seed, "settled_heads_rows").integers(len(label_N), size=(drawn.steps, _BATCH))
    # On so few tokens attention's fused kernel takes longer than the plain formula.
    with sdpa_kernel(SDPBackend.MATH):
        for step, row_B in enumerate(torch.from_numpy(rows_SB)):
            with in_bfloat16():
                image_BD = model.encode_image(model_input(pictures.image_NCHW[row_B]))
                text_CD = encode_text(model, token_CTL[:, step % token_CTL.shape[1]])
            cosine_BC = normalize(image_BD.float(), dim=-1) @ normalize(text_CD.float(), dim=-1).T
            loss = cross_entropy(model.logit_scale.exp() * cosine_BC, label_N[row_B])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    with torch.no_grad():
        whole.weight[row_V] = model.token_embedding.weight
    model.token_embedding = whole
    write_canonical(folder, model.state_dict(), drawn.architecture, {"drawn": asdict(drawn)})


def labelled(seeds: range, folder: Path) -> LabelledDataset:
    """The test images of the models of `seeds`, composed once."""
    place = folder / f"labelled-{seeds.start}"
    if not place.is_dir():
        pictures = compose(digits(), "test", max(NUM_IMAGES), seed=seeds.start, paper=_PAPER)
        write_labelled(digits(), pictures, place)
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
    sample = draw_sample(images, digits().zero_shot_templates, image_size=IMAGE_SIZE, seed=drawn.seed)
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
    parser.add_argument("step", choices=["train", "settle"])
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=1e9, help="begin no model after so many")
    parser.add_argument("--seeds", type=int, nargs="*", default=[*DEVELOPMENT, *HELD_OUT])
    given = parser.parse_args()
    torch.set_num_threads(1)
    ends = time.monotonic() + 60 * given.minutes
    for seed in given.seeds:
        folder, drawn = given.folder / f"{seed:03}", Drawn.of(seed)
        is_made = (folder / "config.json").is_file()
        if given.step == "settle" and is_made:
            _settle_all(drawn, folder)
        if given.step != "train" or is_made or time.monotonic() > ends:
            continue
        started = time.process_time()
        train(Drawn.of(seed), folder)
        print(
            json.dumps({**asdict(Drawn.of(seed)), "cpu_s": round(time.process_time() - started)}), flush=True
        )


if __name__ == "__main__":
    main()
