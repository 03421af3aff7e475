"""The checkpoint that a person names, as the canonical folder that the library reads."""

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cleanclip.vocabulary.jobspec import CONFIG_NAME, WEIGHTS_NAME
from cleanclip.vocabulary.progress import Progress
from cleanclip.vocabulary.recipe import DeclaredOptions
from cleanclip.vocabulary.recommended import Model, model_of
from sanitizer.checkpoints.limits import num_parameters
from sanitizer.checkpoints.safetensors_file import open_safetensors
from sanitizer.pipeline.inspecting import inspect

INSPECTED_NAME = "inspected"
"""Folder under --out for the canonical form of an uploaded file."""


def canonical(path: Path, folder: Path, declared: DeclaredOptions, progress: Progress) -> Path:
    """`path` itself if our own inspection wrote it, else `folder`, into which it is inspected."""
    if _is_canonical(path):
        return path
    inspect(path, folder, declared=declared, filename=path.name, progress=progress)
    return folder


def anchor_in(folder: Path, path: Path | None, progress: Progress) -> Path | None:
    """The canonical folder of an anchor, where one was named; below `folder` if it has to be inspected."""
    return path and canonical(path, folder / f"{INSPECTED_NAME}-anchor", DeclaredOptions(), progress)


def model_in(folder: Path) -> Model | None:
    """Family and size of the canonical weights in `folder`."""
    config = json.loads((folder / CONFIG_NAME).read_text(encoding="utf-8"))
    parts = open_safetensors(folder / WEIGHTS_NAME).parts.items()
    counted = num_parameters((name, part.shape) for name, part in parts)
    return model_of({"architecture": config, "num_parameters": counted})


def _is_canonical(path: Path) -> bool:
    """Whether our own inspection wrote this folder: a Hugging Face folder has another config.json."""
    if not ((path / WEIGHTS_NAME).is_file() and (path / CONFIG_NAME).is_file()):
        return False
    try:
        config = json.loads((path / CONFIG_NAME).read_text(encoding="utf-8"))
    except ValueError:
        return False
    return isinstance(config, dict) and "model_cfg" in config and "checkpoint" in config


@contextmanager
def folder_of(wanted: Path | None) -> Iterator[Path]:
    """The folder that was named with --out, else one that is gone afterwards."""
    if wanted is not None:
        yield wanted
        return
    with tempfile.TemporaryDirectory(prefix="sanitizer-") as scratch:
        yield Path(scratch)
