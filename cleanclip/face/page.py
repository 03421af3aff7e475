"""What a report says. One model, three writers: report.html and report.md here, and the page of its job.

Untrusted text is made visible and escaped, nothing is loaded and no script runs.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cleanclip.face import sentences
from cleanclip.face.drawn import Drawn
from cleanclip.face.html import drawn, made_with
from cleanclip.face.markdown import bullets, code, origin_words, text
from cleanclip.vocabulary.jobspec import REPORT_HTML_HEAD
from cleanclip.vocabulary.report_kinds import AnyReport
from cleanclip.vocabulary.verdicts import Mood, Outcome

_NOTHING = Drawn()
_MOST_BULLETS = 20


@dataclass(frozen=True)
class Judged:
    """A trigger or a figure that a limit judges."""

    name: str
    further: str
    """After the name: what it leads to, and who found it."""
    outcome: Outcome
    reason: str


@dataclass(frozen=True, kw_only=True)
class Page:
    """In the order of a page. Every `Drawn` is HTML; all other strings may be untrusted."""

    report: AnyReport
    title: str
    about: str
    """What was done, to what."""
    subject: tuple[str, str]
    """What it was done to, and its digest."""
    question: str = ""
    mood: Mood | None = None
    headline: str
    """Without a full stop."""
    figure: tuple[str, str] | None = None
    """The one number, and what it means."""
    sentences: Sequence[str] = ()
    judged: Sequence[Judged] = ()
    """On the page of its job; the files have them under each trigger."""
    judged_too: Sequence[Judged] = ()
    """The other triggers, none worse."""
    lead: Drawn = _NOTHING
    """What to look at first."""
    front: Drawn = _NOTHING
    """What a decision begins with."""
    remarks: Sequence[str]
    """And warnings."""
    sections: Drawn
    """The rest, part by part."""
    limits_title: str = "What this does not show"
    limits: Sequence[str] = ()
    """Whatever it found."""
    first_limit: str = ""
    """In a few words: on report.html beside their title, where they are folded."""
    appendices: Drawn = _NOTHING
    """Of report.html alone."""
    short: Callable[[], Sequence[str]]
    """What report.md has of its own, in Markdown: the page of a job needs none of it."""
    digests: Sequence[tuple[str, str]]
    """What report.md ends with."""


def render_html(page: Page) -> str:
    """report.html. The same report gives the same bytes."""
    created = sentences.time(page.report.created_at)
    html = drawn("page.html.j2", page=page, report=page.report, created=created, made_with=made_with())
    return REPORT_HTML_HEAD + html.lstrip()


def render_markdown(page: Page) -> str:
    """report.md: the short form, to be pasted where Markdown is read."""
    report = page.report
    figure = [] if page.figure is None else [f"**{text(page.figure[0])}.** {text(page.figure[1])}"]
    digests = "\n".join(f"- {text(what)}: {code(digest)}" for what, digest in page.digests)
    parts = [
        f"## {text(page.title)}: {text(page.headline)}",
        *origin_words(report.origin),
        *filter(None, [text(page.question)]),
        *figure,
        *map(text, page.sentences),
        *page.short(),
        *bullets("Remarks and warnings", sentences.listed(page.remarks, _MOST_BULLETS)),
        *bullets(page.limits_title, page.limits),
        f"**Digests** (SHA-256)\n\n{digests}",
        f"Seed {report.seed}, {sentences.time(report.created_at)}. {sentences.signing(report)}",
    ]
    return "\n\n".join(parts) + "\n"
