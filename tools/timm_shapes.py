"""`python -m tools.timm_shapes`: writes the tensors of the published towers of timm's, as timm builds them.

A tower is one text, `name shape;name shape;…` in the order of its state dict: `blocks.{0-11}.norm1.bias 768`
stands for twelve blocks with the same tensors, E for the width of the embedding, 2E for twice that.
"""

import json
import re
from collections.abc import Iterator, Sequence

import torch
from open_clip.timm_model import TimmModel

from cleanclip.vocabulary.timm_towers import published_towers
from sanitizer.checkpoints.timm_configs import TimmTower
from sanitizer.checkpoints.timm_shapes import PATH, key_of

_EMBED_DIM = 997
"""A width that no tower has of itself."""
_SIZES = {_EMBED_DIM: "E", 2 * _EMBED_DIM: "2E"}
Entry = tuple[str, str]


def folded(entries: Sequence[Entry]) -> Iterator[str]:
    """Equal numbered groups that follow each other become one, the longest run first."""
    at = 0
    while at < len(entries):
        name, shape = entries[at]
        runs = [_run(entries, at, match) for match in re.finditer(r"(?<=\.)\d+(?=\.)", name)]
        repeated = [run for run in runs if run[1] > 1]
        length, repeats, start, first = max(repeated, default=(1, 1, "", 0), key=lambda run: run[0] * run[1])
        if not repeated:
            yield f"{name} {shape}"
            at += 1
            continue
        for inner, one in entries[at : at + length]:
            yield f"{start}{{{first}-{first + repeats - 1}}}{inner[len(start) + len(str(first)) :]} {one}"
        at += length * repeats


def _run(entries: Sequence[Entry], at: int, match: re.Match[str]) -> tuple[int, int, str, int]:
    """Length of the group that begins `at`, how often it comes, and the name before its number."""
    start, first = entries[at][0][: match.start()], int(match[0])
    group = _group(entries, at, f"{start}{first}.")
    repeats = 1
    while _group(entries, at + repeats * len(group), f"{start}{first + repeats}.") == group:
        repeats += 1
    return len(group), repeats, start, first


def _group(entries: Sequence[Entry], at: int, prefix: str) -> list[Entry]:
    found = []
    while at < len(entries) and entries[at][0].startswith(prefix):
        found.append((entries[at][0].removeprefix(prefix), entries[at][1]))
        at += 1
    return found


def described(tower: TimmTower) -> str:
    with torch.device("meta"):
        model = TimmModel(
            tower.name,
            _EMBED_DIM,
            image_size=tower.image_size,
            pool=tower.pool,
            proj=tower.projection or None,
        )
    entries = [
        (name, "x".join(_SIZES.get(size, str(size)) for size in tensor.shape))
        for name, tensor in model.state_dict().items()
    ]
    return ";".join(folded(entries))


def main() -> None:
    found = {key_of(one): one for one in map(TimmTower.of, published_towers())}
    content = {key: described(one) for key, one in sorted(found.items())}
    PATH.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
