"""A CSV manifest with images beside it as a source of raw pairs. Knows rows and paths, decodes nothing.

The header names an image column (image, filepath, image_path, path or file_name) and a caption column
(caption, title or text); commas or tabs. Image paths are relative to the manifest's folder and must stay
in it: links are resolved first, so none leads out.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from cleanclip.spec.errors import DatasetRejected
from cleanclip.spec.sample_files import CAPTION_COLUMNS, IMAGE_COLUMNS, MAX_IMAGE_BYTES, MAX_TEXT_BYTES
from sanitizer.data.skipping import BadSample
from sanitizer.data.sources import RawSample

MAX_ROWS = 50_000_000


class ManifestSource:
    """Rows of a manifest, in order. Images are opened when they are read, not before."""

    num_shards = 1

    def __init__(self, manifest: Path) -> None:
        """Raises DatasetRejected: `bad_manifest`, `no_captions`, `too_many_samples`."""
        self._manifest = manifest
        self._folder = manifest.parent.resolve()
        # Bytes that are not UTF-8 become surrogates, so that they spoil their own row and not the file.
        with manifest.open(encoding="utf-8", errors="surrogateescape", newline="") as stream:
            first_line = stream.readline(MAX_TEXT_BYTES)
            stream.seek(0)
            delimiter = "\t" if "\t" in first_line else ","
            try:
                self._rows = _rows(csv.reader(stream, delimiter=delimiter), manifest.name)
            except csv.Error as error:
                raise DatasetRejected(
                    "bad_manifest",
                    f"{manifest.name} is not a readable CSV file ({error}).",
                    "Write it with a CSV library: a header line image,caption, then one row a pair.",
                    where=manifest.name,
                ) from None

    def __len__(self) -> int:
        return len(self._rows)

    def key(self, index: int) -> str:
        row = self._rows[index]
        return f"row {index + 1}" if row is None else row[0]

    def read(self, index: int) -> RawSample:
        row = self._rows[index]
        if row is None:
            raise BadSample("bad_row", "fewer columns than the header")
        name, caption = row
        return RawSample(
            read_inside(self._folder, name, MAX_IMAGE_BYTES),
            {"txt": caption.encode("utf-8", "surrogateescape")},
        )

    def has_text(self, extensions: frozenset[str]) -> bool:
        return "txt" in extensions and bool(self._rows)

    def files(self) -> Iterator[tuple[str, Path | None]]:
        """The manifest, then every image in the order of its rows; those that lead out count as missing."""
        yield self._manifest.name, self._manifest
        for row in self._rows:
            if row is not None:
                yield row[0], path_inside(self._folder, row[0])


def read_inside(folder: Path, name: str, limit: int) -> bytes:
    """The bytes of the regular file `name` under the resolved `folder`. Raises BadSample."""
    path = path_inside(folder, name)
    if path is None:
        raise BadSample("outside_folder", "the path leads out of the dataset's folder")
    try:
        if not path.is_file():
            kind = "not_regular_file" if path.exists() else "missing_file"
            raise BadSample(kind, "there is no regular file of this name")
        with path.open("rb") as stream:
            data = stream.read(limit + 1)
    except OSError as error:
        raise BadSample("missing_file", error.strerror or "cannot be read") from None
    if len(data) > limit:
        raise BadSample("image_too_large", f"more than {limit} bytes")
    return data


def path_inside(folder: Path, name: str) -> Path | None:
    """The path of `name` under the resolved `folder`, links followed; None if it leads out."""
    try:
        path = (folder / name).resolve()
    except (OSError, ValueError, RuntimeError):  # NUL bytes, loops of links, names too long
        return None
    return path if path.is_relative_to(folder) and path != folder else None


def _rows(reader: Iterator[list[str]], name: str) -> list[tuple[str, str] | None]:
    """(image, caption) of every row, None where a column is missing; blank lines are no rows."""
    header = [column.strip().lower().removeprefix("\ufeff") for column in next(reader, [])]
    image_at = next((header.index(column) for column in IMAGE_COLUMNS if column in header), None)
    caption_at = next((header.index(column) for column in CAPTION_COLUMNS if column in header), None)
    if image_at is None or caption_at is None:
        missing = "an image" if image_at is None else "a caption"
        raise DatasetRejected(
            "bad_manifest" if image_at is None else "no_captions",
            f"The header of {name} names no column for {missing}.",
            "Start the file with the line image,caption (or filepath,title).",
            where=name,
        )
    rows: list[tuple[str, str] | None] = []
    for row in reader:
        if not row:
            continue
        if len(rows) >= MAX_ROWS:
            raise DatasetRejected(
                "too_many_samples",
                f"There are more than {MAX_ROWS} rows.",
                "Give fewer.",
                where=name,
            )
        rows.append((row[image_at], row[caption_at]) if len(row) > max(image_at, caption_at) else None)
    return rows
