"""A module has one subject, and its names say what others may use: tests use no more of it either."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROOMS = ("app", "worker", "sanitizer", "cleanclip", "lab", "demo", "tools")
MOST_LINES = 450
"""Lower it where the longest module became shorter."""


def _modules(room: str) -> Iterator[Path]:
    """But what `cleanclip/setup.py` generates."""
    return (path for path in sorted((ROOT / room).rglob("*.py")) if "sync" not in path.parts)


def _is_private(name: object) -> bool:
    return isinstance(name, str) and name.startswith("_") and not name.startswith("__")


def _private_names(tree: ast.Module) -> Iterator[str]:
    """Of the product's modules that a test imports: by name, as attributes, or replaced by `monkeypatch`."""
    modules: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in ROOMS:
            modules |= {one.asname or one.name: f"{node.module}.{one.name}" for one in node.names}
            yield from (f"{node.module}.{one.name}" for one in node.names if _is_private(one.name))
        elif isinstance(node, ast.Import):
            modules |= {one.name: one.name for one in node.names if one.name.split(".")[0] in ROOMS}
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(attr="setattr"), args=[ast.Constant(value=str(path)), *_]):
                if path.split(".")[0] in ROOMS and _is_private(path.rpartition(".")[2]):
                    yield path
                continue
            case ast.Attribute(value=owner, attr=name):
                pass
            case ast.Call(func=ast.Attribute(attr="setattr"), args=[owner, ast.Constant(value=name), *_]):
                pass
            case _:
                continue
        if _is_private(name) and (module := modules.get(ast.unparse(owner))):
            yield f"{module}.{name}"


def test_no_module_has_grown_past_its_subject() -> None:
    lengths = {
        path.relative_to(ROOT).as_posix(): len(path.read_text().splitlines())
        for room in ROOMS
        for path in _modules(room)
    }
    assert {name: length for name, length in lengths.items() if length > MOST_LINES} == {}


def test_tests_use_no_private_name_of_the_product() -> None:
    used = {
        path.relative_to(ROOT).as_posix(): names
        for path in _modules("tests")
        if (names := sorted(set(_private_names(ast.parse(path.read_text())))))
    }
    assert used == {}


def test_a_private_name_is_seen_however_a_test_comes_by_it() -> None:
    tree = ast.parse(
        "import worker.child\n"
        "from app.services import api_keys\n"
        "from app.local.valkey import _binary, binary, __doc__\n"
        "from tests.fixtures import _own\n"
        "api_keys._checksum('a')\n"
        "worker.child._start()\n"
        "monkeypatch.setattr(api_keys, '_LENGTH', 3)\n"
        "monkeypatch.setattr('worker.child._LIMIT', 3)\n"
        "_own._own, self._own\n"
    )
    assert set(_private_names(tree)) == {
        "app.local.valkey._binary",
        "app.services.api_keys._checksum",
        "worker.child._start",
        "app.services.api_keys._LENGTH",
        "worker.child._LIMIT",
    }
