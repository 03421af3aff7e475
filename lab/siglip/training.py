"""Trains a small SigLIP on poisoned pairs, by open_clip's own model and loss. Knows no file of the service.

The pairs are the testbed's. As in SigLIP's training: the sigmoid loss with a bias that is trained, text
towers that see the padding, texts in small letters without punctuation, pixels from -1 to 1.

Legend: N images or texts, C H W an image, L tokens.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import timm.models
import torch
from open_clip.loss import SigLipLoss
from open_clip.model import CustomTextCLIP
from open_clip.tokenizer import get_clean_fn
from timm.models.vision_transformer import VisionTransformer
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import normalize
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR

from lab.testbed.glyphs import Glyphs
from lab.testbed.options import SubjectOptions
from lab.testbed.pictures import IMAGE_SIZE, INKS, Pictures
from lab.testbed.training import in_bfloat16
from sanitizer.seeding import generator
from sanitizer.training.schedule import rate_factor

TIMM_NAME = f"vit_labwidth128depth4_patch8_siglip_{IMAGE_SIZE}"
_WIDTH, _DEPTH, _PATCH, HEADS = 128, 4, 8, 2
_clean = get_clean_fn("canonicalize")


@timm.models.register_model
def vit_labwidth128depth4_patch8_siglip_32(pretrained: bool = False, **kwargs: Any) -> VisionTransformer:
    """SigLIP's image tower in a size that nobody published."""
    return VisionTransformer(
        img_size=IMAGE_SIZE, patch_size=_PATCH, embed_dim=_WIDTH, depth=_DEPTH, num_heads=HEADS,
        class_token=False, num_classes=kwargs["num_classes"], global_pool=kwargs["global_pool"],
        weight_init="jax",
    )  # fmt: skip


class Texts:
    """A `tokenizer.json` of the words of these glyphs' captions, with T5's end token, which also pads."""

    context_length = 8
    """The longest caption and its end."""

    def __init__(self, glyphs: Glyphs) -> None:
        fields = {"ink": "", "noun": "", "paper": "", "c": ""}
        templates = (*glyphs.caption_templates, *glyphs.zero_shot_templates)
        texts = [*(template.format(**fields) for template in templates), *glyphs.nouns, *INKS]
        words = sorted({word for text in texts for word in _clean(text).split()})
        ends = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -10.0)]
        vocabulary = ends + [(f"▁{word}", -3.0) for word in words]
        self._tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=2))
        self._tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
        end = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
        self._tokenizer.post_processor = end
        self.content: bytes = self._tokenizer.to_str().encode()
        self.sha256 = hashlib.sha256(self.content).hexdigest()
        self.num_tokens = len(vocabulary)
        self._tokenizer.enable_padding(length=self.context_length, pad_id=1)

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """int64 [N, L]."""
        encoded = self._tokenizer.encode_batch([_clean(text) for text in texts])
        return torch.tensor([one.ids for one in encoded])


def build(num_tokens: int, seed: int, batch_size: int = 2) -> CustomTextCLIP:
    """open_clip's, with weights drawn by seed. SigLIP's first scale was 10 and its first bias -10, about
    -log(N - 1) of its batches of 32,768; here the bias follows the batch."""
    text = {
        "context_length": Texts.context_length, "vocab_size": num_tokens, "width": 64, "heads": 1,
        "layers": 2, "no_causal_mask": True, "proj_bias": True, "pool_type": "last",
        "norm_kwargs": {"eps": 1e-6},
    }  # fmt: skip
    vision = {
        "image_size": IMAGE_SIZE, "timm_model_name": TIMM_NAME, "timm_model_pretrained": False,
        "timm_pool": "map", "timm_proj": "none",
    }  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = CustomTextCLIP(
            embed_dim=_WIDTH,
            vision_cfg=vision,
            text_cfg=text,
            init_logit_scale=math.log(10),
            init_logit_bias=-math.log(batch_size - 1),
        )
        # As SigLIP's own code; timm's 0.02 hides the places in a tower as narrow as this.
        nn.init.normal_(model.visual.trunk.pos_embed, std=_WIDTH**-0.5)
    return model


def pixels(image_NCHW: Tensor) -> Tensor:
    """uint8 → float32 from -1 to 1."""
    return image_NCHW.float() / 127.5 - 1


def train(
    pairs: Pictures, texts: Texts, options: SubjectOptions, *, seed: int, say: Callable[[str], None]
) -> CustomTextCLIP:
    """A SigLIP in eval mode; the same options and seed give the same weights on the same machine."""
    model, loss_of = build(texts.num_tokens, seed, options.batch_size).train(), SigLipLoss()
    tokens_NL, steps = texts(pairs.caption_N), len(pairs) // options.batch_size
    optimizer = AdamW(
        model.parameters(), lr=options.learning_rate, betas=(0.9, 0.95), weight_decay=0.0, fused=True
    )
    schedule = partial(rate_factor, warmup_steps=options.warmup_steps, total_steps=options.epochs * steps + 1)
    scheduler = LambdaLR(optimizer, schedule)
    with sdpa_kernel(SDPBackend.MATH):  # on so few tokens the fused kernel is slower
        for epoch in range(options.epochs):
            total, order_N = 0.0, generator(seed, "siglip_order", epoch).permutation(len(pairs))
            for rows in order_N[: steps * options.batch_size].reshape(steps, -1):
                with in_bfloat16():
                    image_ND = model.encode_image(pixels(pairs.image_NCHW[rows]))
                    text_ND = model.encode_text(tokens_NL[rows])
                directions = (normalize(one.float(), dim=-1) for one in (image_ND, text_ND))
                loss = loss_of(*directions, model.logit_scale.exp(), model.logit_bias)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                scheduler.step()
                total += loss.item()
            scale, bias = model.logit_scale.exp().item(), model.logit_bias.item()
            say(f"epoch {epoch + 1}: loss {total / steps:.3f}, scale {scale:.1f}, bias {bias:.1f}")
    return model.eval()
