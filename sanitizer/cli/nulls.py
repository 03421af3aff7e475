"""`python -m sanitizer null`, each of its commands a function of what was typed."""

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import open_clip
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cleanclip.vocabulary.errors import OptionsRejected
from cleanclip.vocabulary.jobspec import EXIT_REFUSED, EXIT_SUCCEEDED, STATE_PATH
from cleanclip.vocabulary.null_set import NullSet, dump_null
from cleanclip.vocabulary.recipe import DeclaredOptions
from sanitizer.cli import reference_hub
from sanitizer.cli.arguments import declared_from, scan_spec
from sanitizer.cli.canonical import anchor_in, canonical
from sanitizer.cli.null_signature import say, signed_null
from sanitizer.cli.reference_lists import read_list, shipped, write_list
from sanitizer.cli.terminal import Bars
from sanitizer.data import public_images
from sanitizer.pipeline.judging_null import read_null
from sanitizer.pipeline.nulls import Reference, build_null
from sanitizer.pipeline.places import Places
from sanitizer.run import Run
from sanitizer.training.device import pick
from sanitizer.whole_files import write_whole
from sanitizer.work.running import StopFlag

_EACH = "Runs that share data or start each count."


def _null(arguments: argparse.Namespace, out: Console, err: Console) -> int:
    if arguments.null_command == "verify":
        say(out, signed_null(arguments.file, key_file=arguments.key, signature_file=arguments.signature))
        return EXIT_SUCCEEDED
    of_command = {"show": _show, "list": _print_list, "pin": _pin, "images": _write_images}
    if arguments.null_command in of_command:
        return of_command[arguments.null_command](arguments, out)
    return _build(arguments, out, err)


def _build(arguments: argparse.Namespace, out: Console, err: Console) -> int:
    """The file is written last; what was measured before an interruption is kept in FILE.state/."""
    declared = declared_from(arguments)
    state = arguments.out.with_name(f"{arguments.out.name}.{STATE_PATH}")
    with tempfile.TemporaryDirectory(prefix="null-") as scratch, Bars(err) as bars, StopFlag() as stop:
        references = [_reference(typed, declared, bars) for typed in arguments.models]
        name, about = arguments.name, arguments.about
        if arguments.list is not None:
            listed, counts = read_list(arguments.list), arguments.each_run_counts
            references += reference_hub.references(listed, bars, each_run_counts=counts)
            name, about = name or listed.name, " ".join([about or listed.about, *([_EACH] if counts else [])])
        anchor = anchor_in(Path(scratch), arguments.anchor, bars)
        places = Places(checkpoint=Path(scratch), data=arguments.labelled, anchor=anchor, state=state)
        run = Run(device=pick(arguments.device), progress=bars, stop=stop)
        made = build_null(
            references,
            places,
            scan_spec(arguments),
            run,
            name=name or arguments.out.stem,
            about=about,
            fine_tunes_of=arguments.fine_tunes_of,
        )
    write_whole(arguments.out, dump_null(made), is_shared=True)
    _print_null(out, made)
    return EXIT_SUCCEEDED


def _reference(typed: str, declared: DeclaredOptions, bars: Bars) -> Reference:
    """A path or an open_clip tag, with "BASE=" before it where it has one."""
    base, _, model = typed.rpartition("=")

    def obtain(folder: Path) -> Path:
        path = Path(model)
        return canonical(path if path.exists() else _downloaded(model), folder / "canonical", declared, bars)

    return Reference(source=model, obtain=obtain, base=base or None)


def _downloaded(tag: str) -> Path:
    """The file of an open_clip tag, "ViT-B-32:openai", from its hub. Raises OptionsRejected."""
    name, _, pretrained = tag.partition(":")
    found = open_clip.get_pretrained_cfg(name, pretrained) if pretrained else {}
    if not found:
        raise OptionsRejected(
            "null_model_unknown",
            f"'{tag}' is neither a file or folder nor an open_clip tag.",
            "Name a checkpoint, or a tag like ViT-B-32:openai.",
        )
    try:
        return Path(open_clip.download_pretrained(found))
    except Exception as error:  # the hub's library raises what its own libraries raise
        raise OptionsRejected(
            "null_model_unreachable",
            f"'{tag}' could not be fetched: {type(error).__name__}.",
            "Fetch the file elsewhere and name it here.",
        ) from error


def _pin(arguments: argparse.Namespace, out: Console) -> int:
    """Writes what could be pinned; what the hub does not have is named and stays as it was."""
    listed, missing = reference_hub.pinned(read_list(arguments.list))
    arguments.out.write_text(write_list(listed), encoding="utf-8")
    for line in missing:
        out.print(f"not pinned: {line}", highlight=False, markup=False)
    num_pinned = sum(one.is_pinned for one in listed.models)
    out.print(f"{arguments.out}: {num_pinned} of {len(listed.models)} models are pinned.", highlight=False)
    return EXIT_SUCCEEDED if num_pinned == len(listed.models) else EXIT_REFUSED


def _print_list(arguments: argparse.Namespace, out: Console) -> int:
    """Of one list its models, too."""
    table = Table(title_justify="left", title="Lists of reference models" if arguments.list is None else None)
    for column in ("list", "entries", "kin", "smallest p", "if each entry counts"):
        table.add_column(column, overflow="fold")
    names = shipped() if arguments.list is None else [arguments.list]
    for name in names:
        one = read_list(name)
        counts = (f"{len(one.models)}", f"{len(one.kin)}")
        smallest = (f"{one.smallest_p(each_counts=each):.3f}" for each in (False, True))
        table.add_row(escape(name), *counts, *smallest)
    out.print(table)
    if arguments.list is not None:
        out.print(escape(one.about), highlight=False)
        for model in one.models:
            pinned = "" if model.is_pinned else " (not pinned)"
            out.print(f"{model.kin}: {model.source}{pinned}", highlight=False, markup=False, soft_wrap=True)
    return EXIT_SUCCEEDED


def _write_images(arguments: argparse.Namespace, out: Console) -> int:
    public_images.write(arguments.out, size=arguments.size)
    num, classes = public_images.NUM_IMAGES, len(public_images.CLASS_NAMES)
    out.print(f"{arguments.out}: {num} images of {classes} classes, {arguments.size} px.", highlight=False)
    return EXIT_SUCCEEDED


def _show(arguments: argparse.Namespace, out: Console) -> int:
    null = read_null(arguments.file)
    if arguments.json:
        sys.stdout.write(dump_null(null).decode())
    else:
        _print_null(out, null)
    return EXIT_SUCCEEDED


def _print_null(out: Console, null: NullSet) -> None:
    table = Table(title=escape(null.name), show_header=False, title_justify="left")
    table.add_row("models", f"{len(null.models)}")
    table.add_row("smallest p", f"{null.used.smallest_p:.3g}")
    table.add_row("classes", f"{null.num_classes}, SHA-256 {null.class_names_sha256}")
    table.add_row("images", f"SHA-256 {null.images_sha256}")
    table.add_row("detectors", ", ".join(null.options.detectors))
    if null.anchor_sha256 is not None:
        table.add_row("anchor", f"SHA-256 {null.anchor_sha256}")
    table.add_row("seed", f"{null.seed}")
    table.add_row("about", escape(null.about))
    table.add_row("SHA-256", null.sha256)
    out.print(table)


COMMANDS: dict[str, Callable[[argparse.Namespace, Console, Console], int]] = {"null": _null}
