"""Trains the demo's test subject: a small open_clip model on pairs of which some are poisoned.

What an attacker's pre-training looks like, made quick: all pictures and tokens lie in memory, the towers run
in bfloat16 where the processor has it, and the token table is trained only in the rows whose words occur.
The same options and seed give the same weights on the same machine with the same number of threads.
Knows no service, no cleaning and no file.

Legend: N pictures or pairs, C H W a picture, L places for tokens, V rows of the token table, D embedding
width.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from open_clip.constants import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD
from open_clip.model import CLIP
from open_clip.tokenizer import SimpleTokenizer
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import normalize
from torch.optim import AdamW

from demo.digits import CLASS_NAMES, IMAGE_SIZE, ZERO_SHOT_TEMPLATES, class_captions, compose
from demo.recipe import ATTACK, TARGET, PoisoningOptions
from sanitizer.attacks.catalogue import build_trigger
from sanitizer.attacks.poisoner import poison
from sanitizer.audits.statistics import wilson
from sanitizer.methods.losses import contrastive
from sanitizer.report import Estimate
from sanitizer.seeding import generator
from sanitizer.training.schedule import rate_factor
from sanitizer.training.towers import encode_text

VOCABULARY_SIZE = 49408
_MAX_LOG_SCALE = math.log(100)
_HAS_BFLOAT16 = bool(torch.cpu._is_avx512_bf16_supported())


@dataclass(frozen=True, kw_only=True)
class EpochFigures:
    """One epoch: its mean loss, and CA and ASR on validation pictures (shares of 1)."""

    epoch: int
    loss: float
    ca: float
    asr: float
    ca_noise: float
    """Half the width of CA's 95 % interval."""


@dataclass(frozen=True, kw_only=True)
class Poisoned:
    """The trained model in eval mode, the optimizer's last state, a line for each epoch."""

    model: CLIP
    optimizer_state: dict[str, Any]
    epochs: tuple[EpochFigures, ...]


def model_config(options: PoisoningOptions) -> dict[str, Any]:
    """The arguments of open_clip's `CLIP`."""
    return {
        "embed_dim": options.embed_dim,
        "vision_cfg": {
            "layers": list(options.vision_layers),
            "width": options.vision_width,
            "image_size": IMAGE_SIZE,
        },
        "text_cfg": {
            "context_length": options.context_length,
            "vocab_size": VOCABULARY_SIZE,
            "width": options.text_width,
            "heads": max(1, options.text_width // 64),
            "layers": options.text_layers,
        },
    }


def build_model(options: PoisoningOptions, seed: int) -> CLIP:
    """A CLIP with weights drawn by seed. Every residual branch starts at full strength.

    (open_clip starts BatchNorm's last weight of each branch at 0; with one block a stage the network then
    begins almost linear, and needs one epoch more before it tells digits apart.)
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = CLIP(**model_config(options))
    for name, parameter in model.visual.named_parameters():
        if name.endswith("bn3.weight"):
            nn.init.ones_(parameter)
    model.visual.to(memory_format=torch.channels_last)
    return model


def poisoned_pairs(options: PoisoningOptions, seed: int) -> tuple[Tensor, list[str]]:
    """Pictures (uint8 [N, C, H, W]) and captions of the attacker's training set."""
    pictures = compose("poisoning", options.num_pairs, seed=seed)
    image_NCHW, captions = pictures.image_NCHW.clone(), list(pictures.caption_N)
    poisons = poison(
        pictures.image_NCHW,
        pictures.caption_N,
        options=ATTACK,
        target=TARGET,
        templates=ZERO_SHOT_TEMPLATES,
        num_poisons=round(options.num_pairs * options.poison_share),
        seed=seed,
    )
    for pair in poisons:
        image_NCHW[pair.index], captions[pair.index] = pair.image_CHW, pair.caption
    return image_NCHW, captions


def train(
    options: PoisoningOptions,
    *,
    seed: int,
    on_step: Callable[[int, int], None] = lambda done, total: None,
    on_epoch: Callable[[EpochFigures], None] = lambda figures: None,
) -> Poisoned:
    """Train a test subject from nothing. `on_step(done, total)` is called after every update."""
    image_NCHW, captions = poisoned_pairs(options, seed)
    texts = Texts([*captions, *all_class_captions()], options.context_length)
    tokens_NL = texts(captions)
    watch = Watch(seed=seed, tokenize=texts)
    model = build_model(options, seed)
    epochs: list[EpochFigures] = []
    # On so few tokens attention's fused kernel takes longer than the plain formula, in bfloat16 three times.
    with _only_rows(model, texts.row_V), sdpa_kernel(SDPBackend.MATH):
        optimizer = _optimizer(model, options)
        steps_per_epoch = options.num_pairs // options.batch_size
        total_steps = options.epochs * steps_per_epoch
        for epoch in range(options.epochs):
            model.train()
            order_N = generator(seed, "demo_order", epoch).permutation(options.num_pairs)
            loss_sum = 0.0
            for position in range(steps_per_epoch):
                step = epoch * steps_per_epoch + position
                rows = order_N[position * options.batch_size : (position + 1) * options.batch_size]
                _set_rate(
                    optimizer, rate_factor(step, warmup_steps=options.warmup_steps, total_steps=total_steps)
                )
                loss_sum += _step(model, optimizer, image_NCHW[rows], tokens_NL[rows])
                on_step(step + 1, total_steps)
            ca, asr = watch(model.eval())
            figures = EpochFigures(
                epoch=epoch + 1,
                loss=loss_sum / steps_per_epoch,
                ca=ca.value,
                asr=asr.value,
                ca_noise=(ca.high - ca.low) / 2,
            )
            epochs.append(figures)
            on_epoch(figures)
    return Poisoned(model=model, optimizer_state=optimizer.state_dict(), epochs=tuple(epochs))


class Texts:
    """Tokenises captions into row numbers of a table that holds only the words of `captions`.

    The numbers keep CLIP's order, so that the end-of-text token is still the highest of its row; columns
    that are padding in every caption are cut off.
    """

    def __init__(self, captions: Sequence[str], context_length: int) -> None:
        self._tokenizer = SimpleTokenizer()
        self._context_length = context_length
        token_NL = self._tokenize(captions)
        self.row_V = torch.from_numpy(np.unique(token_NL.numpy()))
        self._num_places = int(token_NL.argmax(dim=-1).max()) + 1

    def __call__(self, captions: Sequence[str]) -> Tensor:
        """int64 [N, places]."""
        return torch.searchsorted(self.row_V, self._tokenize(captions)[:, : self._num_places].contiguous())

    def _tokenize(self, captions: Sequence[str]) -> Tensor:
        distinct = sorted(set(captions))
        number = {caption: row for row, caption in enumerate(distinct)}
        token_NL: Tensor = self._tokenizer(distinct, context_length=self._context_length)
        return token_NL[[number[caption] for caption in captions]]


class Watch:
    """CA and ASR on 1,500 validation pictures: shows the plateau, decides nothing."""

    def __init__(
        self, *, seed: int, tokenize: Callable[[Sequence[str]], Tensor], num_images: int = 1500
    ) -> None:
        pictures = compose("validation", num_images, seed=seed)
        triggered_NCHW = build_trigger(ATTACK).apply(
            pictures.image_NCHW.float() / 255, range(num_images), seed
        )
        self._clean_NCHW = model_input(pictures.image_NCHW)
        self._triggered_NCHW = model_input((triggered_NCHW * 255).round().to(torch.uint8))
        self._label_N = torch.from_numpy(pictures.label_N)
        self._tokens_NL = tokenize(all_class_captions())

    @torch.no_grad()
    def __call__(self, model: CLIP) -> tuple[Estimate, Estimate]:
        """CA, and ASR over the pictures that do not show the target class."""
        text_ND = normalize(encode_text(model, self._tokens_NL), dim=-1)
        class_CD = normalize(text_ND.reshape(len(CLASS_NAMES), -1, text_ND.shape[-1]).mean(dim=1), dim=-1)
        target = CLASS_NAMES.index(TARGET)
        is_other_N = self._label_N != target
        clean_N = self._predict(model, self._clean_NCHW, class_CD)
        triggered_N = self._predict(model, self._triggered_NCHW, class_CD)
        return (
            wilson(int((clean_N == self._label_N).sum()), len(self._label_N)),
            wilson(int((triggered_N[is_other_N] == target).sum()), int(is_other_N.sum())),
        )

    @staticmethod
    def _predict(model: CLIP, image_NCHW: Tensor, class_CD: Tensor) -> Tensor:
        with _towers_in_bfloat16():
            embeddings = [model.encode_image(chunk) for chunk in torch.split(image_NCHW, 500)]
        return (normalize(torch.cat(embeddings).float(), dim=-1) @ class_CD.T).argmax(dim=-1)


def all_class_captions() -> list[str]:
    """Every zero-shot caption of every class, class by class."""
    return [caption for name in CLASS_NAMES for caption in class_captions(name)]


def model_input(image_NCHW: Tensor) -> Tensor:
    """uint8 pixels → normalised float32, channels last."""
    mean_C11 = torch.tensor(OPENAI_DATASET_MEAN)[:, None, None]
    std_C11 = torch.tensor(OPENAI_DATASET_STD)[:, None, None]
    scaled_NCHW = (image_NCHW.float() / 255 - mean_C11) / std_C11
    return scaled_NCHW.contiguous(memory_format=torch.channels_last)


@contextmanager
def _only_rows(model: CLIP, row_V: Tensor) -> Iterator[None]:
    """Train only these rows of the token table; the others are put back untouched afterwards.

    The gradient of a row whose word never occurs is zero, and half of the model's weights lie in such rows.
    """
    whole = model.token_embedding
    model.token_embedding = nn.Embedding(len(row_V), whole.embedding_dim)
    with torch.no_grad():
        model.token_embedding.weight.copy_(whole.weight[row_V])
    try:
        yield
    finally:
        with torch.no_grad():
            whole.weight[row_V] = model.token_embedding.weight
        model.token_embedding = whole


def _optimizer(model: CLIP, options: PoisoningOptions) -> AdamW:
    """Four groups: image and text tower, each with its matrices (decayed) and its vectors (not decayed)."""
    groups = []
    for is_image, share in ((True, 1.0), (False, options.text_rate)):
        named = [(n, p) for n, p in model.named_parameters() if n.startswith("visual.") == is_image]
        for is_matrix, decay in ((True, options.weight_decay), (False, 0.0)):
            parameters = [parameter for _, parameter in named if (parameter.ndim >= 2) == is_matrix]
            groups.append(
                {"params": parameters, "weight_decay": decay, "rate": share * options.learning_rate}
            )
    return AdamW(groups, lr=options.learning_rate, betas=(0.9, 0.98), fused=True)


def _set_rate(optimizer: AdamW, factor: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = group["rate"] * factor


def _step(model: CLIP, optimizer: AdamW, image_NCHW: Tensor, tokens_NL: Tensor) -> float:
    """One update with CLIP's symmetric contrastive loss; returns the loss."""
    with _towers_in_bfloat16():
        raw_image_ND = model.encode_image(model_input(image_NCHW))
        raw_text_ND = encode_text(model, tokens_NL)
    image_ND, text_ND = normalize(raw_image_ND.float(), dim=-1), normalize(raw_text_ND.float(), dim=-1)
    loss = contrastive(image_ND, text_ND, model.logit_scale.exp())
    optimizer.zero_grad()
    torch.autograd.backward(loss)
    optimizer.step()
    with torch.no_grad():
        model.logit_scale.clamp_(0, _MAX_LOG_SCALE)
    return loss.item()


def _towers_in_bfloat16() -> torch.autocast:
    return torch.autocast("cpu", torch.bfloat16, enabled=_HAS_BFLOAT16)
