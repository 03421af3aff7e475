"""HTML that was made here, as a template takes it: every text in it is visible and escaped already."""

from collections.abc import Sequence
from html import escape

from cleanclip.vocabulary.untrusted import shown

_LONGEST_NAME = 40


class Drawn(str):
    """Templates print it as it is."""

    __slots__ = ()

    def __html__(self) -> str:
        return str(self)


def text(untrusted: str) -> str:
    """Visible, and escaped."""
    return escape(shown(untrusted))


def name(untrusted: str) -> str:
    """The same, at most 40 characters: what stands in a plot has no room for more."""
    visible = shown(untrusted)
    return escape(visible if len(visible) <= _LONGEST_NAME else visible[: _LONGEST_NAME - 1] + "…")


def figure(
    prefix: str, size: tuple[float, float], said: tuple[str, str], marks: Sequence[str], caption: str
) -> Drawn:
    """An SVG over its caption, all of it HTML already. `said`: its name, and what it shows in words;
    `prefix` of its ids on the page."""
    title, words = said
    return Drawn(
        f'<figure class="plot"><svg viewBox="0 0 {size[0]} {size[1]}" role="img" '
        f'aria-labelledby="{prefix}-name {prefix}-words" xmlns="http://www.w3.org/2000/svg">'
        f'<title id="{prefix}-name">{title}</title><desc id="{prefix}-words">{words}</desc>'
        f"{''.join(marks)}</svg><figcaption>{caption}</figcaption></figure>"
    )


def label(x: float, y: float, style: str, words: str) -> str:
    """Text in a plot."""
    return f'<text x="{x}" y="{y}" class="{style}">{words}</text>'


def line(x1: float, y1: float, x2: float, y2: float, style: str = "") -> str:
    """From one point to the other."""
    of_class = f' class="{style}"' if style else ""
    return f'<line{of_class} x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}"/>'


def key(style: str, words: str) -> str:
    """In a caption: what the marks of a class are."""
    return f'<span class="key {style}">{words}</span> '
