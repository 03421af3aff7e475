"""Where fuzzing starts: small files made by code, benign and hostile, one folder a target. Kept nowhere.

`replay` gives them and all earlier findings to a target again: what the tests do, and what works without a
fuzzer.
"""

from __future__ import annotations

import io
import json
import tempfile
import zipfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import torch
from PIL import Image

from lab.fuzz.target import run_one, target
from tests.fixtures import pickle_assembly as asm
from tests.fixtures.hostile.corpus import HOSTILE
from tests.fixtures.hostile_images import IMAGES
from tests.fixtures.hostile_shards import SHARDS
from tests.fixtures.hostile_texts import MANIFESTS, TEXTS
from tests.fixtures.shards import good_pair, write_tar

Seeds = Iterator[tuple[str, bytes]]
MAX_SEED_BYTES = 256 * 1024
MAX_CHECKPOINT_BYTES = 2**20  # the pickle inside may be smaller
FINDINGS = Path(__file__).parents[2] / "tests" / "fixtures" / "fuzz_findings"
"""One folder a target; each file is an input that something other than a refusal once escaped for."""
_SMALL_STATE = {"a.weight": torch.zeros(2, 3), "a.bias": torch.zeros(3)}


def seeds_of(name: str) -> Seeds:
    """Name and bytes of every seed of one target that is small enough to be mutated with profit."""
    made = {
        "zip": _zip,
        "pickle": _pickle,
        "safetensors": _safetensors,
        "tar": _tar,
        "image": _image,
        "trigger_image": _picture,
    }
    for seed_name, data in made.get(name, _text)():
        if 0 < len(data) <= MAX_SEED_BYTES:
            yield seed_name, data


@cache
def _checkpoints() -> list[tuple[str, bytes]]:
    """Made once: three targets start from them."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        path, canary = Path(folder, "upload"), Path(folder, "canary")
        asm.write_state(path, _SMALL_STATE)
        found.append(("small_state", path.read_bytes()))
        for name, file in HOSTILE.items():
            path.unlink(missing_ok=True)
            file.write(path, canary)
            if path.is_file() and path.stat().st_size <= MAX_CHECKPOINT_BYTES:
                found.append((name, path.read_bytes()))
    return found


def _zip() -> Seeds:
    return ((name, data) for name, data in _checkpoints() if data.startswith(b"PK"))


def _pickle() -> Seeds:
    """The first fits the storages that the target gives it, so that mutations are read on to the end."""
    fitting = [(asm.text(f"w{key}"), asm.tensor(str(key), (32, 32))) for key in range(4)]
    yield "fitting-state", b"S" + asm.PROTO2 + asm.table(fitting) + asm.STOP
    for name, data in _checkpoints():
        if not data.startswith(b"PK"):
            continue
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                pickles = [one for one in archive.namelist() if one.endswith("data.pkl")]
                found = archive.read(pickles[0]) if pickles else b""
        except (zipfile.BadZipFile, RuntimeError, NotImplementedError, OSError, EOFError):
            continue
        yield f"{name}-state", b"S" + found
        yield f"{name}-script", b"T" + found


def _safetensors() -> Seeds:
    header = json.dumps({"a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}}).encode()
    yield "small", len(header).to_bytes(8, "little") + header + bytes(24)
    for name, data in _checkpoints():
        if data[8:9] == b"{":
            yield name, data


def _tar() -> Seeds:
    with tempfile.TemporaryDirectory() as folder:
        for name, members in {
            "one_pair": good_pair("a"),
            "two_pairs": [*good_pair("a"), *good_pair("b")],
        }.items():
            yield name, b"R" + write_tar(Path(folder, name), members).read_bytes()
        for name, case in SHARDS.items():
            path = Path(folder, name)
            case.write(path)
            if path.stat().st_size <= MAX_SEED_BYTES:
                yield name, b"R" + path.read_bytes()


def _image() -> Seeds:
    return ((name, case.make()) for name, case in IMAGES.items() if case.is_quick)


def _picture() -> Seeds:
    """Images of every mode that a trigger may have, and the hostile ones of datasets."""
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA"):
        yield f"png_{mode}", _encoded(Image.new("RGB", (5, 4), (200, 30, 90)).convert(mode), "PNG")
    for mode in ("L", "RGB", "CMYK"):
        yield f"jpeg_{mode}", _encoded(Image.new(mode, (5, 4)), "JPEG")
    yield from _image()


def _encoded(image: Image.Image, kind: str) -> bytes:
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


def _text() -> Seeds:
    for name, case in TEXTS.items():
        yield name, (b"j" if case.extension == "json" else b"t") + case.data
    for name, data in MANIFESTS.items():
        yield name, b"m" + data
    yield "templates", b"pa photo of a {c}.\n# a comment\n{c}\n"
    yield "class_names", b"ccat\ndog\n"


def replay(name: str) -> tuple[int, list[str]]:
    """How many inputs there were, and a line for each that was neither read nor refused."""
    tried = target(name)
    kept = [(path.name, path.read_bytes()) for path in sorted(FINDINGS.glob(f"{name}/*"))]
    num_inputs, problems = 0, []
    for label, data in [*seeds_of(name), *kept]:
        num_inputs += 1
        with tempfile.TemporaryDirectory(prefix="replay-") as folder:
            try:
                run_one(tried, data, Path(folder))
            except Exception as error:  # noqa: BLE001 - whatever escaped is what is looked for
                problems.append(f"{label}: {type(error).__name__}: {str(error)[:100]}")
    return num_inputs, problems
