"""UAR's recipe: its options, their bounds, and the stages of its run. Free of torch."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Gt, Interval, Le, MaxLen
from pydantic import BeforeValidator

from cleanclip.vocabulary.bounds import NUMBER, STRICT, Share, ShortText, label
from cleanclip.vocabulary.clip_text import as_clip_reads
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


MOST_TRIGGERS, MOST_WORDS = 8, 4
INSERTED_SHARE = 0.5
"""Of a batch's captions: those that get a trigger of `trigger_words`. As docs/text-side.md measured it."""
TEXT_CONSISTENCY_WEIGHT = 20.0
"""Weight of the text tower's consistency. As docs/text-side.md measured it."""

_Side = Annotated[float, Gt(0), Le(1), NUMBER]
_Count = Annotated[int, Interval(ge=0, le=64), NUMBER]


@dataclass(frozen=True, kw_only=True)
class UARRecipe(FinetuningOptions):
    """UAR, universal adversarial repair: a triggered image must get the embedding of its clean original.

    L = L_CLIP(f(x'), T0) + consistency_weight * mean(1 - cos(f(x'), f0(x))). x' is the batch, part of it with
    patterns that many images share: live ones, which maximise this loss, and those of a bank, which are
    inverted on the model. f0 and T0 are the input model, on clean images and captions. It trains the image
    tower only, unless `trigger_words` is set, and needs no trigger and no label. A method of this project,
    run on small models only: the default learning_rate is a guess for full-size models.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT | NAMED

    method: Literal["uar"] = "uar"
    version: Literal[1] = 1
    trained_on: Annotated[Literal["pairs", "images_of_pairs", "labelled_images"], label("Trained on")] = (
        "pairs"
    )
    """`pairs`: with CLIP's loss; `images_of_pairs`: without it, captions are not read; `labelled_images`:
    without it, on a labelled dataset whose labels are not read."""
    consistency_weight: Annotated[float, Gt(0), Le(1000), NUMBER, label("Consistency")] = 5.0
    """Weight of the mean of 1 minus the cosine between an image's embedding and the input model's embedding
    of the clean image."""
    trigger_words: Annotated[
        tuple[ShortText, ...],
        MaxLen(MOST_TRIGGERS),
        # A report is read strictly, where a list is no tuple once `Recipe` has looked at the JSON.
        BeforeValidator(lambda value: tuple(value) if isinstance(value, list) else value),
        label("Trigger words", is_advanced=True),
    ] = ()
    """Triggers of the text tower, each of up to four words. The text tower is then trained too: half of the
    captions get a trigger's words inserted and must keep the input model's embedding of the caption without
    them. Name what a text scan found: a word that is not a trigger may lose its meaning."""
    epochs: Annotated[int, Interval(ge=1, le=100), NUMBER, label("Epochs")] = 5
    """Passes over the data, both stages together."""
    strong_epochs: Annotated[int, Interval(ge=0, le=100), NUMBER, label("Epochs of the strong stage")] = 2
    """Of `epochs`; the others are the weak stage. Each stage has its own warm-up and cosine."""
    learning_rate: Annotated[float, Interval(gt=0, le=1), NUMBER, label("Learning rate")] = 2e-5
    """The peak rate of each stage; a cosine schedule takes it to zero. The default is a guess for full-size
    models."""
    weak_learning_rate: Annotated[
        Annotated[float, Gt(0), Le(1), NUMBER] | None, label("Learning rate, weak stage", is_advanced=True)
    ] = None
    """Peak rate of the weak stage; null: `learning_rate`."""
    warmup_steps: Annotated[int, Interval(ge=0, le=100_000), NUMBER, label("Warm-up", "updates")] = 50
    """Updates of each stage in which the rate rises from zero."""
    strong_live_share: Annotated[
        Share, label("Images with a live pattern, strong stage", "from 0 to 1", is_advanced=True)
    ] = 0.15
    """Share of a batch that carries live patterns in the strong stage. Live and bank together are at most
    1."""
    strong_bank_share: Annotated[
        Share, label("Images with a kept pattern, strong stage", "from 0 to 1", is_advanced=True)
    ] = 0.30
    """Share of a batch that carries patterns of the bank in the strong stage."""
    weak_live_share: Annotated[
        Share, label("Images with a live pattern, weak stage", "from 0 to 1", is_advanced=True)
    ] = 0.12
    """The same in the weak stage."""
    weak_bank_share: Annotated[
        Share, label("Images with a kept pattern, weak stage", "from 0 to 1", is_advanced=True)
    ] = 0.20
    """The same in the weak stage."""
    strong_edit_share: Annotated[
        Share, label("Images with an edit, strong stage", "from 0 to 1", is_advanced=True)
    ] = 0.0
    """Share of a batch that carries an edit, such as a tint, a frame or a wave, in the strong stage."""
    weak_edit_share: Annotated[
        Share, label("Images with an edit, weak stage", "from 0 to 1", is_advanced=True)
    ] = 0.0
    """The same in the weak stage."""
    edit_strength: Annotated[
        float, Gt(0), Le(1), NUMBER, label("Strength of an edit", "from 0 to 1", is_advanced=True)
    ] = 1.0
    """How far edits go, as a share of their ranges."""
    live_patches: Annotated[_Count, label("Live patches", is_advanced=True)] = 3
    """Live patterns that cover a square, at a place drawn for every image."""
    live_blends: Annotated[_Count, label("Live blends", is_advanced=True)] = 1
    """Live patterns that are blended into the whole image."""
    live_warps: Annotated[_Count, label("Live warps", is_advanced=True)] = 0
    """Live patterns that displace pixels smoothly."""
    live_colours: Annotated[_Count, label("Live colour changes", is_advanced=True)] = 0
    """Live patterns that mix the colour channels."""
    live_edits: Annotated[_Count, label("Live edits", is_advanced=True)] = 0
    """Live edits, one of each kind in turn."""
    live_step: Annotated[
        float, Gt(0), Le(1), NUMBER, label("Step of a live pattern", "from 0 to 1", is_advanced=True)
    ] = 0.1
    """How far a live pattern moves in each update, along the sign of its gradient; a pixel's range is 1."""
    live_updates: Annotated[
        int, Interval(ge=1, le=100_000), NUMBER, label("Life of a live pattern", "updates", is_advanced=True)
    ] = 20
    """After so many updates a live pattern moves to the bank and a new one is drawn."""
    min_patch_size: Annotated[_Side, label("Smallest live patch", "from 0 to 1", is_advanced=True)] = 0.125
    """Smallest side of a live patch, as a share of the image's side."""
    max_patch_size: Annotated[_Side, label("Largest live patch", "from 0 to 1", is_advanced=True)] = 0.3125
    """Largest side of a live patch, as a share of the image's side."""
    blend_alpha: Annotated[_Side, label("Opacity of a live blend", "from 0 to 1", is_advanced=True)] = 0.12
    """Share of a live blend in each pixel."""
    bank_size: Annotated[
        int, Interval(ge=0, le=1024), NUMBER, label("Size of the bank", is_advanced=True)
    ] = 64
    """Patterns that the bank keeps. Inverted ones always stay; the newest former live patterns fill the
    rest."""
    inverted_patches: Annotated[_Count, label("Inverted patches", is_advanced=True)] = 8
    """Patches that each inversion finds."""
    inverted_fixed_patches: Annotated[_Count, label("Inverted patches at a place", is_advanced=True)] = 0
    """Patches that each inversion finds, each at one place of every image."""
    inverted_blends: Annotated[_Count, label("Inverted blends", is_advanced=True)] = 4
    """Blends that each inversion finds."""
    inverted_warps: Annotated[_Count, label("Inverted warps", is_advanced=True)] = 0
    """Warps that each inversion finds."""
    inverted_colours: Annotated[_Count, label("Inverted colour changes", is_advanced=True)] = 0
    """Colour changes that each inversion finds."""
    inverted_edits: Annotated[_Count, label("Inverted edits", is_advanced=True)] = 0
    """Edits that each inversion finds, one of each kind in turn."""
    inversion_steps: Annotated[
        int, Interval(ge=0, le=10_000), NUMBER, label("Steps of the inversion", "steps", is_advanced=True)
    ] = 100
    """Steps of the inversion on the input model; 0: none."""
    reinversion_steps: Annotated[
        int,
        Interval(ge=0, le=10_000),
        NUMBER,
        label("Steps of the second inversion", "steps", is_advanced=True),
    ] = 60
    """Steps of the inversion between the stages; 0: none."""
    inverted_patch_size: Annotated[
        _Side, label("Side of an inverted patch", "from 0 to 1", is_advanced=True)
    ] = 0.25
    """Side of an inverted patch, as a share of the image's side."""
    inverted_blend_alpha: Annotated[
        _Side, label("Opacity of an inverted blend", "from 0 to 1", is_advanced=True)
    ] = 0.2
    """Share of an inverted blend in each pixel."""
    warp_strength: Annotated[_Side, label("Strength of a warp", "from 0 to 1", is_advanced=True)] = 0.06
    """Largest displacement of a warp's control point, by the image's side."""
    colour_radius: Annotated[_Side, label("Radius of a colour change", "from 0 to 1", is_advanced=True)] = 0.3
    """Bound of each of a colour change's twelve numbers."""
    kept_change: Annotated[
        float,
        Interval(gt=0, le=1),
        NUMBER,
        label("Share of the change that is kept", "from 0 to 1", is_advanced=True),
    ] = 1.0
    """Share of the image tower's change that is kept: its weights end at input + share · (trained − input).
    Less than 1 keeps more clean accuracy and more of a backdoor."""
    beta2: Annotated[float, Interval(ge=0, lt=1), NUMBER, label("Beta 2", is_advanced=True)] = 0.98
    """AdamW's decay rate of the second moment."""
    max_grad_norm: Annotated[
        Annotated[float, Gt(0), Le(1e6), NUMBER] | None, label("Largest gradient", "norm", is_advanced=True)
    ] = None
    """Gradients are scaled down to this norm; null: never."""

    def __post_init__(self) -> None:
        if self.strong_epochs > self.epochs:
            raise ValueError(
                f"strong_epochs is {self.strong_epochs}, more than the {self.epochs} epochs of the run"
            )
        self._check_words()
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

    def _check_words(self) -> None:
        words = self.words()
        if not all(1 <= len(one) <= MOST_WORDS for one in words):
            raise ValueError(f"a trigger of trigger_words must have 1 to {MOST_WORDS} words")
        if len({*words}) < len(words):
            raise ValueError("trigger_words must differ from each other")
        if words and self.trained_on != "pairs":
            raise ValueError(f"trigger_words need captions, and trained_on: {self.trained_on} reads none")

    def words(self) -> tuple[tuple[str, ...], ...]:
        """The words of each trigger, as CLIP reads them."""
        return tuple(tuple(as_clip_reads(one).split()) for one in self.trigger_words)

    def _perturbs(self, stage: Stage) -> bool:
        has_live = stage.live_share > 0 and self.num_live > 0
        has_inverted = self.num_inverted > 0 and stage.inversion_steps > 0
        return has_live or (stage.bank_share > 0 and has_inverted)

    @property
    def num_live(self) -> int:
        """Patterns that are optimised at the same time."""
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
