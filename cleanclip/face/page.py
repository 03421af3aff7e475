"""What a report says that judges no audit: of a scan, a vetting, a kind of job with rows only.

One model, three writers: report.html and report.md here, and the page of its job. Untrusted text is made
visible and escaped, nothing is loaded and no script runs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from cleanclip.face import sentences
from cleanclip.face.drawn import Drawn
from cleanclip.face.html import environment, made_with
from cleanclip.face.markdown import code, text, warnings
from cleanclip.vocabulary.jobspec import REPORT_HTML_HEAD
from cleanclip.vocabulary.report_kinds import PlainReport
from cleanclip.vocabulary.scan_report import ScanReport
from cleanclip.vocabulary.verdicts import Mood
from cleanclip.vocabulary.vet_report import VetReport

_NOTHING = Drawn()


@dataclass(frozen=True, kw_only=True)
class Page:
    """In the order of a page. Every `Drawn` is HTML; all other strings may be untrusted."""

    report: ScanReport | VetReport | PlainReport
    title: str
    about: str
    """What was done, to what."""
    subject: tuple[str, str]
    """What it was done to, and its digest."""
    mood: Mood | None = None
    headline: str
    """Without a full stop."""
    figure: tuple[str, str] | None = None
    """The one number, and what it means."""
    sentences: Sequence[str] = ()
    lead: Drawn = _NOTHING
    """What to look at first."""
    front: Drawn = _NOTHING
    """What a decision begins with."""
    sections: Drawn
    """The rest, part by part."""
    limits: Sequence[str] = ()
    """What it does not show, whatever it found."""
    short: Sequence[str] = ()
    """What report.md has of its own, in Markdown."""
    digests: Sequence[tuple[str, str]] = ()
    """What report.md ends with."""

    @property
    def warnings(self) -> list[str]:
        """The first of them."""
        return sentences.listed(self.report.warnings)


def drawn(template: str, **values: object) -> Drawn:
    """A part of a page."""
    return Drawn(environment().get_template(template).render(**values))


def render_html(page: Page) -> str:
    """report.html. The same report gives the same bytes."""
    created = sentences.time(page.report.created_at)
    html = drawn("page.html.j2", page=page, report=page.report, created=created, made_with=made_with())
    return REPORT_HTML_HEAD + html.lstrip()


def render_markdown(page: Page) -> str:
    """report.md: the short form, to be pasted where Markdown is read."""
    report = page.report
    figure = [] if page.figure is None else [f"**{text(page.figure[0])}.** {text(page.figure[1])}"]
    parts = [
        f"## {text(page.title)}: {text(page.headline)}",
        *figure,
        *map(text, page.sentences),
        *page.short,
    ]
    if report.warnings:
        parts.append(warnings(report.warnings))
    digests = ", ".join(f"{text(what)} {code(digest)}" for what, digest in page.digests)
    parts.append(
        f"{digests}, seed {report.seed}, {sentences.time(report.created_at)}. {sentences.signing(report)}"
    )
    return "\n\n".join(parts) + "\n"
