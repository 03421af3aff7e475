"""Raw files: rows as lines of JSON, in the order in which they were made; and what a command that adds some
takes. Free of torch."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import TypeAdapter

T = TypeVar("T")


class Rows(Generic[T]):
    """Files of rows of one kind."""

    def __init__(self, kind: type[T]) -> None:
        self._adapter = TypeAdapter(kind)

    def read(self, raw: Path) -> list[T]:
        """Empty where the file is not there."""
        return [self._adapter.validate_json(line) for line in lines_of(raw)]

    def append(self, raw: Path, row: T) -> None:
        append(raw, self._adapter.dump_json(row).decode())


def lines_of(raw: Path) -> list[str]:
    """Empty where the file is not there."""
    return raw.read_text(encoding="utf-8").splitlines() if raw.is_file() else []


def json_of(raw: Path) -> list[dict[str, Any]]:
    """The lines as they are, of no kind."""
    return [json.loads(line) for line in lines_of(raw)]


def append(raw: Path, line: str) -> None:
    with raw.open("a", encoding="utf-8") as file:
        file.write(line + "\n")


def parser(name: str, description: str | None, models: Iterable[str]) -> argparse.ArgumentParser:
    """Of `python -m lab.reproduction.<name>`, which adds rows of some of `models`."""
    made = argparse.ArgumentParser(
        prog=f"python -m lab.reproduction.{name}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--folder", type=Path, required=True)
    made.add_argument("--raw", type=Path, required=True)
    made.add_argument("--model", action="append", choices=list(models))
    made.add_argument("--most", type=int, help="end after so many rows")
    return made
