"""What can be asked of the library: options as frozen dataclasses with their bounds. Free of torch.

`app` publishes these as the API's schema and stores them as JSON; the code that obeys them lives in
`methods`, `attacks` and `audits`. Triggers are described in `attack_options`, limits in `policy`, what all
methods share in `finetuning`, UAR in `uar_recipe`. Unknown fields are refused.
Reading goes through `parse`, which needs pydantic only; constructing one in Python does not check bounds,
`parse` (or `validate`) does.
"""

from dataclasses import InitVar, dataclass, field
from functools import cache
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from annotated_types import Gt, Interval, Le, Len, Lt, MaxLen
from pydantic import BeforeValidator, Field, Strict, StringConstraints, TypeAdapter

from cleanclip.vocabulary import attack_options
from cleanclip.vocabulary.attack_options import (
    MAX_ATTACKS,
    AttackOptions,
    SuiteName,
)
from cleanclip.vocabulary.bounds import (
    NOT_EMPTY,
    NUMBER,
    STRICT,
    Number,
    Positive,
    Share,
    ShortText,
    label,
)
from cleanclip.vocabulary.examples import MAX_EXAMPLES
from cleanclip.vocabulary.finetuning import NAMED, FinetuningOptions
from cleanclip.vocabulary.probe_options import LinearProbeOptions
from cleanclip.vocabulary.rebound_options import ReboundOptions
from cleanclip.vocabulary.uar_recipe import UARRecipe

# ---------------------------------------------------------------- what tensors cannot tell


MAX_IMAGE_SIZE = 4096
"""Pixels of a model's square image, declared or worked out from its tensors."""


@dataclass(frozen=True, kw_only=True)
class DeclaredOptions:
    """What the owner of a checkpoint declares, because its tensors do not say it. None: the family's default.

    `num_heads_*` default to width/64 (16 for ViT-H, g, bigG, e); `image_mean`/`image_std` to OpenAI's
    constants; `tokenizer` to CLIP's byte-pair encoding; `quick_gelu` to True for the OpenAI and
    Hugging Face layouts and for research checkpoints (whose code descends from OpenAI's), and False for
    open_clip's and for image towers of timm's. Where all weights that open_clip lists of this shape have
    another value, it is theirs. A SigLIP's are those of every published SigLIP, but for `tokenizer`.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    quick_gelu: Annotated[bool, Strict()] | None = None
    """QuickGELU instead of GELU. null: true for OpenAI's, Hugging Face's and research layouts, false for
    open_clip's and for image towers of timm's."""
    num_heads_vision: Annotated[int, Interval(ge=1, le=256), NUMBER] | None = None
    """Attention heads of the image tower. null: width / 64 (16 for ViT-H, g, bigG, e)."""
    num_heads_text: Annotated[int, Interval(ge=1, le=256), NUMBER] | None = None
    """Attention heads of the text tower. null: width / 64."""
    image_mean: tuple[Number, Number, Number] | None = None
    """Mean per channel of the preprocessing. null: OpenAI's."""
    image_std: tuple[Positive, Positive, Positive] | None = None
    """Standard deviation per channel. null: OpenAI's."""
    resize_mode: Literal["shortest", "squash"] | None = None
    """How an image that is not square gets the model's size: the shorter side is scaled and the middle cut
    out (`shortest`), or both sides are scaled (`squash`). null: as all published weights of this shape
    have it, else `shortest`."""
    tokenizer: Annotated[str, StringConstraints(pattern="^(clip_bpe|[0-9a-f]{64})$")] | None = None
    """Of a SigLIP, which needs one: the SHA-256 of its `tokenizer.json`, which your operator keeps on a
    shelf. null or "clip_bpe": CLIP's own byte-pair encoding."""
    image_size: Annotated[int, Interval(ge=1, le=MAX_IMAGE_SIZE), NUMBER] | None = None
    """Side in pixels. null: patches × patch size (ViT), 32 × the pooled grid (ModifiedResNet). No tensor says
    it for ConvNeXt, FastViT (MobileCLIP) and ViTamin-XL: null is then the side of a published model of
    this shape, and the report names the others."""
    gelu_tanh: Annotated[bool, Strict()] | None = None
    """GELU in its tanh approximation. null: no."""
    vision_pool: Literal["tok", "avg"] | None = None
    """ViT: the class token or the mean of the patches. null: the class token."""
    vision_final_ln_after_pool: Annotated[bool, Strict()] | None = None
    """ViT: the last layer norm comes after the pooling. null: no."""
    text_pool: Literal["argmax", "eos", "first", "last"] | None = None
    """Where a caption's embedding is read. null: argmax, the end token of CLIP's vocabulary."""
    text_eos_id: Annotated[int, Interval(ge=0, lt=2**31), NUMBER] | None = None
    """For text_pool eos. null: 49407."""
    text_causal: Annotated[bool, Strict()] | None = None
    """A token attends only to tokens before it. null: yes, as in every published CLIP with this tokenizer."""
    norm_eps_vision: Annotated[float, Interval(gt=0, le=1e-2), NUMBER] | None = None
    """Epsilon of the image tower's layer norms. null: 1e-5."""
    norm_eps_text: Annotated[float, Interval(gt=0, le=1e-2), NUMBER] | None = None
    """Epsilon of the text tower's layer norms. null: 1e-5."""


# ---------------------------------------------------------------- methods

AuditPrecision = Literal["fp32", "bf16"]


@dataclass(frozen=True, kw_only=True)
class CleanCLIPRecipe(FinetuningOptions):
    """CleanCLIP fine-tuning (arXiv 2303.03323): L = lambda1 * L_CLIP + lambda2 * (L_II~ + L_TT~) / 2.

    Defaults are the paper's fine-tuning recipe: 10 epochs, batch 64, AdamW, 50 warm-up steps, cosine.
    lambda2 = 0 is multimodal-only fine-tuning, lambda1 = 0 self-supervised-only; both zero is refused.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    method: Literal["cleanclip"] = "cleanclip"
    version: Literal[1] = 1
    lambda1: Annotated[float, Interval(ge=0, le=100), NUMBER, label("CLIP's loss (lambda1)")] = 1.0
    """Weight of CLIP's own loss between images and captions."""
    lambda2: Annotated[float, Interval(ge=0, le=100), NUMBER, label("Self-supervised loss (lambda2)")] = 1.0
    """Weight of the self-supervised losses."""
    warmup_steps: Annotated[int, Interval(ge=0, le=100_000), NUMBER, label("Warm-up", "updates")] = 50
    """Updates in which the rate rises linearly to `learning_rate`."""
    eda_alpha: Annotated[Share, label("Words changed in a caption", "from 0 to 1", is_advanced=True)] = 0.1
    """Share of a caption's words that each operation of EDA changes."""

    def __post_init__(self) -> None:
        if self.lambda1 == 0 and self.lambda2 == 0:
            raise ValueError("lambda1 and lambda2 are both 0, which leaves nothing to train on")


@dataclass(frozen=True, kw_only=True)
class PARRecipe(FinetuningOptions):
    """PAR, "Perturb and Recover" (arXiv 2412.00727): CLIP's loss, pushed away from the input model.

    L = L_CLIP - (S_I [S_I <= threshold] + S_T [S_T <= threshold]) / 2, S the batch's mean squared distance of
    unit embeddings to those of the input model. Published against structured triggers, which CleanCLIP
    does not remove.
    Needs the same clean pairs. The rate decays from initial_learning_rate to learning_rate, then along a
    cosine to zero. Defaults are those of the published code, but for its batch of 256 on each of four GPUs.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT | NAMED

    method: Literal["par"] = "par"
    version: Literal[1] = 1
    threshold: Annotated[float, Interval(ge=0, le=4), NUMBER, label("Threshold", "squared distance")] = 2.15
    """How far (mean squared distance of unit embeddings) the model is pushed from the input model: 2 is the
    distance of unrelated directions, 4 of opposite ones; 0 is fine-tuning with CLIP's loss alone."""
    initial_learning_rate: Annotated[float, Interval(ge=0, le=1), NUMBER, label("First learning rate")] = 3e-5
    """The first rate; over learning_rate: large steps first, to move away from the input model."""
    push_share: Annotated[Share, label("Share of the push", "from 0 to 1")] = 0.5
    """The share of the updates over which it decays."""
    noise_std: Annotated[float, Interval(ge=0, le=1), NUMBER, label("Noise on images", is_advanced=True)] = (
        0.2
    )
    """Standard deviation of Gaussian noise on pixels in [0, 1]."""
    noise_probability: Annotated[Share, label("Images with noise", "from 0 to 1", is_advanced=True)] = 0.5
    """Share of the images that get the noise."""
    erase_probability: Annotated[
        Share, label("Images with a square erased", "from 0 to 1", is_advanced=True)
    ] = 0.5
    """Share of the images in which a square of 0.5 to 1 % of the area is set to the mean colour."""
    batch_size: Annotated[int, Interval(ge=2, le=32768), NUMBER, label("Batch size", "pairs")] = 256
    """Samples per update, which a contrastive loss compares with each other."""
    learning_rate: Annotated[float, Interval(gt=0, le=1), NUMBER, label("Learning rate")] = 3e-6
    """The peak rate; a cosine schedule takes it to zero."""
    weight_decay: Annotated[float, Interval(ge=0, le=10), NUMBER, label("Weight decay", is_advanced=True)] = (
        1e-4
    )
    """AdamW's weight decay, for matrices and kernels."""
    beta2: Annotated[float, Interval(ge=0, lt=1), NUMBER, label("Beta 2", is_advanced=True)] = 0.98
    """AdamW's decay rate of the second moment."""
    max_grad_norm: Annotated[
        Annotated[float, Gt(0), Le(1e6), NUMBER] | None, label("Largest gradient", "norm", is_advanced=True)
    ] = None
    """Gradients are scaled down to this norm; null: never."""


@dataclass(frozen=True, kw_only=True)
class SupervisedRecipe(FinetuningOptions):
    """Supervised fine-tuning (arXiv 2303.03323): labelled images train the vision encoder by cross-entropy.

    The classes are the zero-shot embeddings of the model's own text encoder, which is not trained; neither
    is the logit scale. Needs labelled images for training instead of pairs, other than those of the audit.
    Rate, warm-up and decay are the published ones, for 50,000 images of ImageNet.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT | NAMED

    method: Literal["supervised"] = "supervised"
    version: Literal[1] = 1
    batch_size: Annotated[int, Interval(ge=2, le=32768), NUMBER, label("Batch size", "images")] = 80
    """Images of one update."""
    learning_rate: Annotated[float, Interval(gt=0, le=1), NUMBER, label("Learning rate")] = 1e-4
    """The peak rate; a cosine schedule takes it to zero."""
    warmup_steps: Annotated[int, Interval(ge=0, le=100_000), NUMBER, label("Warm-up", "updates")] = 500
    """Updates in which the rate rises linearly to `learning_rate`."""
    weight_decay: Annotated[float, Interval(ge=0, le=10), NUMBER, label("Weight decay", is_advanced=True)] = (
        0.01
    )
    """AdamW's weight decay, for matrices and kernels."""

    @property
    def training_data(self) -> Literal["pairs", "labelled"]:
        """The kind of dataset that is trained on."""
        return "labelled"


def _named(value: Any) -> Any:
    """Without a method's name CleanCLIP is meant."""
    return {"method": "cleanclip", **value} if isinstance(value, dict) and "method" not in value else value


Recipe = Annotated[
    CleanCLIPRecipe | PARRecipe | SupervisedRecipe | UARRecipe,
    Field(discriminator="method"),
    BeforeValidator(_named),
]
"""The union of the recipes, told apart by `method`."""

# ---------------------------------------------------------------- audits


@dataclass(frozen=True, kw_only=True)
class AuditOptions:
    """What an audit measures: CA, and for every attack ASR and PA against a target class.

    `target` is a class name of the labelled set; an attack may name another. `suite` names `attacks` by one
    name: "paper" or "structured"; what is kept and repeated in a report is the list. With
    neither: BadNet, Blended, WaNet and SIG. `templates` None: those of the labelled set, else ImageNet's 80.
    An attack whose ASR before cleaning is below `gate` is inconclusive.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    target: Annotated[ShortText, label("Target")]
    """The class that triggers are suspected to lead to, exactly as the labelled set has it."""
    suite: InitVar[SuiteName | None] = None
    attacks: Annotated[tuple[AttackOptions, ...], MaxLen(MAX_ATTACKS), *NOT_EMPTY] = field(
        default_factory=tuple
    )
    """The triggers to measure; null or empty: BadNet, Blended, WaNet and SIG."""
    templates: Annotated[tuple[Annotated[str, Len(1, 300)], ...], MaxLen(200), *NOT_EMPTY] | None = None
    """Zero-shot prompts with {c} for the class; null: those of the labelled set, else ImageNet's 80."""
    gate: Annotated[float, Gt(0), Lt(1), NUMBER, label("Gate", "from 0 to 1", is_advanced=True)] = 0.5
    """An attack with a lower ASR before cleaning is inconclusive."""
    batch_size: Annotated[
        int, Interval(ge=1, le=4096), NUMBER, label("Batch size", "images", is_advanced=True)
    ] = 256
    """Images that are embedded at once."""
    max_skipped_share: Annotated[Share, label("Bad samples allowed", "from 0 to 1", is_advanced=True)] = 0.01
    """The data is refused above this share of bad samples."""
    precision: Annotated[AuditPrecision, label("Precision", is_advanced=True)] = "fp32"
    """Precision of the towers; bf16 is faster if the hardware supports it, and may count an image near a tie
    differently."""
    linear_probe: LinearProbeOptions | None = None
    """Also measure a linear probe on the image embeddings alone; null: no, {}: with its defaults."""
    rebound: ReboundOptions | None = None
    """Of a cleaning: also train copies of the cleaned model further, to see whether the backdoor comes back;
    null: no, {}: with its defaults."""
    max_retrieval_pairs: Annotated[
        int, Interval(ge=2, le=20_000), NUMBER, label("Pairs for retrieval", "pairs", is_advanced=True)
    ] = 5000
    """Pairs of a retrieval set that are measured; from a larger set they are drawn at random. Recall depends
    on it."""
    examples: Annotated[
        int, Interval(ge=0, le=MAX_EXAMPLES), NUMBER, label("Examples", "images", is_advanced=True)
    ] = 6
    """How many test images of each trigger the report shows, clean and triggered; 0: the report holds no
    image of yours."""
    recheck: Annotated[Annotated[bool, Strict()] | None, label("Second audit", is_advanced=True)] = None
    """Whether a fresh process, which never read the upload, audits the input and what is published again: its
    figures must agree, and it measures labelled images that were withheld from the first. None: where the
    operator signs and it costs less than a tenth of the job. The library by itself measures once."""

    def __post_init__(self, suite: SuiteName | None) -> None:
        object.__setattr__(self, "attacks", attack_options.attacks_of(suite, self.attacks))


OutputLayout = Literal["open_clip", "as_uploaded"]

T = TypeVar("T")


@cache  # to build one takes a millisecond
def _adapter(kind: type[Any]) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def parse(kind: type[T], value: object) -> T:
    """Read `value` (from JSON) as `kind`, with all bounds. Raises pydantic.ValidationError."""
    hashable: Any = kind
    read: T = _adapter(hashable).validate_python(value)
    return read


def parse_recipe(value: object) -> Recipe:
    """A recipe of any method, from JSON, with all bounds. Raises pydantic.ValidationError."""
    union: Any = Recipe
    read: Recipe = _adapter(union).validate_python(value)
    return read


def to_json(value: object) -> dict[str, Any]:
    """The JSON form of any dataclass of this module; `parse` reads it back."""
    kind: Any = type(value)
    dumped: dict[str, Any] = _adapter(kind).dump_python(value, mode="json")
    return dumped
