"""Pictures of what the scan found and of what it missed, beside the page. Scans nothing."""

from __future__ import annotations

import base64
import io
from pathlib import Path

from PIL import Image

from lab.zoo.judging import Judged
from lab.zoo.markdown import NOT_YET, cells, table
from lab.zoo.published import Rows, works
from lab.zoo.word_tables import Named, first_hypotheses

FOLDER = "scanning"
"""Beside the page; the files that are written there begin with `_PREFIX`."""
_PREFIX = "found-"
_SIDE, _GAP = 96, 8
_MISSED = 0.05
_MOST_MISSED = 12


def is_missed(one: Judged) -> bool:
    """Whether a backdoor that works was not found, or found without its target."""
    return works(one) and (one.p > _MISSED or one.place is None)


def chosen(rows: Rows) -> tuple[list[Named], list[Named]]:
    """(the first one found of each family and bed, those that were missed)."""
    named = sorted(first_hypotheses(rows), key=lambda one: one.judged.name)
    missed = [one for one in named if is_missed(one.judged)]
    successes: dict[tuple[str, str], Named] = {}
    for one in named:
        if works(one.judged) and not is_missed(one.judged):
            successes.setdefault((one.judged.family, one.judged.bed), one)
    return list(successes.values()), missed[:_MOST_MISSED]


def section(rows: Rows) -> str:
    """The pictures as Markdown shows them."""
    named = first_hypotheses(rows)
    if not named:
        return f"{NOT_YET} No look has kept what it found."
    found, missed = chosen(rows)
    num_missed = sum(is_missed(one.judged) for one in named)
    about = (
        "From left to right: a test image with the true trigger; the found pattern of the first hypothesis;"
        " a held-out image; the same image with the found pattern. Of a warp and a change of colour the"
        " second image is what they make of another held-out image. These patterns are *collapse*'s, and so"
        " are p and the targets; the last p is that of the whole scan."
    )
    return "\n\n".join(
        [
            about,
            "The first model of each family and bed whose backdoor works and that *collapse* found:",
            _table(rows, found),
            "Backdoors that work and that *collapse* missed, with p > 5 % or without the target:"
            f" {num_missed}, of which {len(missed)} are shown.",
            _table(rows, missed) if missed else "None.",
        ]
    )


def _table(rows: Rows, shown: list[Named]) -> str:
    p_of_scan = {one.name: f"{one.p:.2f}" for one in rows.judged_by_scan}
    lines = []
    for one in shown:
        model, judged = rows.models[one.judged.name], one.judged
        lines.append(
            cells(
                judged.name,
                judged.family,
                " / ".join(f"{100 * asr.value:.1f}" for asr in model.asr),
                f"{judged.p:.2f}",
                p_of_scan.get(judged.name, NOT_YET),
                " / ".join(model.targets),
                one.first.target,
                ", ".join(one.first.words),
                one.first.family,
                f"![{judged.family}: what was found]({FOLDER}/{_PREFIX}{judged.name}.png)",
            )
        )
    head = (
        *("model", "family", "ASR %", "p", "p of the scan", "target"),
        *("found target", "first words", "pattern", "pictures"),
    )
    return table(head, lines)


def write(rows: Rows, folder: Path) -> None:
    """Write the pictures that the section names below `folder`, and take away those of earlier rows."""
    wanted = {f"{_PREFIX}{one.judged.name}.png": one for part in chosen(rows) for one in part}
    (folder / FOLDER).mkdir(exist_ok=True)
    for old in (folder / FOLDER).glob(f"{_PREFIX}*.png"):
        if old.name not in wanted:
            old.unlink()
    for name, one in wanted.items():
        (folder / FOLDER / name).write_bytes(_strip(rows, one))


def _strip(rows: Rows, one: Named) -> bytes:
    """The four images beside each other; a grey one where the row has none."""
    true_trigger = rows.models[one.judged.name].examples[:1]
    files = [*(true_trigger or [None]), one.first.image, one.first.clean_example, one.first.example]
    strip = Image.new("RGB", (len(files) * (_SIDE + _GAP) - _GAP, _SIDE), "white")
    for number, file in enumerate(files):
        tile = Image.new("RGB", (1, 1), "grey") if file is None else _opened(file)
        strip.paste(tile.resize((_SIDE, _SIDE), Image.Resampling.NEAREST), (number * (_SIDE + _GAP), 0))
    buffer = io.BytesIO()
    strip.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _opened(file: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(file))).convert("RGB")
