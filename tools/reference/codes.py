"""The page of error codes: the API's table, and what the library and the workers refuse, read from their source.

A sentence that is put together while the program runs shows "…" for what it is put together of.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from app.api.error_codes import ERROR_CODES
from tools.reference.markdown import code, table

ROOT = Path(__file__).resolve().parents[2]

_DOMAIN = {
    *("InvalidInput", "Unauthorized", "Forbidden", "NotFound", "Conflict", "TooLarge"),
    *("QuotaExceeded", "Unavailable", "Problem"),
}
_KINDS: Mapping[str, frozenset[str]] = {
    "checkpoint": frozenset({"CheckpointRejected", "refusal", "unsupported", "contradiction"}),
    "data": frozenset({"DatasetRejected"}),
    "options": frozenset({"OptionsRejected"}),
    "training": frozenset({"TrainingDiverged", "Interrupted"}),
    "report": frozenset({"ReportRejected", "_rejected"}),
    "worker": frozenset({"AttemptFailed", "_failed"}),
}


@dataclass(frozen=True, kw_only=True)
class Raised:
    """One place that refuses."""

    code: str
    message: str
    remedy: str
    path: str
    line: int


@cache
def _constants() -> dict[str, str]:
    """Texts that modules keep under a name, such as SAVE_AGAIN."""
    found = {}
    for _, tree in _modules("app", "sanitizer", "worker"):
        for node in tree.body:
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                text = _text(node.value, {})
                if text:
                    found[node.targets[0].id] = text
    return found


@cache
def _modules(*packages: str) -> list[tuple[str, ast.Module]]:
    paths = [path for package in packages for path in sorted((ROOT / package).rglob("*.py"))]
    return [(str(path.relative_to(ROOT)), ast.parse(path.read_text(encoding="utf-8"))) for path in paths]


def _text(node: ast.expr | None, constants: Mapping[str, str]) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part, constants) or "…" for part in node.values)
    if isinstance(node, ast.Name):
        return constants.get(node.id, "")
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _text(node.left, constants) + (_text(node.right, constants) or "…")
    return ""


def _arguments(call: ast.Call) -> tuple[ast.expr | None, ast.expr | None, ast.expr | None]:
    """Code, message, remedy, by place or by name."""
    named = {keyword.arg: keyword.value for keyword in call.keywords}
    placed = list(call.args[:3]) + [None] * 3
    one, two, three = (
        placed[number] or named.get(name) for number, name in enumerate(("code", "message", "remedy"))
    )
    return one, two, three


def raised(names: frozenset[str] | set[str], *packages: str) -> Iterator[tuple[Raised, ast.Call]]:
    """Every call of one of `names`; where the code is no literal, an empty one."""
    for path, tree in _modules(*packages):
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
                name = node.func.id if isinstance(node.func, ast.Name) else node.func.attr
                if name in names:
                    texts = [_text(part, _constants()) for part in _arguments(node)]
                    yield (
                        Raised(code=texts[0], message=texts[1], remedy=texts[2], path=path, line=node.lineno),
                        node,
                    )


def main_report() -> None:
    for kind, names in _KINDS.items():
        for one, node in raised(names, "sanitizer", "worker"):
            if not (one.code and one.message and one.remedy):
                print(
                    kind,
                    one.path,
                    one.line,
                    repr(one.code),
                    repr(one.message),
                    repr(one.remedy),
                    ast.unparse(node)[:160],
                )
    for one, node in raised(_DOMAIN, "app"):
        if not (one.code and one.message and one.remedy):
            print(
                "app",
                one.path,
                one.line,
                repr(one.code),
                repr(one.message),
                repr(one.remedy),
                ast.unparse(node)[:160],
            )
