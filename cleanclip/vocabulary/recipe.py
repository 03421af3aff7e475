"""What can be asked of the library: options as frozen dataclasses with their bounds. Free of torch.

`app` publishes these as the API's schema and stores them as JSON; the code that obeys them lives in
`methods`, `attacks` and `audits`. Triggers are described in `attack_options`, limits in `policy`, what all
methods share in `finetuning`, UAR in `uar_recipe`; all are named here as well. Unknown fields are refused.
Reading goes through `parse`, which needs pydantic only; constructing one in Python does not check bounds,
`parse` (or `validate`) does.
"""

from __future__ import annotations

from dataclasses import InitVar, dataclass, field
from functools import cache
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from annotated_types import Gt, Interval, Le, Len, Lt, MaxLen
from pydantic import BeforeValidator, Field, Strict, StringConstraints, TypeAdapter

from cleanclip.vocabulary import attack_options
from cleanclip.vocabulary.attack_options import (
    MAX_ATTACKS,
    SUITES,
    AttackOptions,
    BadNetOptions,
    BlendedOptions,
    CustomPatchOptions,
    CustomPatternOptions,
    LabelConsistentOptions,
    SIGOptions,
    SuiteName,
    TextTriggerOptions,
    WaNetOptions,
)
from cleanclip.vocabulary.bounds import NOT_EMPTY, NUMBER, STRICT, Number, Positive, Seed, Share, ShortText
from cleanclip.vocabulary.examples import MAX_EXAMPLES
from cleanclip.vocabulary.finetuning import NAMED, FinetuningOptions, Precision
from cleanclip.vocabulary.policy import Policy, PolicySource
from cleanclip.vocabulary.probe_options import LinearProbeOptions
from cleanclip.vocabulary.rebound_options import ReboundOptions
from cleanclip.vocabulary.uar_recipe import Stage, UARRecipe

__all__ = [  # for mypy: what comes from elsewhere and is taken from here; what is defined here needs no entry
    "NUMBER",
    "STRICT",
    "SUITES",
    "AttackOptions",
    "BadNetOptions",
    "BlendedOptions",
    "CustomPatchOptions",
    "CustomPatternOptions",
    "FinetuningOptions",
    "LabelConsistentOptions",
    "LinearProbeOptions",
    "Number",
    "Policy",
    "PolicySource",
    "Positive",
    "Precision",
    "ReboundOptions",
    "SIGOptions",
    "Seed",
    "Share",
    "ShortText",
    "Stage",
    "SuiteName",
    "TextTriggerOptions",
    "UARRecipe",
    "WaNetOptions",
]

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
    num_heads_vision: Annotated[int, Interval(ge=1, le=256), NUMBER] | None = None
    num_heads_text: Annotated[int, Interval(ge=1, le=256), NUMBER] | None = None
    image_mean: tuple[Number, Number, Number] | None = None
    image_std: tuple[Positive, Positive, Positive] | None = None
    resize_mode: Literal["shortest", "squash"] | None = None
    """How an image becomes square: its shorter side is resized and the middle cut out, or both sides are."""
    tokenizer: Annotated[str, StringConstraints(pattern="^(clip_bpe|[0-9a-f]{64})$")] | None = None
    """A SigLIP needs one: the SHA-256 of its tokenizer.json, which the operator keeps on a shelf."""
    image_size: Annotated[int, Interval(ge=1, le=MAX_IMAGE_SIZE), NUMBER] | None = None
    """Side in pixels. None: patches times patch size (ViT), 32 times the pooled grid (ModifiedResNet). Where
    no tensor says it (ConvNeXt, FastViT, ViTamin-XL), that of a published model of this shape."""
    gelu_tanh: Annotated[bool, Strict()] | None = None
    """GELU in its tanh approximation (open_clip's act_kwargs). None: False."""
    vision_pool: Literal["tok", "avg"] | None = None
    """ViT: the class token or the mean of the patches. None: the class token."""
    vision_final_ln_after_pool: Annotated[bool, Strict()] | None = None
    text_pool: Literal["argmax", "eos", "first", "last"] | None = None
    """Where the caption's embedding is read. None: argmax, the end token of CLIP's vocabulary."""
    text_eos_id: Annotated[int, Interval(ge=0, lt=2**31), NUMBER] | None = None
    """For text_pool 'eos'. None: 49407, the end token of CLIP's vocabulary."""
    text_causal: Annotated[bool, Strict()] | None = None
    """None: True, as in every published CLIP with CLIP's own tokenizer."""
    norm_eps_vision: Annotated[float, Interval(gt=0, le=1e-2), NUMBER] | None = None
    norm_eps_text: Annotated[float, Interval(gt=0, le=1e-2), NUMBER] | None = None
    """Epsilon of the layer norms. None: 1e-5."""


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
    lambda1: Annotated[float, Interval(ge=0, le=100), NUMBER] = 1.0
    lambda2: Annotated[float, Interval(ge=0, le=100), NUMBER] = 1.0
    warmup_steps: Annotated[int, Interval(ge=0, le=100_000), NUMBER] = 50
    eda_alpha: Share = 0.1

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
    threshold: Annotated[float, Interval(ge=0, le=4), NUMBER] = 2.15
    """2: the distance of two unrelated directions; 4: of opposite ones. 0 is fine-tuning by CLIP alone."""
    initial_learning_rate: Annotated[float, Interval(ge=0, le=1), NUMBER] = 3e-5
    """The first rate; over learning_rate: large steps first, to move away from the input model."""
    push_share: Share = 0.5
    """The share of the updates over which the rate comes down to learning_rate."""
    noise_std: Annotated[float, Interval(ge=0, le=1), NUMBER] = 0.2
    """Gaussian noise on pixels in [0, 1], on the images that noise_probability draws."""
    noise_probability: Share = 0.5
    erase_probability: Share = 0.5
    """Of a square of 0.5 to 1 % of the image's area, set to the model's mean colour."""
    batch_size: Annotated[int, Interval(ge=2, le=32768), NUMBER] = 256
    learning_rate: Annotated[float, Interval(gt=0, le=1), NUMBER] = 3e-6
    weight_decay: Annotated[float, Interval(ge=0, le=10), NUMBER] = 1e-4
    beta2: Annotated[float, Interval(ge=0, lt=1), NUMBER] = 0.98
    max_grad_norm: Annotated[float, Gt(0), Le(1e6), NUMBER] | None = None


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
    batch_size: Annotated[int, Interval(ge=2, le=32768), NUMBER] = 80
    learning_rate: Annotated[float, Interval(gt=0, le=1), NUMBER] = 1e-4
    warmup_steps: Annotated[int, Interval(ge=0, le=100_000), NUMBER] = 500
    weight_decay: Annotated[float, Interval(ge=0, le=10), NUMBER] = 0.01

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

    target: ShortText
    suite: InitVar[SuiteName | None] = None
    attacks: Annotated[tuple[AttackOptions, ...], MaxLen(MAX_ATTACKS), *NOT_EMPTY] = field(
        default_factory=tuple
    )
    templates: Annotated[tuple[Annotated[str, Len(1, 300)], ...], MaxLen(200), *NOT_EMPTY] | None = None
    gate: Annotated[float, Gt(0), Lt(1), NUMBER] = 0.5
    batch_size: Annotated[int, Interval(ge=1, le=4096), NUMBER] = 256
    max_skipped_share: Share = 0.01
    precision: AuditPrecision = "fp32"
    """Of the towers' arithmetic; embeddings are compared in float64. bf16 is faster where the device has it,
    and an image near a tie may be counted otherwise."""
    linear_probe: LinearProbeOptions | None = None
    """None: not measured, because it costs more than all else; {} with its defaults."""
    rebound: ReboundOptions | None = None
    """Of a cleaning only: whether the backdoor comes back when the cleaned model is trained further. None:
    not measured; {} with its defaults."""
    max_retrieval_pairs: Annotated[int, Interval(ge=2, le=20_000), NUMBER] = 5000
    """Of a retrieval set; the pairs of a larger one are drawn by the seed. Recall depends on it."""
    examples: Annotated[int, Interval(ge=0, le=MAX_EXAMPLES), NUMBER] = 6
    """Test images that the report shows, without a trigger and with each. 0: no image of yours leaves.
    Fewer where there are many attacks: 64 // (1 + attacks)."""
    recheck: Annotated[bool, Strict()] | None = None
    """Whether a fresh process, which never read the upload, audits the input and what is published again:
    its figures must agree, and it measures labelled images that were withheld from the first. None: where the
    operator signs. For a supervisor: the library by itself measures once."""

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
