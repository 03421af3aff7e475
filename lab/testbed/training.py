"""Trains a test subject: a small open_clip model on pairs of which some are poisoned.

What an attacker's pre-training looks like, made quick: all images and tokens lie in memory, the towers run
in bfloat16 where the processor has it, and the token table is trained only in the rows whose words occur.
The same options and seed give the same weights on the same machine with the same number of threads. CA and
ASR on validation images meanwhile show the plateau and decide nothing.

Legend: N images or pairs, C H W an image (C classes in class_CD), L tokens, V rows of the table, D width.
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

from cleanclip.vocabulary.measures import Estimate
from lab.testbed import glyphs as glyph_sets
from lab.testbed.changing import attacked
from lab.testbed.glyphs import Glyphs
from lab.testbed.options import Ready, SubjectOptions
from lab.testbed.pictures import IMAGE_SIZE, Pictures, all_class_captions, class_names, compose
from lab.testbed.poisoned_pairs import PoisonedSet, poisoned_set, with_further
from sanitizer.audits.statistics import wilson
from sanitizer.augment.captions import augment_caption
from sanitizer.augment.images import draw_operations
from sanitizer.augment.tensor_images import augment_batch, encode
from sanitizer.checkpoints.text_tower import encode_text
from sanitizer.methods.cleanclip import Embeddings, objective
from sanitizer.seeding import generator
from sanitizer.training.schedule import rate_factor

_HAS_BFLOAT16 = bool(torch.cpu._is_avx512_bf16_supported())


class Watch:
    """CA and ASR on 1,500 validation images: shows the plateau, decides nothing."""

    def __init__(
        self,
        glyphs: Glyphs,
        attack: Ready | None,
        target: str,
        *,
        seed: int,
        tokenize: Callable[[Sequence[str]], Tensor],
        num_images: int = 1500,
    ) -> None:
        pictures = compose(glyphs, "validation", num_images, seed=seed)
        self._clean_NCHW = model_input(pictures.image_NCHW)
        triggered_NCHW = attacked(
            pictures.image_NCHW,
            attack,
            seed=seed,
            on_paper=lambda rgb: compose(glyphs, "validation", num_images, seed=seed, paper=rgb).image_NCHW,
        )
        self._triggered_NCHW = model_input(triggered_NCHW)
        self._label_N = torch.from_numpy(pictures.label_N)
        self._tokens_NL = tokenize(all_class_captions(glyphs))
        self._num_classes = len(class_names(glyphs))
        self._target = class_names(glyphs).index(target)

    @torch.no_grad()
    def __call__(self, model: CLIP) -> tuple[Estimate, Estimate]:
        """CA, and ASR over the images that do not show the target class."""
        text_ND = normalize(encode_text(model, self._tokens_NL), dim=-1)
        class_CD = normalize(text_ND.reshape(self._num_classes, -1, text_ND.shape[-1]).mean(dim=1), dim=-1)
        target = self._target
        is_other_N = self._label_N != target
        clean_N = self._predict(model, self._clean_NCHW, class_CD)
        triggered_N = self._predict(model, self._triggered_NCHW, class_CD)
        return (
            wilson(int((clean_N == self._label_N).sum()), len(self._label_N)),
            wilson(int((triggered_N[is_other_N] == target).sum()), int(is_other_N.sum())),
        )

    @staticmethod
    def _predict(model: CLIP, image_NCHW: Tensor, class_CD: Tensor) -> Tensor:
        with in_bfloat16():
            embeddings = [model.encode_image(chunk) for chunk in torch.split(image_NCHW, 500)]
        return (normalize(torch.cat(embeddings).float(), dim=-1) @ class_CD.T).argmax(dim=-1)


def model_input(image_NCHW: Tensor) -> Tensor:
    """uint8 pixels → normalised float32, channels last."""
    mean_C11 = torch.tensor(OPENAI_DATASET_MEAN)[:, None, None]
    std_C11 = torch.tensor(OPENAI_DATASET_STD)[:, None, None]
    scaled_NCHW = (image_NCHW.float() / 255 - mean_C11) / std_C11
    return scaled_NCHW.contiguous(memory_format=torch.channels_last)


def in_bfloat16() -> torch.autocast:
    """Towers' arithmetic, where the processor has it."""
    return torch.autocast("cpu", torch.bfloat16, enabled=_HAS_BFLOAT16)


_MAX_LOG_SCALE = math.log(100)
_EDA_ALPHA = 0.1
VOCABULARY_SIZE = 49408
_PATCH_SIZE = 8


@dataclass(frozen=True, kw_only=True)
class EpochFigures:
    """One epoch: its mean loss, and CA and ASR on validation images (shares of 1)."""

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
    num_poisons: int
    """How many of the pairs carried the attack."""


def train(
    options: SubjectOptions,
    attack: Ready | None,
    *,
    seed: int,
    on_step: Callable[[int, int], None] = lambda done, total: None,
    on_epoch: Callable[[EpochFigures], None] = lambda figures: None,
    poison_too: Callable[[PoisonedSet], PoisonedSet] = lambda poisoned: poisoned,
) -> Poisoned:
    """Train a test subject from nothing. `attack` is that of the options (an optimised pattern as trigger).

    `on_step(done, total)` is called after every update. `poison_too` changes the training set further.
    Raises GlyphsMissing.
    """
    glyphs = glyph_sets.load(options.glyphs)
    num_poisons = round(options.num_pairs * options.poison_share)
    poisoned = poisoned_set(
        glyphs,
        "poisoning",
        options.num_pairs,
        attack=attack,
        target=options.target,
        num_poisons=num_poisons,
        seed=seed,
    )
    poisoned = with_further(poisoned, glyphs, options.further or (), num_poisons=num_poisons, seed=seed)
    poisoned = poison_too(poisoned)
    pairs = poisoned.pictures
    views = Views(pairs, options, seed) if options.ssl_weight else None
    captions = [*pairs.caption_N, *all_class_captions(glyphs), *(views.captions() if views else ())]
    texts = Texts(captions, options.context_length)
    tokens_NL = texts(pairs.caption_N)
    watch = Watch(glyphs, attack, options.target, seed=seed, tokenize=texts)
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
                images, tokens = [pairs.image_NCHW[rows]], [tokens_NL[rows]]
                if views is not None:
                    images.append(views.images(epoch, rows.tolist()))
                    tokens.append(texts(views.captions_of(epoch, rows.tolist())))
                loss_sum += _step(model, optimizer, images, tokens, ssl_weight=options.ssl_weight)
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
    return Poisoned(
        model=model,
        optimizer_state=optimizer.state_dict(),
        epochs=tuple(epochs),
        num_poisons=len(poisoned.rows),
    )


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


def _optimizer(model: CLIP, options: SubjectOptions) -> AdamW:
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


def _step(
    model: CLIP,
    optimizer: AdamW,
    images: list[Tensor],
    tokens: list[Tensor],
    *,
    ssl_weight: float,
) -> float:
    """One update; returns the loss: CLIP's symmetric one and, given views, the self-supervised one."""
    num_pairs = len(tokens[0])
    with in_bfloat16():
        raw_image_ND = model.encode_image(model_input(torch.cat(images)))
        raw_text_ND = encode_text(model, torch.cat(tokens))
    image_ND, text_ND = normalize(raw_image_ND.float(), dim=-1), normalize(raw_text_ND.float(), dim=-1)
    embeddings = Embeddings(
        image_ND[:num_pairs],
        text_ND[:num_pairs],
        image_ND[num_pairs:] if ssl_weight else None,
        text_ND[num_pairs:] if ssl_weight else None,
    )
    loss = objective(embeddings, model.logit_scale.exp(), lambda1=1.0, lambda2=ssl_weight).total
    optimizer.zero_grad()
    torch.autograd.backward(loss)
    optimizer.step()
    with torch.no_grad():
        model.logit_scale.clamp_(0, _MAX_LOG_SCALE)
    return loss.item()


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


class Views:
    """Augmented views for a pre-training with self-supervision: CleanCLIP's own, drawn again in every epoch.

    By epoch and row of the pairs. All captions are drawn at once, so that their words are known.
    """

    def __init__(self, pairs: Pictures, options: SubjectOptions, seed: int) -> None:
        self._image_NCHW, self._seed = pairs.image_NCHW, seed
        self._captions = [
            [
                augment_caption(caption, _EDA_ALPHA, generator(seed, "caption_view", epoch, row))
                for row, caption in enumerate(pairs.caption_N)
            ]
            for epoch in range(options.epochs)
        ]

    def captions(self) -> list[str]:
        """All that will come, each once."""
        return sorted({caption for epoch in self._captions for caption in epoch})

    def captions_of(self, epoch: int, rows: Sequence[int]) -> list[str]:
        """The views of these rows' captions."""
        return [self._captions[epoch][row] for row in rows]

    def images(self, epoch: int, rows: list[int]) -> Tensor:
        """The views of these rows' images, uint8 [N, C, H, W]."""
        drawn = [draw_operations(generator(self._seed, "image_view", epoch, row)) for row in rows]
        return augment_batch(self._image_NCHW[rows], encode(drawn))


def model_config(options: SubjectOptions) -> dict[str, Any]:
    """The arguments of open_clip's `CLIP`."""
    vision: dict[str, Any] = {"image_size": IMAGE_SIZE}
    if options.tower == "resnet":
        vision |= {"layers": list(options.vision_layers), "width": options.vision_width}
    else:
        width = 8 * options.vision_width
        vision |= {
            "layers": sum(options.vision_layers),
            "width": width,
            "head_width": 32,
            "patch_size": _PATCH_SIZE,
        }
    return {
        "embed_dim": options.embed_dim,
        "vision_cfg": vision,
        "text_cfg": {
            "context_length": options.context_length,
            "vocab_size": VOCABULARY_SIZE,
            "width": options.text_width,
            "heads": max(1, options.text_width // 64),
            "layers": options.text_layers,
        },
    }


def build_model(options: SubjectOptions, seed: int) -> CLIP:
    """A CLIP with weights drawn by seed. Every residual branch of a ResNet starts at full strength.

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
