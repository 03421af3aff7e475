"""From the canonical files to a model in memory. Reads what `writing` wrote, still without trusting it.

Architecture → open_clip's `CLIP` or one with parts of timm's, on any device; on "meta" it costs nothing.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from open_clip.model import CLIP
from open_clip.tokenizer import SimpleTokenizer, get_clean_fn
from torch import Tensor

from cleanclip.vocabulary.jobspec import CONFIG_NAME, WEIGHTS_NAME
from sanitizer.checkpoints.architecture import Architecture
from sanitizer.checkpoints.digests import file_sha256
from sanitizer.checkpoints.rejection import excerpt, refusal
from sanitizer.checkpoints.safetensors_file import open_safetensors
from sanitizer.checkpoints.settings import Settings
from sanitizer.checkpoints.tensors import causal_mask, check_finite, described
from sanitizer.checkpoints.timm_configs import TimmTower
from sanitizer.checkpoints.tokenizer_file import own_tokenizer
from sanitizer.checkpoints.writing import check_state_dict, mismatch


def build_clip(architecture: Architecture, *, device: str = "cpu") -> CLIP:
    """A freshly initialised CLIP in fp32. Raises CheckpointRejected where open_clip refuses the shape."""
    config = architecture.to_config()["model_cfg"]
    try:
        with torch.device(device):
            if architecture.has_text_apart or isinstance(architecture.vision, TimmTower):
                # It loads timm, which takes a second and which no other model needs.
                from sanitizer.checkpoints.timm_model import build_with_timm  # noqa: PLC0415

                return build_with_timm(architecture)
            return CLIP(**config)
    except (AssertionError, ValueError, RuntimeError, ZeroDivisionError) as error:
        raise refusal(
            "architecture_not_buildable",
            f"open_clip cannot build {architecture.name}: {error}.",
            "Check the declared options (numbers of heads, image size) against the model that was trained.",
        ) from error


def assemble(architecture: Architecture, tensors: dict[str, Tensor]) -> CLIP:
    """The model with exactly these fp32 tensors as its weights (no copy), in eval mode, on the CPU.

    Raises CheckpointRejected 'architecture_mismatch' where open_clip's own keys or shapes are others.
    """
    model = build_clip(architecture, device="meta")
    try:
        model.load_state_dict(tensors, strict=True, assign=True)
    except RuntimeError as error:
        raise mismatch(architecture, f"open_clip says: {excerpt(error, 200)}") from error
    if architecture.text.causal:
        masked = model.text if architecture.has_text_apart else model
        masked.register_buffer("attn_mask", causal_mask(architecture.context_length), persistent=False)
    if isinstance(architecture.vision, TimmTower):
        from sanitizer.checkpoints.timm_model import compute_buffers  # noqa: PLC0415 — as above

        compute_buffers(model.visual)
    return model.eval()


_MAX_CONFIG_BYTES = 32 * 2**20
_WRITTEN_BY_INSPECT = "Inspect the upload again; it writes both files again."


@dataclass
class LoadedCheckpoint:
    """A CLIP ready for use: fp32, eval mode, on the CPU, with what is known of its origin."""

    model: CLIP
    architecture: Architecture
    weights_sha256: str
    provenance: dict[str, Any] = field(default_factory=dict)

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        """int64 [N, context_length]: start, byte pairs, end, zeros; a text too long is cut, its end kept. A
        SigLIP's are those of its own tokenizer, of the text as open_clip cleans it."""
        if self.architecture.is_siglip:
            encode = own_tokenizer(self.architecture)
            return torch.tensor([encode(_cleaned(text)) for text in texts], dtype=torch.int64)
        tokens: Tensor = _tokenizer()(list(texts), context_length=self.architecture.context_length)
        return tokens


_cleaned = get_clean_fn("canonicalize")


@cache
def _tokenizer() -> SimpleTokenizer:
    return SimpleTokenizer()


def load_canonical(folder: Path, architecture: Architecture | None = None) -> LoadedCheckpoint:
    """Load `folder`/model.safetensors and config.json, under the latter's architecture or the one given.

    Raises CheckpointRejected: 'canonical_missing', 'canonical_damaged' (digest or configuration), and
    whatever reading safetensors and comparing shapes raises.
    """
    config = _read_config(folder)
    architecture = architecture or Architecture.from_config(config)
    if architecture.is_siglip:
        own_tokenizer(architecture)  # what is not there is said before an hour of training
    provenance = dict(config.get("checkpoint", {}))
    weights = folder / WEIGHTS_NAME
    digest = file_sha256(weights)
    if provenance.get("weights_sha256", digest) != digest:
        raise refusal(
            "canonical_damaged",
            f"{WEIGHTS_NAME} is not the file that {CONFIG_NAME} was written for.",
            _WRITTEN_BY_INSPECT,
            where=WEIGHTS_NAME,
        )
    lazy = open_safetensors(weights)
    check_state_dict({name: shape for name, (_, shape) in described(lazy).items()}, architecture)
    tensors: dict[str, Tensor] = {}
    for name, tensor in lazy.items():
        check_finite(name, tensor)
        # A copy in every case: the model must outlive the file and may be trained in place.
        tensors[name] = tensor.to(torch.float32 if tensor.is_floating_point() else tensor.dtype, copy=True)
    return LoadedCheckpoint(
        model=assemble(architecture, tensors),
        architecture=architecture,
        weights_sha256=digest,
        provenance=provenance,
    )


def with_settings(checkpoint: LoadedCheckpoint, settings: Settings) -> LoadedCheckpoint:
    """The same weights (no copy), on their device, under other settings."""
    architecture = settings.applied(checkpoint.architecture)
    tensors = dict(checkpoint.model.state_dict())
    device = next(iter(tensors.values())).device
    return replace(checkpoint, model=assemble(architecture, tensors).to(device), architecture=architecture)


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG_NAME
    if not path.is_file() or not (folder / WEIGHTS_NAME).is_file():
        raise refusal(
            "canonical_missing", f"{WEIGHTS_NAME} and {CONFIG_NAME} are not both there.", _WRITTEN_BY_INSPECT
        )
    if path.stat().st_size > _MAX_CONFIG_BYTES:
        raise refusal(
            "canonical_damaged", f"{CONFIG_NAME} is too large.", _WRITTEN_BY_INSPECT, where=CONFIG_NAME
        )
    try:
        config: Any = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        config = None
    if not isinstance(config, dict) or "model_cfg" not in config:
        raise refusal(
            "canonical_damaged",
            f"{CONFIG_NAME} is not a configuration.",
            _WRITTEN_BY_INSPECT,
            where=CONFIG_NAME,
        )
    return config
