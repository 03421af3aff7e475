"""What an inspection may say: findings, why an option is as it is, and what scanners reported.

Free of torch; `vocabulary.phrases` says why these are all. Names in quotes are the file's own words.
"""

from typing import Annotated, Literal

from pydantic import AfterValidator, StringConstraints

from cleanclip.vocabulary.phrases import VERSION, Phrase, one_of

Layout = Literal["open_clip", "research", "openai_torchscript", "huggingface"]

# ------------------------------------------------------------ findings

PREFIX = Phrase("All names carry the prefix {prefix:name}; it is put back when written as uploaded.")
MASK = Phrase("{mask:name} is the causal mask, not a weight; it is rebuilt from the architecture.")
MASKS = Phrase(
    "{mask:name} (and {more:count} more like it) is the causal mask, not a weight; it is rebuilt from the "
    "architecture."
)
BATCH_COUNTS = Phrase(
    "BatchNorm's batch counts are not in the file; they were set to 0, which changes no result."
)
CODE_NOT_RUN = Phrase(
    "The archive's code was not run; its constants were read as data; only its tensors were taken. "
    "Loading the archive with torch.jit.load runs its code, which no audit here has checked."
)
ENTRY_SKIPPED = Phrase("The entry {key:name} beside the weights was skipped: not read, not used.")
ENTRIES_SKIPPED = Phrase("{num:count} more entries beside the weights were skipped.")
EXTRAS = Phrase("Not checked and not used, but written back unchanged in the uploaded layout: {names:names}.")
NOT_CALLED = Phrase("The file names {names:words}; none of them was imported or called.")
NOT_GIVEN_BACK = Phrase(
    "The layout of this upload cannot be written back: {name:name} would differ. Order the open_clip layout."
)
READ_ALIKE = Phrase("{reader:versioned} reads the same {num:count} tensors from this file, bit by bit.")
_NOT_COMPARED = "The tensors were not compared with what torch itself reads: "
COMPARISON_TOO_LONG = Phrase(_NOT_COMPARED + "it did not end within {seconds:number} seconds.")
COMPARISON_NOT_STARTED = Phrase(_NOT_COMPARED + "it could not be started: {error:word}.")
COMPARISON_WITHOUT_ANSWER = Phrase(_NOT_COMPARED + "it ended with status {status:number} and no answer.")
WOULD_RUN_CODE = Phrase(_NOT_COMPARED + "torch.jit.load would run the archive's code.")
NOT_ALLOWED = Phrase(
    _NOT_COMPARED + "{reader:versioned} (weights_only) does not open the file, it does not allow {name:word}."
)
STOPS = Phrase(
    _NOT_COMPARED + "{reader:versioned} (weights_only) does not open the file, it stops with {error:word}."
)
FINDINGS = (
    *(PREFIX, MASK, MASKS, BATCH_COUNTS, CODE_NOT_RUN, ENTRY_SKIPPED, ENTRIES_SKIPPED, EXTRAS, NOT_CALLED),
    *(NOT_GIVEN_BACK, READ_ALIKE, COMPARISON_TOO_LONG, COMPARISON_NOT_STARTED, COMPARISON_WITHOUT_ANSWER),
    *(WOULD_RUN_CODE, NOT_ALLOWED, STOPS),
)
Finding = Annotated[str, AfterValidator(one_of(*FINDINGS))]

# ------------------------------------------------------------ weights in the uploaded layout

NO_CODE = Phrase(
    "The upload was a TorchScript archive; the weights come back as a plain state dict with OpenAI's names, "
    "because this service never writes code."
)
NO_TRAINING_STATE = Phrase(
    "The optimizer state and other training state of the upload are not part of this file."
)
LEFT_OUT = Phrase(
    "The weights could not be written in the uploaded layout, so that file is left out ({code:word}). The "
    "cleaned weights are complete in model.safetensors."
)
AS_UPLOADED = (NO_CODE, NO_TRAINING_STATE, EXTRAS, LEFT_OUT)
AsUploadedNote = Annotated[str, AfterValidator(one_of(*AS_UPLOADED))]

# ------------------------------------------------------------ options

OPTIONS = (
    "quick_gelu",
    "num_heads_vision",
    "num_heads_text",
    "image_mean",
    "image_std",
    "resize_mode",
    "tokenizer",
    "image_size",
    "gelu_tanh",
    "vision_pool",
    "vision_final_ln_after_pool",
    "text_pool",
    "text_eos_id",
    "text_causal",
    "norm_eps_vision",
    "norm_eps_text",
)
"""Those of `recipe.DeclaredOptions`."""
Option = Annotated[str, AfterValidator(one_of(*map(Phrase, OPTIONS)))]
QUICK_GELU_OF_OPENAI = "OpenAI's CLIP uses QuickGELU"
QUICK_GELU_OF_HUGGING_FACE = "the default of Hugging Face's CLIPConfig"
QUICK_GELU_OF_RESEARCH = "research code descends from OpenAI's; declare false for open_clip's own training"
QUICK_GELU_OF_OPEN_CLIP = "open_clip's default; declare true for a -quickgelu model"
GELU_OF_TIMM = "as in every CLIP with an image tower of timm's that open_clip lists"
EXACT_GELU = "exact GELU, as in every published CLIP"
OPENAIS_CONSTANTS = "OpenAI's constants"
SHORTER_SIDE = "as in nearly every published CLIP"
TIMM_TOWER = Phrase("the tower that timm calls {entry:entry}")
TIMM_ENTRY = Phrase("as in {entry:entry}, whose image tower timm calls {name:entry}")
OTHER_SIDES = Phrase(
    "no tensor says it: as in {entry:entry}; others of this shape have another: {others:sides}"
)
AS_RELEASED = Phrase("as all weights of {entry:entry} that open_clip lists")
RELEASED_BOTH = Phrase("the default; other weights of {entry:entry} have another: {names:words}")
BYTE_PAIRS = "CLIP's byte-pair encoding"
PYTORCHS_EPSILON = "PyTorch's default, as in every CLIP"
SCALED_HEADS = "the scale of each head"
NORMED_QUERIES = "the norm of queries"
PUBLISHED_TOWER = "as in the published tower of this width and depth"
WIDTH_OVER_64 = "width / 64, as in nearly every published CLIP"
CELLS = Phrase("{side:count} x {also:count} cells of {step:count} px")
BY_CLASS = "the class token"
OPEN_CLIPS_DEFAULT = "open_clip's default"
BY_HIGHEST = "the end token, the highest of CLIP's vocabulary"
BY_END = "CLIP's end token"
CAUSAL = "as in every CLIP with CLIP's own tokenizer"
EVERY_SIGLIP = "every published SigLIP"
GELU_OF_LAYOUT = "as the library of this layout builds it"
DECLARED = "declared"
CONFIGURATION = Phrase("the folder's {name:word}")
"""Of a model's folder, which only the library reads."""
BY_THE_UPLOADER = "by the uploader"
AS_READ = "as the checkpoint was read"
BEST_OF = Phrase("the best of {values:values}")
AS_PUBLISHED = Phrase("as in {entry:entry}, which has this shape; the images do not rule out {value:value}")

_PLAIN_WHYS = (
    *(QUICK_GELU_OF_OPENAI, QUICK_GELU_OF_HUGGING_FACE, QUICK_GELU_OF_RESEARCH, QUICK_GELU_OF_OPEN_CLIP),
    *(EXACT_GELU, OPENAIS_CONSTANTS, BYTE_PAIRS, PYTORCHS_EPSILON, SCALED_HEADS, NORMED_QUERIES, BY_CLASS),
    *(PUBLISHED_TOWER, WIDTH_OVER_64, OPEN_CLIPS_DEFAULT, BY_HIGHEST, BY_END, CAUSAL, DECLARED),
    *(EVERY_SIGLIP, GELU_OF_LAYOUT, GELU_OF_TIMM, SHORTER_SIDE),
)
_READ = (
    *map(Phrase, _PLAIN_WHYS),
    CELLS,
    CONFIGURATION,
    AS_RELEASED,
    RELEASED_BOTH,
    TIMM_TOWER,
    TIMM_ENTRY,
    OTHER_SIDES,
)
_WHYS = (*_READ, *map(Phrase, (BY_THE_UPLOADER, AS_READ)), BEST_OF, AS_PUBLISHED)
Why = Annotated[str, AfterValidator(one_of(*_WHYS))]
"""Why a setting has its value, in a report."""
Assumed = Annotated[str, AfterValidator(one_of(*(Phrase("{value:value}: " + one.text) for one in _READ)))]
"""The same with the value, in an inspection."""
Value = Annotated[str, AfterValidator(one_of(Phrase("{value:value}")))]
"""Of an option, as a report shows it."""

# ------------------------------------------------------------ scanners

ISSUE_OF_GLOBAL = Phrase("{severity:word}: {name:word}")
ISSUE_OF_RULE = Phrase("{severity:word}: {rule:word} ({name:word})")
NO_PICKLE = Phrase("The scanner reads pickles; a safetensors file holds none.")
SWITCHED_OFF = Phrase("Scanners are switched off for this inspection.")
NOT_INSTALLED = Phrase("The package {package:part} is not installed.")
SCANNER_TOO_LONG = Phrase("The scanner did not end within {seconds:number} seconds.")
SCANNER_NOT_STARTED = Phrase("The scanner could not be started: {error:word}.")
SCANNER_WITHOUT_ANSWER = Phrase("The scanner ended with status {status:number} and no answer.")
Issue = Annotated[
    str,
    AfterValidator(
        one_of(
            *(ISSUE_OF_GLOBAL, ISSUE_OF_RULE, NO_PICKLE, SWITCHED_OFF, NOT_INSTALLED, SCANNER_TOO_LONG),
            *(SCANNER_NOT_STARTED, SCANNER_WITHOUT_ANSWER),
        )
    ),
]
Version = Annotated[str, StringConstraints(pattern=f"^(?:{VERSION}|unknown)$")]
