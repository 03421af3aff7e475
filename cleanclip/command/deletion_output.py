"""How every command that deletes reports what goes."""

from cleanclip.command.output import Output
from cleanclip.project_models import Deletion


def show_deletion(output: Output, what: str, deletion: Deletion | None) -> None:
    """The end of every `rm`: what goes, and where the receipt will be."""
    if deletion is not None:
        output.note(
            f"It is removed by one of the next sweeps. The receipt: cleanclip deletions show {deletion.id}"
        )
    output.result({"deleted": what, "deletion": None if deletion is None else deletion.id}, what)
