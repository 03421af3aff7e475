"""Makes the synchronous client from the asynchronous one: `python -m tools.make_sync`, part of `make format`.

Every file of client/aio is read as text and loses its `async` and `await`; what has another name without them
is named here. Nothing is added, so that what is true of one client is true of the other. Those in HAND_MADE
are written twice. Knows no noun of the service.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCE, TARGET = ROOT / "cleanclip" / "aio", ROOT / "cleanclip" / "sync"
HAND_MADE = frozenset({"__init__.py", "crew.py"})

_WORDS = {
    "AsyncBaseTransport": "BaseTransport",
    "AsyncClient": "Client",
    "AsyncClock": "Clock",
    "AsyncGenerator": "Generator",
    "AsyncIterable": "Iterable",
    "AsyncIterator": "Iterator",
    "ASYNC_SYSTEM_CLOCK": "SYSTEM_CLOCK",
    "__aenter__": "__enter__",
    "__aexit__": "__exit__",
    "aclose": "close",
    "aclosing": "closing",
    "aiter_bytes": "iter_bytes",
    "aiter_raw": "iter_raw",
    "aread": "read",
    "asynccontextmanager": "contextmanager",
    "asynchronously": "synchronously",
    "asyncio.Lock": "threading.Lock",
    "import asyncio": "import threading",
    "cleanclip.aio": "cleanclip.sync",
}
_WORD = re.compile("|".join(rf"(?<!\w){re.escape(word)}" + r"(?!\w)" * word[-1].isalnum() for word in _WORDS))
_ASYNC = re.compile(r"\b(?:async (?=def|with|for)|await )")
_AWAITABLE = re.compile(r"\bAwaitable\[(\w+(?: \| None)?)\]")
_GENERATOR = re.compile(r"\bAsyncGenerator\[(.+), None\]")
_YIELD_EACH = re.compile(r"for (\w+) in (.+):\n\s+yield \1\n")


def without_async(text: str, name: str) -> str:
    """The synchronous form of a module, not yet formatted."""
    text = _GENERATOR.sub(r"Generator[\1, None, None]", text)
    text = _AWAITABLE.sub(r"\1", _ASYNC.sub("", text))
    text = _WORD.sub(lambda found: _WORDS[found[0]], text)
    text = _YIELD_EACH.sub(r"yield from \2\n", text)
    return f"# Made from cleanclip/aio/{name} by `make format`: change that one.\n{text}"


def formatted(text: str, path: Path) -> str:
    """With sorted imports, without unused ones, in the house's form. Raises CalledProcessError."""
    for arguments in (["check", "--quiet", "--fix", "--select", "I,F401,SIM117"], ["format", "--quiet"]):
        text = subprocess.run(
            [sys.executable, "-m", "ruff", *arguments, "--stdin-filename", path, "-"],
            input=text,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            cwd=ROOT,
        ).stdout
    return text


def made() -> dict[Path, str]:
    """What every synchronous file that is made should hold."""
    found = {}
    for source in sorted(SOURCE.glob("*.py")):
        if source.name not in HAND_MADE:
            target = TARGET / source.name
            text = without_async(source.read_text(encoding="utf-8"), source.name)
            found[target] = formatted(text, target)
    return found


def main() -> None:
    """Write those that differ."""
    for path, text in made().items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            sys.stdout.write(f"{path.relative_to(ROOT)} made again\n")


if __name__ == "__main__":
    main()
