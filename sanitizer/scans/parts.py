"""The finished parts of a scan, kept in a folder, so that a scan that was stopped does not make them again.

One safetensors file a part: its patterns, and in its metadata the figures and the key of the scan. A file of
another key, and one that cannot be read, counts as none.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import torch
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from sanitizer.perturbations.families import Family
from sanitizer.perturbations.patterns import Pattern

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Part(Generic[T]):
    """What one detector makes of one family: figures, and patterns by the number of the restart."""

    figures: T
    pattern_of: Mapping[int, Pattern]


class Parts:
    """Of one scan, whose `key` names all that decides its figures. `folder` None: nothing is kept."""

    def __init__(self, folder: Path | None, key: str, *, after: Callable[[], None] = lambda: None) -> None:
        """`after` is called when a new part is kept."""
        self._folder, self._key, self._after = folder, key, after

    def once(
        self, name: str, kind: type[T], family_of: Callable[[int], Family] | None, make: Callable[[], Part[T]]
    ) -> tuple[Part[T], bool]:
        """The part of this name from an earlier attempt, else made now; and whether it was made now.

        `family_of` None: it has no patterns.
        """
        path = None
        if self._folder is not None:
            path = self._folder / f"scan-{hashlib.sha256(name.encode()).hexdigest()[:16]}.safetensors"
            known = self._read(path, TypeAdapter(kind), family_of)
            if known is not None:
                return known, False
        part = make()
        if path is not None:
            self._write(path, TypeAdapter(kind), part)
            self._after()
        return part, True

    def _read(
        self, path: Path, adapter: TypeAdapter[T], family_of: Callable[[int], Family] | None
    ) -> Part[T] | None:
        try:
            with safe_open(path, framework="pt") as file:
                about = file.metadata() or {}
                if about.get("key") != self._key:
                    return None
                figures = adapter.validate_json(about["figures"])
                patterns = {
                    int(number): Pattern(family_of(int(number)), value)
                    for number in file.keys()  # noqa: SIM118 - not a dictionary
                    for value in [file.get_tensor(number)]
                    if value.numel() and family_of is not None
                }
        except (OSError, SafetensorError, KeyError, ValidationError, ValueError):
            return None
        return Part(figures=figures, pattern_of=dict(sorted(patterns.items())))

    def _write(self, path: Path, adapter: TypeAdapter[T], part: Part[T]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        tensors = {str(number): one.value.detach().cpu() for number, one in part.pattern_of.items()}
        about = {"key": self._key, "figures": adapter.dump_json(part.figures).decode()}
        save_file(tensors or {"0": torch.zeros(0)}, partial, about)
        partial.replace(path)
