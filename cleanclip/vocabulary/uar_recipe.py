"""UAR's recipe: its options, their bounds, and the stages of its run. Free of torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Gt, Interval, Le

from cleanclip.vocabulary.bounds import NUMBER, STRICT, Share
from cleanclip.vocabulary.finetuning import NAMED, FinetuningOptions


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A part of a run with a schedule of its own: warm-up and cosine start again in it."""

    first_epoch: int
    num_epochs: int
    learning_rate: float
    live_share: float
    bank_share: float
    edit_share: float
    inversion_steps: int


_Side = Annotated[float, Gt(0), Le(1), NUMBER]
_Count = Annotated[int, Interval(ge=0, le=64), NUMBER]


@dataclass(frozen=True, kw_only=True)
class UARRecipe(FinetuningOptions):
    """UAR, universal adversarial repair: a triggered image must get the embedding of its clean original.

    L = L_CLIP(f(x'), T0) + consistency_weight * mean(1 - cos(f(x'), f0(x))). x' is the batch, part of it with
    patterns that many images share: live ones, which climb this loss, and those of a bank, which are inverted
    on the model. f0 and T0 are the input model, on clean images and captions. It trains the image tower
    only and needs no trigger and no label. A method of this project, run on small models only: the default
    learning_rate is a guess for full-size models.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT | NAMED

    method: Literal["uar"] = "uar"
    version: Literal[1] = 1
    trained_on: Literal["pairs", "images_of_pairs", "labelled_images"] = "pairs"
    """Without captions L_CLIP is left out. The labels of labelled images are not read."""
    consistency_weight: Annotated[float, Gt(0), Le(1000), NUMBER] = 5.0
    epochs: Annotated[int, Interval(ge=1, le=100), NUMBER] = 5
    strong_epochs: Annotated[int, Interval(ge=0, le=100), NUMBER] = 2
    """Of epochs; the others are the weak stage. Each stage has its own warm-up and cosine."""
    learning_rate: Annotated[float, Interval(gt=0, le=1), NUMBER] = 2e-5
    weak_learning_rate: Annotated[float, Gt(0), Le(1), NUMBER] | None = None
    """Of the weak stage. None: learning_rate."""
    warmup_steps: Annotated[int, Interval(ge=0, le=100_000), NUMBER] = 50
    strong_live_share: Share = 0.15
    """Of each batch: images that carry a live pattern."""
    strong_bank_share: Share = 0.30
    weak_live_share: Share = 0.12
    weak_bank_share: Share = 0.20
    strong_edit_share: Share = 0.0
    """Of each batch: images without a pattern that carry an edit, such as a tint, a frame or a wave."""
    weak_edit_share: Share = 0.0
    edit_strength: Annotated[float, Gt(0), Le(1), NUMBER] = 1.0
    """How far edits go, as a share of the ranges that docs/uar/method.md names."""
    live_patches: _Count = 3
    live_blends: _Count = 1
    live_warps: _Count = 0
    live_colours: _Count = 0
    live_edits: _Count = 0
    live_step: Annotated[float, Gt(0), Le(1), NUMBER] = 0.1
    """Of a pattern's range, once per update, along the sign of its gradient."""
    live_updates: Annotated[int, Interval(ge=1, le=100_000), NUMBER] = 20
    """After so many a live pattern goes to the bank and another is drawn."""
    min_patch_size: _Side = 0.125
    """Side of a live patch by the image's side, drawn between this and max_patch_size."""
    max_patch_size: _Side = 0.3125
    blend_alpha: _Side = 0.12
    """The share of a live blend in each pixel."""
    bank_size: Annotated[int, Interval(ge=0, le=1024), NUMBER] = 64
    """The newest live patterns fill what the inverted ones leave; those always stay."""
    inverted_patches: _Count = 8
    inverted_fixed_patches: _Count = 0
    """Patches that each have one place, the same in every image."""
    inverted_blends: _Count = 4
    inverted_warps: _Count = 0
    inverted_colours: _Count = 0
    inverted_edits: _Count = 0
    inversion_steps: Annotated[int, Interval(ge=0, le=10_000), NUMBER] = 100
    """On the input model, before the first update. 0: no inversion."""
    reinversion_steps: Annotated[int, Interval(ge=0, le=10_000), NUMBER] = 60
    """On the model between the two stages; the patterns are added to the bank."""
    inverted_patch_size: _Side = 0.25
    inverted_blend_alpha: _Side = 0.2
    warp_strength: _Side = 0.06
    """Of live and inverted warps: the largest displacement of a control point, by the image's side."""
    colour_radius: _Side = 0.3
    """Of live and inverted colour changes: the bound of each of their twelve numbers."""
    kept_change: Annotated[float, Interval(gt=0, le=1), NUMBER] = 1.0
    """The image tower's weights end at input + kept_change * (trained - input). Less than 1 keeps more of the
    clean accuracy, and more of a backdoor."""
    beta2: Annotated[float, Interval(ge=0, lt=1), NUMBER] = 0.98
    max_grad_norm: Annotated[float, Gt(0), Le(1e6), NUMBER] | None = None

    def __post_init__(self) -> None:
        if self.strong_epochs > self.epochs:
            raise ValueError(
                f"strong_epochs is {self.strong_epochs}, more than the {self.epochs} epochs of the run"
            )
        if self.min_patch_size > self.max_patch_size:
            raise ValueError("min_patch_size is more than max_patch_size")
        for stage, name in zip(self.stages(), self.stage_names(), strict=True):
            if stage.live_share + stage.bank_share + stage.edit_share > 1:
                raise ValueError(
                    f"{name}_live_share, {name}_bank_share and {name}_edit_share are more than 1 together"
                )
        if not any(self._perturbs(stage) for stage in self.stages()):
            raise ValueError(
                "no image carries a pattern, because every share is 0 or no pattern is live or inverted: the "
                "backdoor would stay"
            )

    def _perturbs(self, stage: Stage) -> bool:
        has_live = stage.live_share > 0 and self.num_live > 0
        has_inverted = self.num_inverted > 0 and stage.inversion_steps > 0
        return has_live or (stage.bank_share > 0 and has_inverted)

    @property
    def num_live(self) -> int:
        """Patterns that climb at the same time."""
        patterns = self.live_patches + self.live_blends
        return patterns + self.live_warps + self.live_colours + self.live_edits

    @property
    def num_inverted(self) -> int:
        """Patterns that each inversion finds."""
        patches = self.inverted_patches + self.inverted_fixed_patches
        patterns = patches + self.inverted_blends
        return patterns + self.inverted_warps + self.inverted_colours + self.inverted_edits

    @property
    def training_data(self) -> Literal["pairs", "labelled"]:
        """The kind of dataset that is trained on."""
        return "labelled" if self.trained_on == "labelled_images" else "pairs"

    def stage_names(self) -> tuple[str, ...]:
        """Of `stages`."""
        lengths = {"strong": self.strong_epochs, "weak": self.epochs - self.strong_epochs}
        return tuple(name for name, num_epochs in lengths.items() if num_epochs > 0)

    def stages(self) -> tuple[Stage, ...]:
        """Those that have an epoch. The first inverts on the input model."""
        weak_rate = self.learning_rate if self.weak_learning_rate is None else self.weak_learning_rate
        strong = Stage(
            first_epoch=0,
            num_epochs=self.strong_epochs,
            learning_rate=self.learning_rate,
            live_share=self.strong_live_share,
            bank_share=self.strong_bank_share,
            edit_share=self.strong_edit_share,
            inversion_steps=self.inversion_steps,
        )
        weak = Stage(
            first_epoch=self.strong_epochs,
            num_epochs=self.epochs - self.strong_epochs,
            learning_rate=weak_rate,
            live_share=self.weak_live_share,
            bank_share=self.weak_bank_share,
            edit_share=self.weak_edit_share,
            inversion_steps=self.reinversion_steps if self.strong_epochs else self.inversion_steps,
        )
        return tuple(stage for stage in (strong, weak) if stage.num_epochs > 0)
