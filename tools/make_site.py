"""Builds the documentation's site from docs/: `python -m tools.make_site`, in `make docs` and `make check`.

Pages stay as a code host shows them. A copy is built, in which a link to a file of the repository that is no
page keeps its text only, and SECURITY.md and CHANGELOG.md are pages too. A link to nothing fails here, and a
page that the menu lacks; an anchor that there is not fails in the generator. Nothing is fetched, and no page
loads anything from another host.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
COPY, SITE = ROOT / "var" / "site-source", ROOT / "var" / "site"
PAGES = COPY / "docs"
FROM_THE_ROOT = {"SECURITY.md": "security.md", "CHANGELOG.md": "changelog.md"}
_FENCE = re.compile(r"^( *)(`{3,}|~{3,})[^\n]*\n.*?^\1\2[ ]*$", re.M | re.S)
_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\[\]]*\])*)\]\(([^()\s]+)\)")
_ALL_OF = re.compile(r"^( *)- (\w+)/\*$", re.M)
_NOT_OURS = re.compile(r"[a-z][a-z0-9+.-]*:|#")


class DeadLink(Exception):
    """A page or the menu names a file that there is not, or the menu lacks one."""


def outside_of_code(text: str, change: Callable[[str], str]) -> str:
    """`text` with `change` made to whatever lies in no fenced block."""
    parts, end = [], 0
    for block in _FENCE.finditer(text):
        parts += [change(text[end : block.start()]), block.group()]
        end = block.end()
    return "".join([*parts, change(text[end:])])


def links(text: str) -> Iterator[str]:
    """Targets of all links of a page to files, with their anchors."""
    for match in _LINK.finditer(_FENCE.sub("", text)):
        if not _NOT_OURS.match(match.group(3)):
            yield match.group(3)


def for_the_site(text: str, path: Path) -> str:
    """The page at `path` with links as they are in the copy. Raises DeadLink."""
    here = place_of(path)
    assert here is not None

    def changed(match: re.Match[str]) -> str:
        mark, label, target = match.groups()
        if _NOT_OURS.match(target):
            return match.group()
        name, _, anchor = target.partition("#")
        file = path.parent / name
        if not file.exists():
            raise DeadLink(f"{path.relative_to(ROOT)} links to {target}, which is not there")
        there = place_of(file)
        if there is None:
            return label
        way = PurePosixPath(os.path.relpath(there, here.parent)).as_posix()
        return f"{mark}[{label}]({way}{'#' if anchor else ''}{anchor})"

    return outside_of_code(text, lambda part: _LINK.sub(changed, part))


def place_of(file: Path) -> Path | None:
    """Where in the copy a file of the repository lies; None: it is not a part of the site."""
    file = Path(os.path.normpath(file))
    if file.parent == ROOT and file.name in FROM_THE_ROOT:
        return Path(FROM_THE_ROOT[file.name])
    return file.relative_to(DOCS) if file.is_file() and file.is_relative_to(DOCS) else None


def copy() -> None:
    """Make the copy again. Raises DeadLink."""
    shutil.rmtree(COPY, ignore_errors=True)
    files = [path for path in sorted(DOCS.rglob("*")) if path.is_file()] + [
        ROOT / name for name in FROM_THE_ROOT
    ]
    for file in files:
        place = place_of(file)
        assert place is not None
        (PAGES / place).parent.mkdir(parents=True, exist_ok=True)
        if file.suffix == ".md":
            text = for_the_site(file.read_text(encoding="utf-8"), file)
            (PAGES / place).write_text(text, encoding="utf-8")
        else:
            shutil.copyfile(file, PAGES / place)


def menu() -> str:
    """mkdocs.yml with all pages of a folder where it says `folder/*`. Raises DeadLink."""
    text = _ALL_OF.sub(_all_of, (ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    listed = sorted(re.findall(r"^ *- (?:[^#\n]*: )?(\S+\.md)$", text, re.M))
    there = sorted(path.relative_to(PAGES).as_posix() for path in PAGES.rglob("*.md"))
    if listed != there:
        differing = set(listed) ^ set(there) or {name for name in listed if listed.count(name) > 1}
        raise DeadLink(f"mkdocs.yml lists once, or there is only, {', '.join(sorted(differing))}")
    return text


def _all_of(match: re.Match[str]) -> str:
    pages = sorted(
        (PAGES / match.group(2)).glob("*.md"), key=lambda path: (path.name != "README.md", path.name)
    )
    return "\n".join(f"{match.group(1)}- {path.relative_to(PAGES).as_posix()}" for path in pages)


def main() -> int:
    """Build; the generator's exit status, or 1."""
    try:
        copy()
        (COPY / "mkdocs.yml").write_text(menu(), encoding="utf-8")
    except DeadLink as error:
        sys.stderr.write(f"{error}\n")
        return 1
    shutil.rmtree(SITE, ignore_errors=True)
    built = subprocess.run(
        [sys.executable, "-m", "zensical", "build", "--strict", "--config-file", COPY / "mkdocs.yml"],
        cwd=COPY,  # where it keeps its cache, too
        env={**os.environ, "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if built.returncode != 0:
        reported = (built.stdout + built.stderr).partition("Traceback")[0]
        sys.stderr.write(reported or built.stderr)
        return 1
    (COPY / "site").rename(SITE)
    sys.stdout.write(f"{len(list(SITE.rglob('*.html')))} pages in {os.path.relpath(SITE, ROOT)}/\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
