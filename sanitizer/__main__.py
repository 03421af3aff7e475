"""`python -m sanitizer`: the library on local files. Messages and bars on stderr, results on stdout.

`run`, a worker's child, must start quickly and load little, so the other commands are loaded by name; so must
`report` and `schema`, which need no torch.
"""

import argparse
import importlib
import sys
import traceback
from typing import Any

from cleanclip.vocabulary.errors import Interrupted, SanitizerError
from cleanclip.vocabulary.jobspec import EXIT_INTERRUPTED, EXIT_REFUSED, EXIT_SUCCEEDED
from cleanclip.vocabulary.schemas import schema
from sanitizer.cli.arguments import UsageError
from sanitizer.cli.command_line import parser
from sanitizer.work.running import is_out_of_memory, out_of_memory, run

EXIT_FAILED = 1
EXIT_USAGE = 2
_MODULES = {
    "report": "drawing",
    "scan": "scanning",
    "text-scan": "text_scanning",
    "null": "nulls",
    "vet": "vetting",
}
"""Of `sanitizer.cli`, by command."""


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns the exit code that `arguments.EPILOGUE` documents."""
    arguments = parser().parse_args(argv)
    try:
        return _do(arguments)
    except Exception as error:  # noqa: BLE001 - the edge of the program: a sentence, and the traceback on request
        code, message = _explained(error)
        if arguments.debug:
            traceback.print_exc()
    _console(stderr=True).print(message, style="red", highlight=False, markup=False)
    return code


def _do(arguments: argparse.Namespace) -> int:
    if arguments.command == "run":
        return run(arguments.folder)
    if arguments.command == "schema":
        sys.stdout.write(schema(arguments.name))
        return EXIT_SUCCEEDED
    name = _MODULES.get(arguments.command, "commands")
    commands = importlib.import_module(f"sanitizer.cli.{name}").COMMANDS
    code: int = commands[arguments.command](arguments, _console(), _console(stderr=True))
    return code


def _console(**options: bool) -> Any:
    """Rich is loaded where something is to be printed, which a child does on its way to a crash only.

    Without emoji: a pattern's name such as wave:x:6:0.275 has an emoji's code, :x:, in it.
    """
    return importlib.import_module("rich.console").Console(emoji=False, **options)


def _explained(error: Exception) -> tuple[int, str]:
    """Exit code and sentence."""
    if isinstance(error, UsageError):
        return EXIT_USAGE, str(error)
    if isinstance(error, Interrupted):
        return EXIT_INTERRUPTED, str(error)
    if isinstance(error, SanitizerError):
        place = f" at {error.where}" if error.where and error.where not in str(error) else ""
        return EXIT_REFUSED, f"{error} ({error.code}{place})"
    if is_out_of_memory(error):
        return EXIT_REFUSED, str(out_of_memory())
    return EXIT_FAILED, f"{type(error).__name__}: {error} (--debug shows where)"


if __name__ == "__main__":
    sys.exit(main())
