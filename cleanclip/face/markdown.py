"""report.md: the short form, to be pasted where Markdown is read (a pull request).

Untrusted words can be neither markup, link, mention nor reference in it: what Markdown would read is
escaped, digests stand in code spans, and what GitHub links on its own is broken by an empty comment.
"""

import re
from collections.abc import Sequence

from cleanclip.vocabulary import control
from cleanclip.vocabulary.report_inputs import FetchedSource, Origin
from cleanclip.vocabulary.untrusted import MAX_NAME_CHARACTERS, shown

_BREAK = "<!-- -->"


def bullets(title: str, listed: Sequence[str]) -> list[str]:
    """Sentences under a title; empty where there are none."""
    return [f"**{title}**\n\n" + "\n".join(f"- {text(one)}" for one in listed)] if listed else []


def control_table(families: Sequence[control.Strongest]) -> list[str]:
    """In Markdown; empty where nothing was searched."""
    table = control.table(families)
    if table is None:
        return []
    lines = [table.columns, ("---",) * len(table.columns)]
    lines += [(*cells, code(class_name)) for *cells, class_name in table.rows]
    return [table.about, "\n".join(f"| {' | '.join(cells)} |" for cells in lines)]


def origin_words(origin: Origin | None) -> list[str]:
    """Whose model it is, and which job wrote this."""
    if origin is None:
        return []
    job = f"{code(origin.job_name)}, {code(origin.job_id)}" if origin.job_name else code(origin.job_id)
    return [
        f"Model file {code(origin.filename)}, job {job}, project {code(origin.project)}, requested by "
        f"{code(origin.requested_by)}.{_fetched(origin.source)}"
    ]


def _fetched(source: FetchedSource | None) -> str:
    if source is None:
        return ""
    commit = f", commit {code(source.commit)}, file {code(source.path or '')}" if source.commit else ""
    return f" Fetched from {code(source.ordered)}{commit}, at {code(source.fetched_at)}."


def code(words: str) -> str:
    """An untrusted name in a code span that nothing in it can close."""
    visible = shown(words, MAX_NAME_CHARACTERS)
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", visible)), default=0))
    pad = " " if visible.startswith(("`", " ")) or visible.endswith(("`", " ")) or not visible else ""
    return f"{fence}{pad}{visible}{pad}{fence}"


def text(words: str) -> str:
    """A sentence with all that Markdown would read escaped."""
    escaped = re.sub(r"([\\`*_\[\]<>|~&$#!{}])", r"\\\1", shown(words))
    return re.sub(r"(@|#|://|www(?=\.))", rf"\1{_BREAK}", escaped)
