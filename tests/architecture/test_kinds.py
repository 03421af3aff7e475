"""A kind of job is one value in `cleanclip/kinds`: how many other files of the product name one only falls.

The engine of a kind, what computes it in the library, names it of course. Elsewhere a file that needs a name
needs what the name stands for: a field of the value.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from app.edge.error_codes import ERROR_CODES
from cleanclip.kinds.catalogue import KINDS

ROOT = Path(__file__).parents[2]
MOST_FILES = 71
"""Lower it with every file that names none any more; a file that is added has to ask the value."""
ROOMS = ("app", "worker", "sanitizer", "cleanclip", "tools")
ENGINE = (
    *("cleanclip/kinds/", "cleanclip/sync/"),  # sync: generated from aio
    *("sanitizer/pipeline/", "sanitizer/scans/", "sanitizer/vetting/", "sanitizer/work/"),
)
SPECS = {kind.spec.__name__ for kind in KINDS.values()}
QUOTED = re.compile(rf"""["'](?:{"|".join(KINDS)})["']""")


REFUSALS = {
    *("InvalidInput", "NotFound", "Conflict", "Forbidden", "Unauthorized", "TooLarge", "QuotaExceeded"),
    *("Unavailable", "AttemptFailed", "TrainingDiverged", "BadSample", "null_refused", "_refuse", "refusal"),
    *("CheckpointRejected", "DatasetRejected", "OptionsRejected"),
}
MOST_CODES = 11
"""Codes that more than one file raises: lower it with every one that one function raises for all.

Those that are left have a sentence for each place (a tensor's type in safetensors, in a pickle, by its role).
The service has a copy of each sentence that the library can say, read from where it is raised: a function
that is given the sentence would leave it with none."""


def _names_a_kind(path: Path) -> bool:
    text = path.read_text()
    if path.suffix != ".py":
        return QUOTED.search(text) is not None
    return any(_is_name(node) for node in ast.walk(ast.parse(text)))


def _is_name(node: ast.AST) -> bool:
    match node:
        case ast.Constant(value=str(text)):
            return text in KINDS
        case ast.Attribute(value=ast.Name(id="JobKind"), attr=name):
            return name.lower() in KINDS
        case ast.Name(id=name):
            return name in SPECS
    return False


def _files() -> Iterator[str]:
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*")):
            place = path.relative_to(ROOT).as_posix()
            if path.suffix in {".py", ".html"} and not place.startswith(ENGINE) and _names_a_kind(path):
                yield place


def test_no_further_file_names_a_kind_of_job() -> None:
    files = list(_files())
    assert len(files) <= MOST_FILES, "\n".join(files)


def test_a_value_is_whole() -> None:
    for name, kind in KINDS.items():
        assert kind.name == name
        assert len({one.name for one in kind.phases}) == len(kind.phases)
        assert {one.fact for one in kind.inputs} - {None} <= kind.spec_fields
        assert all((one.folder is None) == bool(one.roles) for one in kind.inputs)
        assert len({one.pointer for one in kind.inputs}) == len(kind.inputs)


def _codes(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Call(func=ast.Name(id=name), args=[ast.Constant(value=str(code)), *_]):
                if name in REFUSALS:
                    yield code


def test_no_further_code_is_raised_in_two_files() -> None:
    places: dict[str, set[str]] = {}
    for room in ROOMS:
        for path in (ROOT / room).rglob("*.py"):
            if "sync" not in path.parts:
                for code in _codes(path):
                    places.setdefault(code, set()).add(path.relative_to(ROOT).as_posix())
    several = {code: sorted(files) for code, files in places.items() if len(files) > 1}
    assert len(several) <= MOST_CODES, several


def test_whatever_a_kind_refuses_has_a_status_where_it_is_ordered() -> None:
    checks = ("vocabulary/anchors.py", "vocabulary/targets.py", "vocabulary/vet_plan.py")
    files = [*(ROOT / "cleanclip" / "kinds").glob("*.py"), *(ROOT / "cleanclip" / one for one in checks)]
    codes = {code for path in files for code in _codes(path)}
    assert {code: ERROR_CODES[code].status for code in codes} == dict.fromkeys(codes, 422)
    assert len(codes) >= 10
