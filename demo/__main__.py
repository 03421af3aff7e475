"""`python -m demo`, behind `make demo`.

Exit codes: 0 the aim was reached, 1 it was not, 2 something failed, 130 Ctrl-C.
"""

import argparse
import os
import sys
from pathlib import Path

from rich.console import Console

from cleanclip.errors import CleanClipError
from demo.run import ROOT, DemoOptions, run
from demo.serving import ServiceFailed

EXIT_REACHED, EXIT_MISSED, EXIT_FAILED, EXIT_INTERRUPTED = 0, 1, 2, 130


def main(arguments: list[str] | None = None) -> int:
    """Run the demo; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m demo", description="Poison a small CLIP and clean it.")
    parser.add_argument("--folder", type=Path, default=ROOT / "var" / "demo")
    parser.add_argument("--seed", type=int, default=int(os.environ.get("SEED") or 1))
    parser.add_argument("--keep", action="store_true", default=os.environ.get("KEEP", "") not in ("", "0"))
    given = parser.parse_args(arguments)
    console = Console(emoji=False)
    try:
        is_reached = run(DemoOptions(folder=given.folder, seed=given.seed, keep=given.keep), console)
    except KeyboardInterrupt:
        console.print("\nStopped; no process is left running.")
        return EXIT_INTERRUPTED
    except (ServiceFailed, CleanClipError) as error:
        console.print(f"\n{error}", style="red", markup=False, highlight=False)
        console.print(f"  The logs are in {given.folder / 'serve'}.", highlight=False)
        return EXIT_FAILED
    return EXIT_REACHED if is_reached else EXIT_MISSED


if __name__ == "__main__":
    sys.exit(main())
