"""Image towers that timm builds by a name, as open_clip joins them to a CLIP. Free of torch.

From the model configurations and the list of weights of open_clip 3.3.0 (MIT) and from timm 1.0: ConvNeXt,
EVA, MobileCLIP, ViTamin and Perception Encoder, all that open_clip has. The tests hold every line to what
both libraries build. ViTamin-XL-384 is of 384 px here; open_clip's own configuration of it says 256. SigLIP's
towers are read by their shapes instead: see the library's checkpoints.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

Interpolation = Literal["bicubic", "bilinear"]


@dataclass(frozen=True, kw_only=True)
class PublishedTower:
    """One configuration. `pool` and `projection` are open_clip's words; both are empty where timm decides."""

    entry: str
    timm_name: str
    pool: str
    projection: str
    image_size: int
    embed_dim: int
    text: tuple[int, int, int] | None
    """Layers, width and context length of its text tower. None: nobody published one."""
    text_heads: int
    heads: int
    """0: attention does not have one number of heads throughout, or there is none."""
    gflop: float
    """Of one image of `image_size` pixels through the tower."""
    constants: Literal["openai", "half", "zero"]
    interpolation: Interpolation
    resize_mode: Literal["shortest", "squash"]
    text_causal: bool

    @property
    def takes_any_size(self) -> bool:
        """Whether it has no positions, so that no tensor's shape tells the images' side."""
        return self.least_side > 0

    @property
    def least_side(self) -> int:
        """Pixels that its strides make one cell of; 0 where its tensors tell the side."""
        return next((side for start, side in _STRIDES.items() if self.timm_name.startswith(start)), 0)


_STRIDES = {
    "convnext_": 32,
    "test_convnext": 32,
    "fastvit_mci3": 64,
    "fastvit_mci4": 64,
    "fastvit_": 32,
    "vitamin_xlarge": 16,
}
"""Of the towers without positions, by how their names begin."""


def entries(timm_name: str) -> tuple[PublishedTower, ...]:
    """Those with this trunk; none for one that is not read."""
    return tuple(one for one in published_towers() if one.timm_name == timm_name)


def entry_of(model: Mapping[str, Any]) -> PublishedTower | None:
    """The entry with both towers of `model` (section "model_cfg"): that with this side, else the first."""
    vision, text = model["vision_cfg"], model["text_cfg"]
    shape = (text["layers"], text["width"], text["context_length"])
    found = [
        one
        for one in entries(str(vision["timm_model_name"]))
        if (one.projection, one.embed_dim, one.text) == (vision["timm_proj"] or "", model["embed_dim"], shape)
    ]
    return next((one for one in found if one.image_size == vision["image_size"]), found[0] if found else None)


def gflop_of(vision: Mapping[str, Any]) -> float | None:
    """Of one image, by open_clip's section "vision_cfg"; None where the tower is no line of the table."""
    found = entries(str(vision.get("timm_model_name")))
    if not found:
        return None
    return found[0].gflop * (int(vision["image_size"]) / found[0].image_size) ** 2


@cache
def published_towers() -> tuple[PublishedTower, ...]:
    """All, in the table's order."""
    return tuple(_read(line) for line in _TABLE.strip().splitlines())


def _read(line: str) -> PublishedTower:
    entry, rest = line.split(": ")
    tower, measured, beside, *others = rest.split(" | ")
    name, pool, projection, side, embed_dim = tower.split()
    heads, gflop = measured.split()
    layers, width, context, text_heads = (0, 0, 0, 0) if beside == "-" else map(int, beside.split())
    flags = others[0].split() if others else []
    return PublishedTower(
        entry=entry,
        timm_name=name,
        pool="" if pool == "-" else pool,
        projection="" if projection == "-" else projection,
        image_size=int(side),
        embed_dim=int(embed_dim),
        text=(layers, width, context) if layers else None,
        text_heads=text_heads,
        heads=int(heads),
        gflop=float(gflop),
        constants="half" if "half" in flags else "zero" if "zero" in flags else "openai",
        interpolation="bilinear" if "bilinear" in flags else "bicubic",
        resize_mode="squash" if "squash" in flags else "shortest",
        text_causal="bidirectional" not in flags,
    )


_TABLE = """
EVA01-g-14: eva_giant_patch14_224 token - 224 1024 | 16 534.1 | 12 768 77 12
EVA01-g-14-plus: eva_giant_patch14_224 token - 224 1024 | 16 534.1 | 24 1024 77 16
EVA02-B-16: eva02_base_patch16_clip_224 token - 224 512 | 12 35.1 | 12 512 77 8
EVA02-E-14: eva02_enormous_patch14_clip_224 token - 224 1024 | 16 2264.3 | 24 1024 77 16
EVA02-E-14-plus: eva02_enormous_patch14_clip_224 token - 224 1024 | 16 2264.3 | 32 1280 77 20
EVA02-L-14: eva02_large_patch14_clip_224 token - 224 768 | 16 162.0 | 12 768 77 12
EVA02-L-14-336: eva02_large_patch14_clip_336 token - 336 768 | 16 381.9 | 12 768 77 12
MobileCLIP-B: vit_base_mci_224 token - 224 512 | 12 35.4 | 12 512 77 8 | zero bilinear
MobileCLIP-S1: fastvit_mci1 avg - 256 512 | 0 9.3 | 12 512 77 8 | zero bilinear bidirectional
MobileCLIP-S2: fastvit_mci2 avg - 256 512 | 0 15.7 | 12 512 77 8 | zero bilinear bidirectional
MobileCLIP2-B: vit_base_mci_224 token - 224 512 | 12 35.4 | 12 512 77 8 | zero bilinear
MobileCLIP2-L-14: vit_large_patch14_clip_224 token - 224 768 | 16 162.0 | 12 768 77 12 | bidirectional
MobileCLIP2-S0: fastvit_mci0 avg - 256 512 | 0 4.8 | 12 512 77 8 | zero bilinear bidirectional
MobileCLIP2-S2: fastvit_mci2 avg - 256 512 | 0 15.7 | 12 512 77 8 | zero bilinear bidirectional
MobileCLIP2-S3: fastvit_mci3 avg - 256 768 | 0 29.6 | 12 768 77 12 | bilinear bidirectional
MobileCLIP2-S4: fastvit_mci4 avg - 256 768 | 0 55.5 | 12 768 77 12 | bilinear bidirectional
PE-Core-B-16: vit_pe_core_base_patch16_224 map - 224 1024 | 12 35.6 | 24 1024 32 16 | half bilinear squash
PE-Core-L-14-336: vit_pe_core_large_patch14_336 map - 336 1024 | 16 384.4 | 24 1024 32 16 | half bilinear squash
PE-Core-S-16-384: vit_pe_core_small_patch16_384 map - 384 512 | 6 31.3 | 12 512 32 8 | half bilinear squash
PE-Core-T-16-384: vit_pe_core_tiny_patch16_384 map - 384 512 | 3 9.5 | 12 512 32 8 | half bilinear squash
PE-Core-bigG-14-448: vit_pe_core_gigantic_patch14_448 map - 448 1280 | 16 4118.6 | 24 1280 72 20 | half bilinear squash
ViTamin-B: vitamin_base_224 - linear 224 512 | 12 45.2 | 12 512 77 8
ViTamin-B-LTT: vitamin_base_224 - linear 224 768 | 12 45.2 | 12 768 77 12
ViTamin-L: vitamin_large_224 - linear 224 768 | 16 149.8 | 12 768 77 12
ViTamin-L-256: vitamin_large_256 - linear 256 768 | 16 197.7 | 12 768 77 12
ViTamin-L-336: vitamin_large_336 - linear 336 768 | 16 350.9 | 12 768 77 12
ViTamin-L-384: vitamin_large_384 - linear 384 768 | 16 468.2 | 12 768 77 12
ViTamin-L2: vitamin_large2_224 - linear 224 1024 | 16 149.8 | 24 1024 77 16
ViTamin-L2-256: vitamin_large2_256 - linear 256 1024 | 16 197.7 | 24 1024 77 16
ViTamin-L2-336: vitamin_large2_336 - linear 336 1024 | 16 350.9 | 24 1024 77 16
ViTamin-L2-384: vitamin_large2_384 - linear 384 1024 | 16 468.2 | 24 1024 77 16
ViTamin-S: vitamin_small_224 - linear 224 384 | 6 11.8 | 12 384 77 6
ViTamin-S-LTT: vitamin_small_224 - linear 224 768 | 6 11.8 | 12 768 77 12
ViTamin-XL-256: vitamin_xlarge_256 - linear 256 1152 | 16 259.9 | 27 1152 77 16
ViTamin-XL-336: vitamin_xlarge_336 - linear 336 1152 | 16 459.7 | 27 1152 77 16
ViTamin-XL-384: vitamin_xlarge_384 - linear 384 1152 | 16 611.9 | 27 1152 77 16
convnext_base: convnext_base - linear 224 512 | 0 30.7 | 12 512 77 8
convnext_base_w: convnext_base - linear 256 640 | 0 40.1 | 12 640 77 10
convnext_base_w_320: convnext_base - linear 320 640 | 0 62.7 | 12 640 77 10
convnext_large: convnext_large - linear 224 768 | 0 68.7 | 12 768 77 12
convnext_large_d: convnext_large - mlp 256 768 | 0 89.8 | 16 768 77 12
convnext_large_d_320: convnext_large - mlp 320 768 | 0 140.3 | 16 768 77 12
convnext_small: convnext_small - linear 224 512 | 0 17.4 | 12 512 77 8
convnext_tiny: convnext_tiny - linear 224 1024 | 0 8.9 | 12 512 77 8
convnext_xlarge: convnext_xlarge - linear 256 1024 | 0 159.1 | 20 1024 77 16
convnext_xxlarge: convnext_xxlarge - linear 256 1024 | 0 395.9 | 24 1024 77 16
convnext_xxlarge_320: convnext_xxlarge - linear 320 1024 | 0 618.6 | 24 1024 77 16
test_convnext: test_convnext - linear 64 64 | 0 0.04 | -
eva02_tiny_patch14_224: eva02_tiny_patch14_224 token - 224 64 | 3 3.4 | -
fastvit_t8: fastvit_t8 avg - 64 64 | 0 0.1 | -
"""  # noqa: E501
"""Entry: timm's name, pool, projection, side of the image, embedding width | heads, GFLOP | layers, width,
context length and heads of the text tower | what its weights have other than OpenAI's constants, bicubic
interpolation, "shortest" and a causal text tower. The last three are timm's smallest of their kinds, of which
nobody published a CLIP."""
