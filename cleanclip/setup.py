"""Makes the synchronous client from the asynchronous one: part of each build, or `python cleanclip/setup.py`.

Each file of aio/ is read as text and loses its `async` and `await`; what has another name without them is
named here. Nothing is added, so what is true of one client is true of the other. HAND_MADE is written twice.
"""

import os
import re
import sys
from pathlib import Path

SOURCE, TARGET = (Path(__file__).resolve().parent / name for name in ("aio", "sync"))
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


def without_async(text: str, name: str) -> str:
    """The synchronous form of a module."""
    text = _GENERATOR.sub(r"Generator[\1, None, None]", text)
    text = _AWAITABLE.sub(r"\1", _ASYNC.sub("", text))
    text = _WORD.sub(lambda match: _WORDS[match[0]], text)
    return f"# Made from cleanclip/aio/{name} when the package is built: change that one.\n{text}"


def synchronous_modules() -> dict[Path, str]:
    """What each file of sync/ holds that is not written by hand."""
    return {
        TARGET / source.name: without_async(source.read_text(encoding="utf-8"), source.name)
        for source in sorted(SOURCE.glob("*.py"))
        if source.name not in HAND_MADE
    }


def make_sync() -> None:
    """Write the files of sync/ that differ, each at once, and remove those that have no source any more."""
    modules = synchronous_modules()
    for path in TARGET.glob("*.py"):
        if path not in modules and path.name not in HAND_MADE:
            path.unlink()
    for path, text in modules.items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            partial = path.with_suffix(f".{os.getpid()}")
            partial.write_text(text, encoding="utf-8")
            partial.replace(path)


if __name__ == "__main__":
    make_sync()
    if len(sys.argv) > 1:  # a build's command; without one only the files are made
        from setuptools import setup

        setup(script_name="setup.py")  # so that it is not part of the package
