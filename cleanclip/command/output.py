"""Where things are printed: results on stdout (with --json one document), everything else on stderr."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from cleanclip.command.formats import plain

QUIET_LINE_EVERY_S = 10.0
_is_quiet: ContextVar[bool] = ContextVar("is_quiet", default=False)


@contextmanager
def quietly(is_wanted: bool) -> Iterator[None]:
    """Inside, where it `is_wanted`, nothing but results and errors is printed."""
    token = _is_quiet.set(is_wanted)
    try:
        yield
    finally:
        _is_quiet.reset(token)


def _json(document: Any) -> str:
    """As JSON. Characters that could steer a terminal or hide, which may come from a server, are escaped."""
    text = json.dumps(document, indent=2, ensure_ascii=False)
    return "".join(one if one.isprintable() or one == "\n" else json.dumps(one)[1:-1] for one in text)


class Output:
    """What one run of the command prints."""

    def __init__(self, *, is_json: bool) -> None:
        self.is_json = is_json

    def result(self, document: Any, text: str, *, made: str | None = None) -> None:
        """What the command was called for, in the form that was asked for.

        `made` is the id of what the command made: with --quiet it is printed alone, for `id=$(cleanclip …)`.
        """
        if made is not None and _is_quiet.get():
            text = made
        # Much of a text came from a server.
        text = _json(document) if self.is_json else plain(text)
        encoding = sys.stdout.encoding or "utf-8"
        print(text.encode(encoding, "replace").decode(encoding), flush=True)  # noqa: T201 - this is the place

    def note(self, text: str) -> None:
        """A message for people, which --quiet keeps back."""
        if not _is_quiet.get():
            self.error(text)

    def error(self, text: str) -> None:
        """What went wrong."""
        print(plain(text), file=sys.stderr, flush=True)  # noqa: T201 - this is the place


class ProgressLine:
    """One line on stderr that is written over; where stderr is not a terminal, a line now and then."""

    def __init__(self) -> None:
        self._is_quiet = _is_quiet.get()  # asked here: files travel in threads, which do not know it
        self._is_terminal = sys.stderr.isatty()
        self._is_open = False
        self._said_at = float("-inf")
        self._last_head = ""
        self._unsaid: str | None = None

    def show(self, head: str, rest: str) -> None:
        """`head` names what is going on; a change of it is always shown."""
        if self._is_quiet:
            return
        text = plain(f"{head}  {rest}".rstrip())
        if self._is_terminal:
            width = max(20, shutil.get_terminal_size().columns - 1)
            sys.stderr.write(f"\r{text[:width]}\x1b[K")
            sys.stderr.flush()
            self._is_open = True
            return
        now = time.monotonic()
        self._unsaid = text
        if head != self._last_head or now - self._said_at >= QUIET_LINE_EVERY_S:
            self._last_head, self._said_at = head, now
            self._say()

    def _say(self) -> None:
        print(self._unsaid, file=sys.stderr, flush=True)  # noqa: T201 - this is the place
        self._unsaid = None

    def close(self) -> None:
        """Leave the last state standing and begin a new line."""
        if self._unsaid is not None:
            self._say()
        if self._is_open:
            sys.stderr.write("\n")
            sys.stderr.flush()
            self._is_open = False

    def __enter__(self) -> ProgressLine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
