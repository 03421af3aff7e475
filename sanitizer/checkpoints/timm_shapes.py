"""Name and shape of every tensor of the published towers of timm's, as `tools.timm_shapes` wrote them down.

So neither the process that reads hostile bytes nor a supervisor needs timm, or torch. Tests hold the file to
what the libraries build.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from itertools import groupby
from pathlib import Path

from cleanclip.vocabulary.timm_towers import PublishedTower, published_towers
from sanitizer.checkpoints.timm_configs import TimmTower

Shape = tuple[int, ...]
PATH = Path(__file__).with_name("timm_shapes.json")
_RUN = re.compile(r"(.*?)\{(\d+)-(\d+)\}")


def key_of(tower: TimmTower) -> str:
    return f"{tower.name} {tower.pool or '-'} {tower.projection or '-'}"


def tensors_of(tower: TimmTower, embed_dim: int) -> dict[str, Shape]:
    """In the order of open_clip's state dict, under its names."""
    sizes = {"E": embed_dim, "2E": 2 * embed_dim}

    def size_of(text: str) -> int:
        return sizes[text] if text in sizes else int(text)

    return {
        f"visual.{name}": tuple(size_of(size) for size in shape.split("x") if size)
        for name, shape in _entries(key_of(tower))
    }


def matching(shapes: Mapping[str, Shape], embed_dim: int) -> list[PublishedTower]:
    """Every published tower whose tensors are exactly those of `shapes` that begin with "visual.".

    BatchNorm's counts may all be missing, as in old files; they are filled in later.
    """
    theirs = {name: shape for name, shape in shapes.items() if name.startswith("visual.")}
    has_counts = any(map(_is_count, theirs))

    def ours(one: PublishedTower) -> dict[str, Shape]:
        tensors = tensors_of(TimmTower.of(one), embed_dim).items()
        return {name: shape for name, shape in tensors if has_counts or not _is_count(name)}

    return [one for one in published_towers() if ours(one) == theirs]


def nearest(shapes: Mapping[str, Shape], embed_dim: int) -> tuple[PublishedTower, str]:
    """Of towers that do not match, the one with the fewest other tensors, and the first of these."""
    theirs = {(name, shape) for name, shape in shapes.items() if name.startswith("visual.")}

    def others(one: PublishedTower) -> list[str]:
        ours = set(tensors_of(TimmTower.of(one), embed_dim).items())
        return sorted(name for name, _ in ours ^ theirs)

    entry = min(published_towers(), key=lambda one: len(others(one)))
    return entry, others(entry)[0]


def _is_count(name: str) -> bool:
    return name.endswith(".num_batches_tracked")


@cache
def _entries(key: str) -> tuple[tuple[str, str], ...]:
    return tuple(_unfolded(one.split(" ") for one in _towers()[key].split(";")))


def _unfolded(entries: Iterable[list[str]]) -> Iterator[tuple[str, str]]:
    for run, group in groupby(entries, key=lambda entry: _head(entry[0])):
        members = [(name, shape) for name, shape in group]
        if run is None:
            yield from members
            continue
        start, first, last = run
        for number in range(first, last + 1):
            for name, shape in members:
                yield f"{start}{number}{name.partition('}')[2]}", shape


def _head(name: str) -> tuple[str, int, int] | None:
    found = _RUN.match(name)
    return None if found is None else (found[1], int(found[2]), int(found[3]))


@cache
def _towers() -> dict[str, str]:
    content: dict[str, str] = json.loads(PATH.read_text(encoding="utf-8"))
    return content
