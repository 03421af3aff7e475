"""Class folders as a source of raw labelled samples: one folder a class. Decodes nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from cleanclip.spec.sample_files import IMAGE_EXTENSIONS, MAX_IMAGE_BYTES
from sanitizer.data.manifest import path_inside, read_inside
from sanitizer.data.sources import RawSample

_EXTENSIONS = frozenset(f".{extension}" for extension in IMAGE_EXTENSIONS)


class FolderSource:
    """Images of the class folders, by folder and then by name."""

    num_shards = 1

    def __init__(self, root: Path, label_of_folder: Mapping[str, int]) -> None:
        """Takes the folders of `label_of_folder` in its order; sub-folders are not entered."""
        self._root = root.resolve()
        self._label_of_folder = dict(label_of_folder)
        self._names = [
            f"{folder}/{entry.name}"
            for folder in label_of_folder
            for entry in sorted((root / folder).iterdir())
            if entry.suffix.lower() in _EXTENSIONS and not entry.name.startswith(".")
        ]

    def __len__(self) -> int:
        return len(self._names)

    def key(self, index: int) -> str:
        return self._names[index]

    def read(self, index: int) -> RawSample:
        """The image, and its class index as a `cls` text. Raises BadSample."""
        name = self._names[index]
        label = self._label_of_folder[name.split("/", 1)[0]]
        return RawSample(read_inside(self._root, name, MAX_IMAGE_BYTES), {"cls": str(label).encode()})

    def has_text(self, extensions: frozenset[str]) -> bool:
        return "cls" in extensions and bool(self._names)

    def files(self) -> Iterator[tuple[str, Path | None]]:
        return ((name, path_inside(self._root, name)) for name in self._names)


def class_folders(root: Path) -> list[str]:
    """The names of the folders in `root`, sorted; hidden ones and links are left out."""
    return sorted(
        entry.name
        for entry in root.iterdir()
        if entry.is_dir() and not entry.is_symlink() and not entry.name.startswith(".")
    )
