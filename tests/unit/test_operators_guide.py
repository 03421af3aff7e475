"""The operators' guide has every setting with its default and no other; every setting is obeyed."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, SecretStr

from app.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
GUIDE = ROOT / "docs" / "how-to" / "operating"
_ROW = re.compile(r"^\| `(CLEANCLIP_[A-Z0-9_]+)` \| ([^|]*) \| [^|]+ \|$", re.M)
_UNITS = ((1024**4, "TiB"), (1024**3, "GiB"), (1024**2, "MiB"), (1024, "KiB"))


def settings() -> Iterator[tuple[str, Any]]:
    """(variable, default) of each."""
    for group, field in Settings.model_fields.items():
        if isinstance(field.default, BaseModel):
            for name in type(field.default).model_fields:
                yield f"CLEANCLIP_{group}__{name}".upper(), getattr(field.default, name)
        else:
            yield f"CLEANCLIP_{group}".upper(), field.default


def shown(variable: str, value: Any) -> str:
    """A default as the table has it."""
    if isinstance(value, SecretStr) or variable == "CLEANCLIP_DATABASE__URL":
        return "for development only"
    if value is None or value in ((), ""):
        return "–"
    if variable.endswith("_BYTES"):
        size, unit = next((size, unit) for size, unit in _UNITS if value >= size)
        return f"{value // size} {unit}"
    if isinstance(value, float):
        return f"`{value:g}`"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def test_the_table_has_every_setting_with_its_default_and_no_other() -> None:
    table = dict(_ROW.findall((ROOT / "docs" / "reference" / "settings.md").read_text(encoding="utf-8")))
    assert table == {variable: shown(variable, value) for variable, value in settings()}


def test_no_page_names_a_setting_that_there_is_not() -> None:
    known = {variable for variable, _ in settings()}
    pages = [*GUIDE.glob("*.md"), ROOT / "README.md", ROOT / "docs" / "performance-api.md"]
    assert len(pages) >= 8
    for page in pages:
        named = set(re.findall(r"CLEANCLIP_[A-Z0-9]+(?:__[A-Z0-9_]+)?", page.read_text(encoding="utf-8")))
        assert named <= known, page.name


def test_every_setting_is_read_by_something() -> None:
    code = "\n".join(
        path.read_text(encoding="utf-8")
        for folder in ("app", "worker")
        for path in (ROOT / folder).rglob("*.py")
        if path.name != "settings.py"
    )
    for variable, _ in settings():
        name = variable.rpartition("__")[2].removeprefix("CLEANCLIP_").lower()
        if name == "password":  # becomes part of the URL: app.settings_groups
            name = "url"
        assert re.search(rf"\.{name}\b", code), f"nothing obeys {variable}"
