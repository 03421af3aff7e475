"""CA and ASR on validation images while a subject trains: shows the plateau, decides nothing.

Legend: N images, C H W an image (C classes in class_CD), L places for tokens, D embedding width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from open_clip.constants import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD
from open_clip.model import CLIP
from torch import Tensor
from torch.nn.functional import normalize

from cleanclip.spec.report import Estimate
from lab.testbed.changing import attacked
from lab.testbed.glyphs import Glyphs
from lab.testbed.options import Ready
from lab.testbed.pictures import TURQUOISE, all_class_captions, class_names, compose
from sanitizer.audits.statistics import wilson
from sanitizer.checkpoints.text_tower import encode_text

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
            on_paper=lambda: compose(glyphs, "validation", num_images, seed=seed, paper=TURQUOISE).image_NCHW,
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
