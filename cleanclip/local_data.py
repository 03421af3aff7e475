"""Which samples a local folder holds, for `datasets push` and for the library: class folders, images with
captions beside, a CSV or TSV file, or WebDataset shards. Lists and measures files; decodes none.

A file that cannot be used is left out and named; a layout that is not understood is refused, with what is.
"""

import csv
import json
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cleanclip.errors import Unreadable
from cleanclip.packing import Contents, LeftOut, Sample
from cleanclip.vocabulary.jobspec import CLASS_NAMES_NAME, TEMPLATES_NAME
from cleanclip.vocabulary.sample_files import (
    CAPTION_COLUMNS,
    IMAGE_COLUMNS,
    IMAGE_EXTENSIONS,
    LABEL_COLUMNS,
    MAX_IMAGE_BYTES,
    MAX_TAR_MEMBERS,
    MAX_TEXT_BYTES,
)

MAX_CLASSES, MAX_NAME, MAX_TEMPLATE = 25_000, 200, 300
"""Of the service."""
LAYOUTS = (
    "class folders (NAME/a.jpg), images with captions beside them (a.jpg, a.txt), one CSV or "
    "TSV file that names "
    "images and captions or labels, or WebDataset shards (.tar)"
)


def contents_of(
    root: Path,
    *,
    kind: str | None = None,
    class_names: Sequence[str] | None = None,
    templates: Sequence[str] | None = None,
) -> Contents:
    """What `root`, a folder or a CSV file, holds. `kind`: what it has to be, where it may be either.

    `class_names`, in the order of the labels, override those of the folder. Raises Unreadable.
    """
    try:
        found = _layout_of(root, kind, class_names)
    except OSError as cause:
        raise Unreadable(f"{cause.filename or root} cannot be read: {cause.strerror}.") from cause
    if kind is not None and found.kind != kind:
        raise Unreadable(f"{root} holds {found.kind}, not {kind}.")
    if not found.samples:
        why = f" The first of {len(found.left_out)}: {found.left_out[0]}" if found.left_out else ""
        raise Unreadable(f"{root} has no image that can be used. It may have {LAYOUTS}.{why}")
    names = found.class_names or class_names or _lines(found.base / CLASS_NAMES_NAME)
    if found.kind == "labelled" and not names:
        raise Unreadable(
            f"{root} has class numbers but no {CLASS_NAMES_NAME}. Write that file (one class "
            "name per line, in the order of the numbers), or give --class-names."
        )
    if found.kind == "pairs" and (class_names or templates):
        raise Unreadable(f"{root} holds pairs, which have no classes.")
    is_labelled = found.kind == "labelled"
    templates = tuple(templates or ()) or _lines(found.base / TEMPLATES_NAME)
    if is_labelled:
        _check_names(root, names or (), templates or ())
    return Contents(
        root=found.base,
        kind=found.kind,
        samples=found.samples,
        class_names=tuple(names or ()) if is_labelled else None,
        templates=templates if is_labelled else None,
        left_out=found.left_out,
    )


def _check_names(root: Path, names: Sequence[str], templates: Sequence[str]) -> None:
    """Raises Unreadable for what the service would refuse once everything was sent."""
    if not 2 <= len(names) <= MAX_CLASSES or len(set(names)) != len(names):
        noun = "class" if len(names) == 1 else "classes"
        raise Unreadable(f"{root} has {len(names)} {noun}; 2 to {MAX_CLASSES:,} are taken, each once.")
    if too_long := next((name for name in names if len(name) > MAX_NAME), None):
        raise Unreadable(f"The class {too_long[:60]!r}… has more than {MAX_NAME} characters.")
    if wrong := next((one for one in templates if "{c}" not in one or len(one) > MAX_TEMPLATE), None):
        raise Unreadable(
            f"The template {wrong[:60]!r} has no {{c}} for the class, or more than {MAX_TEMPLATE} characters."
        )


@dataclass(kw_only=True)
class _Layout:
    """Samples of a folder as they are found."""

    base: Path
    kind: str
    class_names: tuple[str, ...] | None = None
    samples: list[Sample] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)

    def take(self, path: Path, name: str, text: str | None) -> None:
        """The image at `path`, called `name` in messages, unless it cannot be used."""
        base = self.base.resolve()
        try:
            real = path.resolve()
            is_inside, is_file = real.is_relative_to(base) and real != base, real.is_file()
            exists = is_file or real.exists()
        except (OSError, ValueError, RuntimeError):  # loops of links, NUL bytes, names too long
            real, is_inside, is_file, exists = path, True, False, False
        if not is_inside:
            self.leave_out(name, "outside_folder", "is outside the folder")
        elif not is_file:
            reason = "not_regular_file" if exists else "missing_file"
            self.leave_out(name, reason, "is not a regular file" if exists else "does not exist")
        else:
            self.take_part(real, 0, real.stat().st_size, name, text)

    def leave_out(self, name: str, reason: str, detail: str) -> None:
        self.left_out.append(LeftOut(name, reason, detail))

    def take_part(self, path: Path, offset: int, size_bytes: int, name: str, text: str | None) -> None:
        extension = name.rpartition(".")[2].lower()
        data = (text or "").encode("utf-8", "surrogateescape")
        what = "label" if self.kind == "labelled" else "caption"
        if extension not in IMAGE_EXTENSIONS:
            self.leave_out(name, "no_image", f"is not one of {', '.join(IMAGE_EXTENSIONS)}")
        elif not 0 < size_bytes <= MAX_IMAGE_BYTES:
            reason = "image_too_large" if size_bytes else "image_damaged"
            self.leave_out(name, reason, f"has {size_bytes:,} bytes; 1 to {MAX_IMAGE_BYTES:,} are taken")
        elif text is None or not data.strip():
            is_empty = text is not None and what == "caption"
            self.leave_out(name, "empty_caption" if is_empty else f"no_{what}", f"has no {what}")
        elif len(data) > MAX_TEXT_BYTES:
            self.leave_out(name, "text_too_large", f"has a {what} of more than {MAX_TEXT_BYTES:,} bytes")
        elif 2 * len(self.samples) >= MAX_TAR_MEMBERS:
            raise Unreadable(
                f"There are more than {MAX_TAR_MEMBERS // 2:,} samples. Put larger sets into an object store "
                "that the service reads: `cleanclip datasets add s3://…`."
            )
        else:
            self.samples.append(
                Sample(
                    name=name,
                    path=path,
                    offset=offset,
                    size_bytes=size_bytes,
                    mtime_ns=path.stat().st_mtime_ns,
                    extension=extension,
                    text=data,
                )
            )


def _layout_of(root: Path, kind: str | None, class_names: Sequence[str] | None) -> _Layout:
    if root.is_file():
        if root.suffix.lower() not in (".csv", ".tsv"):
            raise Unreadable(
                f"{root} is not a folder and not a CSV or TSV file. A checkpoint is sent with `cleanclip "
                "upload`; of a .tar shard give the folder."
            )
        return _of_table(root, kind, class_names)
    entries = sorted(one for one in root.iterdir() if not one.name.startswith("."))
    tables = [one for one in entries if one.suffix.lower() in (".csv", ".tsv")]
    shards = [one for one in entries if one.suffix.lower() == ".tar"]
    if len(tables) > 1:
        raise Unreadable(
            f"{root} has {len(tables)} CSV or TSV files. Give one of them instead of the folder."
        )
    if tables and shards:
        raise Unreadable(
            f"{root} has shards and a CSV or TSV file. Give the file instead of the folder, or remove one."
        )
    if tables:
        return _of_table(tables[0], kind, class_names)
    if shards:
        return _of_shards(root, shards, kind)
    if any(one.is_file() and _is_image(one.name) for one in entries):
        return _of_captions(root, entries)
    return _of_class_folders(root, [one for one in entries if _is_folder_of(root, one)], class_names)


def _is_folder_of(root: Path, entry: Path) -> bool:
    """No link that leads out."""
    return entry.is_dir() and entry.resolve().is_relative_to(root.resolve())


def _is_image(name: str) -> bool:
    return name.rpartition(".")[2].lower() in IMAGE_EXTENSIONS


def _of_class_folders(root: Path, folders: Sequence[Path], class_names: Sequence[str] | None) -> _Layout:
    """One folder a class. Class names, given or of the folder's list, are those of the folders in another
    order, or one for each folder in their sorted order."""
    own = tuple(one.name for one in folders)
    names = tuple(class_names or _lines(root / CLASS_NAMES_NAME) or own)
    number_of = _numbers_of(root, own, names)
    found = _Layout(base=root, kind="labelled", class_names=names)
    for folder in folders:
        for path in sorted(folder.iterdir()):
            if _is_image(path.name) and not path.name.startswith("."):
                found.take(path, f"{folder.name}/{path.name}", number_of[folder.name])
    return found


def _numbers_of(root: Path, folders: Sequence[str], names: Sequence[str]) -> dict[str, str]:
    """The class of each folder. Raises Unreadable."""
    if {*folders} <= {*names} and len({*names}) == len(names):
        return {folder: str(names.index(folder)) for folder in folders}
    alike = {folder.casefold() for folder in folders} & {name.casefold() for name in names}
    if len(folders) != len(names) or alike:
        raise Unreadable(
            f"{root} has {len(folders)} folders; {len(names)} class names were given, not exactly those of "
            "the folders. List the folders' names, or one name for each in their sorted order."
        )
    return {folder: str(number) for number, folder in enumerate(folders)}  # other names: n01440764


def _of_captions(root: Path, entries: Sequence[Path]) -> _Layout:
    found = _Layout(base=root, kind="pairs")
    for path in entries:
        if _is_image(path.name):
            caption = path.with_suffix(".txt")
            text = _text(caption) if caption.is_file() else None
            found.take(path, path.name, text)
    return found


def _of_table(table: Path, kind: str | None, class_names: Sequence[str] | None) -> _Layout:
    """Paths are relative to the table's folder and stay in it."""
    try:
        with table.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as stream:
            is_tabbed = "\t" in stream.readline(MAX_TEXT_BYTES)
            stream.seek(0)
            rows = csv.reader(stream, delimiter="\t" if is_tabbed else ",")
            header = [column.strip().lower() for column in next(rows, [])]
            image_at, caption_at, label_at = (
                next((header.index(one) for one in columns if one in header), None)
                for columns in (IMAGE_COLUMNS, CAPTION_COLUMNS, LABEL_COLUMNS)
            )
            text_at = label_at if kind == "labelled" or caption_at is None else caption_at
            if image_at is None or text_at is None:
                raise Unreadable(
                    f"The first line of {table} must name a column for images ({', '.join(IMAGE_COLUMNS)}) "
                    f"and one for captions ({', '.join(CAPTION_COLUMNS)}) or labels "
                    f"({', '.join(LABEL_COLUMNS)})."
                )
            wanted = max(image_at, text_at)
            whole = [(n, row) for n, row in enumerate(filter(None, rows), 1)]
            listed = [(row[image_at], row[text_at].strip()) for _, row in whole if len(row) > wanted]
            cut = [n for n, row in whole if len(row) <= wanted]
    except csv.Error as cause:
        raise Unreadable(f"{table} is not a readable CSV file: {cause}.") from cause
    found = _Layout(base=table.parent, kind="labelled" if text_at == label_at else "pairs")
    if found.kind == "labelled":
        listed = _numbered(found, listed, class_names)
    for name, text in listed:
        found.take(found.base / name, name, text)
    for number in cut:
        found.leave_out(f"row {number}", "bad_row", "has fewer columns than the header")
    return found


def _numbered(
    found: _Layout, listed: list[tuple[str, str]], class_names: Sequence[str] | None
) -> list[tuple[str, str]]:
    """Labels as numbers; where they are names, these are the classes, sorted unless given in an order."""
    labels = {label for _, label in listed}
    if all(label.isascii() and label.isdecimal() for label in labels):
        return listed
    names = tuple(class_names or _lines(found.base / CLASS_NAMES_NAME) or sorted(labels))
    found.class_names = names
    number_of = {name: str(number) for number, name in enumerate(names)}
    return [(image, number_of.get(label, "")) for image, label in listed]


def _of_shards(root: Path, shards: Sequence[Path], kind: str | None) -> _Layout:
    found: _Layout | None = None
    for shard in shards:
        for key, image, texts in _samples_of(shard):
            if found is None:
                is_labelled = "cls" in texts if kind is None else kind == "labelled"
                found = _Layout(base=root, kind="labelled" if is_labelled else "pairs")
            text = texts.get("cls" if found.kind == "labelled" else "txt")
            if image is None:
                found.leave_out(f"{shard.name}: {key}", "no_image", "has no image")
            else:
                found.take_part(shard, image.offset_data, image.size, f"{shard.name}: {image.name}", text)
    return found or _Layout(base=root, kind=kind or "pairs")


def _samples_of(shard: Path) -> Iterator[tuple[str, tarfile.TarInfo | None, dict[str, str]]]:
    """Members side by side whose names are the same up to the first dot. A caption may stand in .json."""
    key: str | None = None
    image: tarfile.TarInfo | None = None
    texts: dict[str, str] = {}
    try:
        with tarfile.open(shard, "r:") as archive:
            for member in archive:
                archive.members = []  # type: ignore[attr-defined]  # else it keeps every header
                stem, _, extension = member.name.rpartition("/")[2].partition(".")
                if not member.isreg() or stem.startswith("__"):
                    continue
                if stem != key:
                    if key is not None:
                        yield key, image, texts
                    key, image, texts = stem, None, {}
                extension = extension.lower()
                if extension in IMAGE_EXTENSIONS:
                    image = member
                elif extension in ("txt", "cls", "json") and member.size <= MAX_TEXT_BYTES:
                    file = archive.extractfile(member)
                    data = b"" if file is None else file.read()
                    texts = _named_texts(extension, data.decode("utf-8", "surrogateescape")) | texts
    except tarfile.TarError as cause:
        raise Unreadable(
            f"{shard} is not a plain .tar file: {cause}. Compressed shards are not read."
        ) from cause
    if key is not None:
        yield key, image, texts


def _named_texts(extension: str, text: str) -> dict[str, str]:
    if extension != "json":
        return {extension: text.strip()}
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    wanted = {"txt": "caption", "cls": "cls"} if isinstance(content, dict) else {}
    return {kind: str(content[name]) for kind, name in wanted.items() if name in content}


def _text(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(MAX_TEXT_BYTES + 1).decode("utf-8", "surrogateescape").strip()


def _lines(path: Path) -> tuple[str, ...] | None:
    if not path.is_file():
        return None
    lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    return tuple(line.strip() for line in lines if line.strip()) or None
