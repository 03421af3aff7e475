"""Canonical weights and their configuration as bytes: whether they are exactly what we write. Loads no torch.

The child that wrote them had hostile bytes before it. So nothing of its two files is believed but the values
of the tensors: names, shapes, dtypes and their order follow from the architecture, the header is compared
byte by byte with the one that this service writes, and so is the size. No second format has room there.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cleanclip.vocabulary.errors import CheckpointRejected
from cleanclip.vocabulary.jobspec import CONFIG_NAME, WEIGHTS_NAME
from sanitizer.checkpoints.architecture import Architecture
from sanitizer.checkpoints.mapped_file import MappedFile
from sanitizer.checkpoints.safetensors_header import header_bytes, read_header
from sanitizer.checkpoints.shapes import expected_shapes
from worker.failures import outputs_rejected

Tensors = Mapping[str, tuple[str, tuple[int, ...]]]
"""Name → dtype, by the format's own name, and shape."""
_METADATA = {"format": "pt"}
_STATISTICS = (".running_mean", ".running_var", ".num_batches_tracked")
"""BatchNorm's, which inspections do not count."""
_WORDS = {"F16": "float16", "BF16": "bfloat16", "F32": "float32"}
"""Of floats, as inspections and configurations say it; integers are not counted."""


def check_weights(path: Path, architecture: Mapping[str, Any]) -> Tensors:
    """The tensors of a canonical file of this architecture (open_clip's configuration).

    Raises AttemptFailed 'outputs_rejected'.
    """
    expected = expected_shapes(read_architecture(architecture))
    tensors = read_tensors(path)
    if {name: shape for name, (_, shape) in tensors.items()} != expected:
        raise outputs_rejected(f"its {WEIGHTS_NAME} does not have the tensors of the model's architecture")
    return tensors


def read_tensors(path: Path) -> Tensors:
    """The tensors of a file that this service wrote. Raises AttemptFailed 'outputs_rejected'."""
    try:
        file = MappedFile(path)
        tensors = {entry.name: (entry.dtype, entry.shape) for entry in read_header(file)}
    except CheckpointRejected as error:
        raise outputs_rejected(f"its {WEIGHTS_NAME} is not one ({error.code})") from error
    expected = header_bytes(tensors, _METADATA)
    if file.read(0, len(expected)) != expected:
        raise outputs_rejected(f"its {WEIGHTS_NAME} does not begin as this service writes it")
    return tensors


def read_architecture(config: Mapping[str, Any]) -> Architecture:
    """From open_clip's configuration, in the one form that we write. Raises AttemptFailed."""
    try:
        architecture = Architecture.from_config(config)
        if architecture.to_config() == config:
            return architecture
    except (CheckpointRejected, ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        pass
    raise outputs_rejected(f"its {CONFIG_NAME} is not of an architecture that is supported")


def num_parameters(tensors: Tensors) -> int:
    """Trainable numbers, as inspections count them."""
    return sum(math.prod(shape) for name, (_, shape) in tensors.items() if not name.endswith(_STATISTICS))


def dtype_summary(tensors: Tensors) -> str:
    """'float32', or 'float16+float32' for a mixture."""
    return "+".join(sorted({_WORDS[dtype] for dtype, _ in tensors.values() if dtype in _WORDS}))
