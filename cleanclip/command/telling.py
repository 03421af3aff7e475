"""What several commands tell alike. Knows no option."""

from __future__ import annotations

from cleanclip.command.output import Output
from cleanclip.project_models import Deletion


def tell_deleted(output: Output, what: str, found: Deletion | None) -> None:
    """The end of every `rm`: what goes, and where the receipt will be."""
    if found is not None:
        output.note(f"It goes with one of the next sweeps. The receipt: cleanclip deletions show {found.id}")
    output.result({"deleted": what, "deletion": None if found is None else found.id}, what)
