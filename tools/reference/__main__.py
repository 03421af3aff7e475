"""Writes the tables between markers of the pages again; what stands around them is written by hand."""

import re
import sys
from collections.abc import Mapping
from pathlib import Path

from lab.gpu.page import made as gpu_made
from tools.reference import (
    attackers,
    codes,
    commands,
    control,
    null_lists,
    one_place,
    options,
    repair,
    routes,
    siglip,
    text_side,
    tuned,
    words,
)
from tools.reference.markdown import Maker, kept_cells

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = ROOT / "docs" / "reference"
PAGES = (
    *sorted(REFERENCE.glob("*.md")),
    ROOT / "docs" / "explanation" / "verdicts.md",
    ROOT / "docs" / "gpu.md",
    ROOT / "docs" / "scanning" / "control.md",
    ROOT / "docs" / "scanning" / "how.md",
    ROOT / "docs" / "scanning" / "tuned.md",
    ROOT / "docs" / "scanning" / "public.md",
    ROOT / "docs" / "how-to" / "build-a-null.md",
    ROOT / "docs" / "text-side.md",
    ROOT / "docs" / "uar" / "attackers.md",
    ROOT / "docs" / "uar" / "edits.md",
    ROOT / "docs" / "uar" / "rivals.md",
    ROOT / "docs" / "uar" / "siglip.md",
)
MAKERS: Mapping[str, Maker] = {
    **attackers.MAKERS,
    **codes.MAKERS,
    **commands.MAKERS,
    **control.MAKERS,
    **null_lists.MAKERS,
    **one_place.MAKERS,
    **options.MAKERS,
    "gpu": lambda _: gpu_made(),
    **repair.MAKERS,
    **siglip.MAKERS,
    **text_side.MAKERS,
    **tuned.MAKERS,
    **routes.MAKERS,
    **words.MAKERS,
}
_REGION = re.compile(r"(<!-- begin: (.+) -->\n).*?(<!-- end: \2 -->)", re.S)


def made(page: str) -> str:
    """The page with every region as it should be. Raises KeyError for a region that nobody makes."""

    def region(match: re.Match[str]) -> str:
        begin, name, end = match.groups()
        kept = kept_cells(match.group())
        return f"{begin}\n{MAKERS[name](lambda key: kept.get(key, ''))}\n{end}"

    return _REGION.sub(region, page)


def regions(page: str) -> list[str]:
    return [match.group(2) for match in _REGION.finditer(page)]


def main() -> None:
    for path in PAGES:
        text = path.read_text(encoding="utf-8")
        if (new := made(text)) != text:
            path.write_text(new, encoding="utf-8")
            sys.stdout.write(f"{path.relative_to(ROOT)} made again\n")
    codes.REFUSALS.write_text(codes.refusals(), encoding="utf-8")


if __name__ == "__main__":
    main()
