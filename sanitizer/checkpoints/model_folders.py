"""A folder as Hugging Face or open_clip keep a model: weights, a configuration beside them. Library use only.

Only JSON and weights are read. The configuration fills in options that were not declared; it never decides
the architecture, which comes from the tensors.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from cleanclip.vocabulary import inspection_phrases as phrases
from cleanclip.vocabulary.errors import CheckpointRejected
from cleanclip.vocabulary.recipe import DeclaredOptions, parse
from sanitizer.checkpoints.architecture import Architecture
from sanitizer.checkpoints.digests import file_sha256
from sanitizer.checkpoints.rejection import excerpt, refusal
from sanitizer.checkpoints.siglip_configs import PooledTransformer
from sanitizer.checkpoints.timm_configs import TimmTower
from sanitizer.checkpoints.tower_configs import ModifiedResNet

_MAX_JSON_BYTES = 2**20
_WEIGHTS = (
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.bin",
    "model.safetensors",
    "pytorch_model.bin",
)
_LOADED_BY_NAME = {
    *_WEIGHTS,
    *("open_clip_pytorch_model.safetensors", "open_clip_pytorch_model.pth", "pytorch_model.pth", "model.pth"),
    *("model.safetensors.index.json", "pytorch_model.bin.index.json", "tf_model.h5", "flax_model.msgpack"),
    *("adapter_config.json", "adapter_model.safetensors", "adapter_model.bin"),
}
"""Files that transformers or open_clip would load weights from, or put on top of others."""
_CONFIGS = ("open_clip_config.json", "config.json")
_OF_TRANSFORMERS = ("model.safetensors", "pytorch_model.bin")
_OF_A_CLIP = {"model_type", "text_config", "vision_config", "text_config_dict", "vision_config_dict"}
_TANH_FORMS = ("gelu_new", "gelu_pytorch_tanh", "gelu_fast")
_LEGACY_END_TOKEN = 2  # configurations before transformers 4.31 say 2 and mean the highest token


def find_weights(folder: Path) -> Path:
    """The one weights file of `folder`.

    Raises CheckpointRejected: 'folder_ambiguous', 'folder_sharded', 'folder_without_weights'.
    """
    names = sorted(name for name in _LOADED_BY_NAME if (folder / name).is_file())
    if len(names) > 1:
        raise refusal(
            "folder_ambiguous",
            f"The folder holds several files of weights, {', '.join(names)}: which is loaded differs.",
            "Keep one of them in the folder.",
            where=names[1],
        )
    for name in _WEIGHTS:
        if (folder / name).is_file():
            return folder / name
    if any(folder.glob("*.index.json")):
        raise refusal(
            "folder_sharded",
            "The weights are split over several files.",
            "Save the model again with a shard size larger than the model.",
        )
    raise refusal(
        "folder_without_weights",
        "The folder has no weights file.",
        f"It must hold one of {', '.join(_WEIGHTS)}.",
    )


def options_beside(
    folder: Path, declared: DeclaredOptions, *, weights: str = ""
) -> tuple[DeclaredOptions, dict[str, str]]:
    """`declared`, completed from the folder's configuration; and which options that was, with their source.

    Of two configurations it is the one of the library whose name the file `weights` has. A config.json that
    is of no CLIP in its own words says nothing beside open_clip's.

    Raises CheckpointRejected 'config_invalid' (no JSON, out of bounds), 'config_unsupported' (no plain CLIP).
    """
    reported = {name: _options_in(folder, name) for name in _CONFIGS if (folder / name).is_file()}
    names = [name for name, options in reported.items() if options]
    if not names:
        return declared, {}
    name = names[-1] if weights in _OF_TRANSFORMERS else names[0]
    found = reported[name]
    _check_configurations_agree([reported[one] for one in names])
    values = {f.name: getattr(declared, f.name) for f in fields(declared)}
    given = {key: value for key, value in found.items() if values[key] is None and value is not None}
    try:
        merged = parse(DeclaredOptions, values | given)
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise _invalid(name, f"its value for {where} is out of bounds") from None
    return merged, dict.fromkeys(given, phrases.CONFIGURATION(name=name))


def _options_in(folder: Path, name: str) -> dict[str, Any]:
    """Empty: the file does not say of itself that it is of a CLIP, as timm's do not."""
    config = _read_json(folder / name)
    if "model_cfg" in config:
        return _from_open_clip(folder, config)
    is_beside_open_clips = (folder / _CONFIGS[0]).is_file() and config.get("model_type") not in _USUAL
    if is_beside_open_clips or not _OF_A_CLIP & config.keys():
        return {}
    return _from_huggingface(folder, config)


def _check_configurations_agree(reported: Sequence[Mapping[str, Any]]) -> None:
    """open_clip reads one of them and transformers the other; both build the same heads and activation, or it
    is refused."""
    for option in ("num_heads_text", "num_heads_vision", "quick_gelu", "gelu_tanh"):
        if reported[0].get(option) != reported[-1].get(option):
            raise _invalid(_CONFIGS[1], f"its value for {option} is not that of {_CONFIGS[0]}")


def _invalid(name: str, what: str) -> CheckpointRejected:
    return refusal(
        "config_invalid",
        f"The folder's {name} cannot be used: {excerpt(what)}.",
        "Save the model again with its library.",
        where=name,
    )


def _unsupported(what: str, remedy: str) -> CheckpointRejected:
    return refusal("config_unsupported", what, remedy, where="config.json")


def _read_json(path: Path) -> dict[str, Any]:
    if path.stat().st_size > _MAX_JSON_BYTES:
        raise _invalid(path.name, "it is too large")
    try:
        value: Any = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError):
        raise _invalid(path.name, "it is not valid JSON") from None
    if not isinstance(value, dict):
        raise _invalid(path.name, "it is not a JSON object")
    return value


def _from_open_clip(folder: Path, config: dict[str, Any]) -> dict[str, Any]:
    try:
        architecture = Architecture.from_config(config)
    except (KeyError, TypeError, ValueError, AttributeError, ZeroDivisionError):
        raise _invalid("open_clip_config.json", "its model_cfg is malformed") from None
    vision, text = architecture.vision, architecture.text
    options: dict[str, Any] = {
        "quick_gelu": architecture.quick_gelu,
        "gelu_tanh": architecture.gelu_tanh,
        "image_mean": architecture.image_mean,
        "image_std": architecture.image_std,
        "resize_mode": architecture.resize_mode,
        "image_size": vision.image_size,
        "num_heads_text": text.blocks.heads,
        "norm_eps_text": text.blocks.norm_eps,
        "text_pool": text.pool,
        "text_eos_id": text.eos_id if text.pool == "eos" else None,
        "text_causal": text.causal,
    }
    if isinstance(vision, ModifiedResNet):
        return options | {"num_heads_vision": vision.heads}
    if isinstance(vision, TimmTower):
        return options
    options |= {"num_heads_vision": vision.blocks.heads, "norm_eps_vision": vision.blocks.norm_eps}
    if isinstance(vision, PooledTransformer):  # each tower has its own GELU, by its shape
        return options | {"gelu_tanh": None, "tokenizer": _tokenizer(folder)}
    return options | {
        "vision_pool": vision.pool,
        "vision_final_ln_after_pool": vision.final_ln_after_pool,
    }


def _from_huggingface(folder: Path, config: dict[str, Any]) -> dict[str, Any]:
    usual = _USUAL.get(model_type := config.get("model_type", "clip"))
    if usual is None:
        raise _unsupported(
            f"The folder holds a model of type '{excerpt(model_type, 40)}'.",
            "Upload a model of type 'clip' (CLIPModel) or 'siglip' (SiglipModel).",
        )
    # A *_config_dict, where an old file has one, replaces the whole section; so does transformers.
    text = _section(config, "text_config_dict") or _section(config, "text_config")
    vision = _section(config, "vision_config_dict") or _section(config, "vision_config")
    options: dict[str, Any] = {
        "num_heads_text": text.get("num_attention_heads", usual.num_heads_text),
        "num_heads_vision": vision.get("num_attention_heads", 12),
        "norm_eps_text": text.get("layer_norm_eps", usual.norm_eps),
        "norm_eps_vision": vision.get("layer_norm_eps", usual.norm_eps),
        "image_size": vision.get("image_size", 224),
    }
    options |= _activation(text, vision, usual.activation) | _normalisation(folder)
    return options | (_pooling(text) if model_type == "clip" else {"tokenizer": _tokenizer(folder)})


def _section(config: Mapping[str, Any], name: str) -> dict[str, Any]:
    section = config.get(name) or {}
    if not isinstance(section, dict):
        raise _invalid("config.json", f"{name} is not a JSON object")
    return section


@dataclass(frozen=True)
class _Usual:
    """What transformers takes where a configuration of this type leaves it out."""

    num_heads_text: int
    norm_eps: float
    activation: str


_USUAL = {"clip": _Usual(8, 1e-5, "quick_gelu"), "siglip": _Usual(12, 1e-6, "gelu_pytorch_tanh")}


def _tokenizer(folder: Path) -> str | None:
    path = folder / "tokenizer.json"
    return file_sha256(path) if path.is_file() else None


def _activation(text: dict[str, Any], vision: dict[str, Any], usual: str) -> dict[str, Any]:
    names = {str(section.get("hidden_act", usual)) for section in (text, vision)}
    name = names.pop()
    if names or name not in ("quick_gelu", "gelu", *_TANH_FORMS):
        raise _unsupported(
            "The towers use different activations, or one that open_clip's CLIP does not have.",
            "Both must be 'quick_gelu', or both 'gelu'.",
        )
    return {"quick_gelu": name == "quick_gelu", "gelu_tanh": name in _TANH_FORMS}


def _pooling(text: dict[str, Any]) -> dict[str, Any]:
    end = text.get("eos_token_id", 49407)
    if isinstance(end, list) and len(end) == 1:
        end = end[0]
    if not isinstance(end, int):
        raise _unsupported(
            "eos_token_id is not one number.", "Give the one end token that the model was trained with."
        )
    if end == _LEGACY_END_TOKEN:
        return {"text_pool": "argmax"}
    return {"text_pool": "eos", "text_eos_id": end}


def _normalisation(folder: Path) -> dict[str, Any]:
    path = folder / "preprocessor_config.json"
    if not path.is_file():
        return {}
    config = _read_json(path)
    size = config.get("size")
    is_squashed = isinstance(size, dict) and {"height", "width"} <= size.keys()
    options = {"resize_mode": "squash" if is_squashed else "shortest"}
    if config.get("do_normalize") is False:
        return options | {"image_mean": (0.0, 0.0, 0.0), "image_std": (1.0, 1.0, 1.0)}
    return options | {"image_mean": config.get("image_mean"), "image_std": config.get("image_std")}
