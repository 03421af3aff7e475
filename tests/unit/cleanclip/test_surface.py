"""The public surface: what the clients offer, both alike, each call typed and with an example."""

import ast
import inspect
import re
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from cleanclip.aio.client import AsyncClient
from cleanclip.setup import HAND_MADE, SOURCE, TARGET, make_sync, synchronous_modules
from cleanclip.sync.client import Client
from tests.unit.cleanclip.examples import example_of, public_calls

SURFACE = {
    "": "base_url close health methods usage",
    "artifacts": "download get",
    "trail": "list",
    "checkpoints": "create delete get list wait",
    "datasets": "check create delete get list push rename samples wait",
    "deletions": "get list",
    "jobs": "all_events artifacts cancel create delete dry_run events follow get list pause rename report "
    "resume retry verdicts wait",
    "keys": "create get list rename revoke rotate",
    "nulls": "get list",
    "policies": "delete get list put",
    "uploads": "cancel complete create get parts put_content upload_file",
    "webhooks": "create delete deliveries delivery get list replay rotate_secret test update",
}
SYNC = Client("http://x", "k")
ASYNC = AsyncClient("http://x", "k")
CALLS = public_calls(SYNC)
ASYNC_CALLS = public_calls(ASYNC)


def names(calls: dict[str, Any]) -> dict[str, str]:
    found: dict[str, list[str]] = {}
    for name in calls:
        noun, _, call = name.rpartition(".")
        found.setdefault(noun, []).append("close" if call == "aclose" else call)
    return {noun: " ".join(sorted(listed)) for noun, listed in sorted(found.items())}


def test_the_surface_is_what_it_was_agreed_to_be_and_the_same_for_both() -> None:
    assert names(CALLS) == SURFACE
    assert names(ASYNC_CALLS) == SURFACE


@pytest.mark.parametrize("name", sorted(CALLS.keys() - {"close"}))
def test_both_take_the_same_and_say_what_they_give(name: str) -> None:
    one, other = CALLS[name], ASYNC_CALLS[name]
    for call in (one, other):
        hints = get_type_hints(call)
        assert "return" in hints
        assert set(inspect.signature(call).parameters) - {"self"} <= set(hints)
    mine, theirs = (list(inspect.signature(call).parameters.values()) for call in (one, other))
    assert [(p.name, p.kind, p.default) for p in mine] == [(p.name, p.kind, p.default) for p in theirs]
    is_iterated = name in {"jobs.follow", "jobs.all_events"}
    assert inspect.iscoroutinefunction(other) is not (is_iterated or name == "base_url")


@pytest.mark.parametrize("name", sorted(CALLS))
def test_each_call_has_an_example_that_calls_it(name: str) -> None:
    tree = ast.parse(example_of(CALLS[name]))
    called = {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert f"client.{name}" in called


def test_a_changed_source_makes_its_synchronous_form_again_and_a_removed_one_takes_it_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = tmp_path / "aio", tmp_path / "sync"
    source.mkdir()
    target.mkdir()
    monkeypatch.setattr("cleanclip.setup.SOURCE", source)
    monkeypatch.setattr("cleanclip.setup.TARGET", target)
    (source / "wire.py").write_text("async def one() -> int:\n    return await two()\n")
    (target / "crew.py").write_text("by hand")
    (target / "gone.py").write_text("of a source that was removed")
    make_sync()
    assert (target / "wire.py").read_text().endswith("\ndef one() -> int:\n    return two()\n")
    assert sorted(path.name for path in target.iterdir()) == ["crew.py", "wire.py"]


def test_what_is_written_twice_offers_the_same() -> None:
    for name in HAND_MADE - {"__init__.py"}:
        one, other = (_signatures(folder / name) for folder in (SOURCE, TARGET))
        assert one == other


def _signatures(path: Path) -> dict[str, list[str]]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {
        f"{kind.name}.{call.name.replace('__a', '__')}": [argument.arg for argument in call.args.args]
        for kind in tree.body
        if isinstance(kind, ast.ClassDef)
        for call in kind.body
        if isinstance(call, ast.FunctionDef | ast.AsyncFunctionDef) and call.name != "__init__"
    }


def test_nothing_asynchronous_is_left_in_what_is_made() -> None:
    for path in synchronous_modules():
        assert not re.search(r"\b(await|async|asyncio|aio\.)\b", path.read_text().partition("\n")[2]), path
