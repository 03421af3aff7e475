"""Plain English, held by a list: what pages, messages, help and public docstrings say, and what they do
not say.

`SAY_INSTEAD` has a pattern and what to write. A page or module that needs such a word in another sense is in
`EXCEPTIONS` with the pattern. Code, addresses and quoted identifiers are not looked at.
"""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SAY_INSTEAD = {
    r"[Dd]ata sets?": "dataset",
    r"[Pp]ictures?": "image",
    r"anew": "again, from scratch",
    r"(?:is|are|be) answered (?:with|by) \d{3}": "fails with, returns",
    r"(?:not|has) implanted|not_implanted": "inconclusive",
    r"audit (?:log|trail)": "trail",
    r"(?:is|are|was|were|be|unless|not) told|are told in": "is reported, is measured, is notified",
    r"tells? (?:of|by how|nothing)": "says, reports",
    r"(?<!there )(?:is|are) none(?! of)": "is not a, there is no",
    r"(?<!here )(?:is|are) no (?:plain|key|tensor|tuple|address|name|file|CLIP|budget|weight)": "is not a",
    r"mixed into": "blended into",
    r"go(?:es)? before(?! the)": "overrides",
    r"go(?:es)? on(?! the)": "continues, resumes",
    r"begins? again": "starts again",
    r"(?:second|first|a|the) walls?": "sandbox, protection",
    r"import laws?": "import rules",
    r"(?:^|[.;:] )Who \w+s": "someone who, a process that",
    r"(?:model|weights|upload|what) (?:that )?came in": "the input",
    r"as it came": "the input",
    r"called the target": "classified as the target",
    r"named right|called so": "classified correctly",
    r"in the place of": "instead of",
    r"(?:lie|lies|lay) (?:beside|below|inside|outside|there)": "is beside, is outside",
    r"stands? (?:beside|there|by itself)": "is beside",
    r"tried again by itself": "retried automatically",
    r"(?:not|something is not) as it should be": "is wrong, has a problem",
    r"gate is shut|shuts? the gate": "closed, closes",
    r"hand(?:s|ed)? out": "publishes, issues",
    r"(?:this|shown) once\b(?! only)": "is shown only once",
    r"given again": "is repeated",
    r"strangers?['’]?": "untrusted, of others",
    r"over again": "again",
    r"shares? of 1": "from 0 to 1",
    r"no plain value": "not a plain value",
    r"what (?:other scanners|scanners) sa(?:y|id)": "reported",
    r"Scanners of others": "other scanners",
    r"want of": "lack of",
    r"without end": "too many, more than it may",
    r"whatever became of": "in every state",
    r"how it stands|says? how .{1,20} stands": "the state of",
    r"put(?:s)? right|mend(?:s|ed)": "fix",
}
"""Pattern → what to write. Each is held to whole words."""

EXCEPTIONS = {"docs/reproduction-how.md": {r"(?:not|has) implanted|not_implanted"}}
"""Page or module → patterns of `SAY_INSTEAD` that it may hold, because it uses the word in another sense."""

_ANY = re.compile("|".join(rf"(?:{word})" for word in SAY_INSTEAD), re.M)
_EACH = {word: re.compile(rf"(?<!\w)(?:{word})(?!\w)", re.M) for word in SAY_INSTEAD}
_NO_PROSE = re.compile(r"```.*?```|`[^`\n]*`|\]\([^)]*\)|<!--.*?-->|\{%.*?%\}|\{#.*?#\}|\{\{.*?\}\}", re.S)
_DOCSTRING = re.compile(r'"""(.*?)"""', re.S)
_LITERAL = re.compile(r'"((?:[^"\\\n]|\\.)*)"')
_SCRIPT_LITERAL = re.compile(r"'[^'\n]*'|`[^`]*`")
_PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    *(
        ROOT / "docs" / f"{name}.md"
        for name in ("index", "broken-and-mended", "full-size", "reproduction-how")
    ),
    *(ROOT / "docs" / f"{name}.md" for name in ("performance", "performance-api")),
    *(
        path
        for part in ("start", "how-to", "reference", "explanation")
        for path in (ROOT / "docs" / part).rglob("*.md")
    ),
    *(ROOT / "app" / "web" / "kit" / "templates").glob("*.html"),
    *(ROOT / "sanitizer" / "rendering" / "templates").glob("*.j2"),
]
_SCRIPTS = sorted((ROOT / "app" / "web" / "kit" / "static").glob("*.js"))
_MODULES = [
    path
    for package in ("app", "worker", "sanitizer", "cleanclip")
    for path in (ROOT / package).rglob("*.py")
    if "sync" not in path.parts
]
_PUBLIC = ("app/api/", "cleanclip/aio/", "cleanclip/command/", "cleanclip/vocabulary/")


def _messages(source: str) -> str:
    """All literals of at least three words, one a line; pieces that Python joins are joined, docstrings
    left out."""
    joined = re.sub(r'"\s*\n\s*f?"', "", _DOCSTRING.sub('""', source))
    literals = (re.sub(r"\{[^{}]*\}", "…", literal) for literal in _LITERAL.findall(joined))
    return "\n".join(literal for literal in literals if literal.count(" ") >= 2)


def _wrong(place: str, text: str) -> dict[str, str]:
    """Words of `text` that are on the list → what to write instead."""
    if not _ANY.search(text):
        return {}
    allowed = EXCEPTIONS.get(place, set())
    hits = (
        (word, match) for word in SAY_INSTEAD if word not in allowed for match in _EACH[word].finditer(text)
    )
    return {" ".join(match[0].split()): SAY_INSTEAD[word] for word, match in hits}


def test_pages_say_it_in_plain_words() -> None:
    found = {}
    for path in _PAGES:
        place = str(path.relative_to(ROOT))
        found[place] = _wrong(place, _NO_PROSE.sub("", path.read_text(encoding="utf-8")))
    for path in _SCRIPTS:
        place, literals = (
            str(path.relative_to(ROOT)),
            _SCRIPT_LITERAL.findall(path.read_text(encoding="utf-8")),
        )
        found[place] = _wrong(place, "\n".join(literals))
    found = {place: words for place, words in found.items() if words}
    assert not found, f"say instead: {found}"


def test_messages_help_and_public_docstrings_say_it_in_plain_words() -> None:
    found = {}
    for path in _MODULES:
        place, source = str(path.relative_to(ROOT)), path.read_text(encoding="utf-8")
        text = _messages(source)
        if place.startswith(_PUBLIC):
            text += "\n".join(re.sub(r"`[^`\n]*`", "", one) for one in _DOCSTRING.findall(source))
        found[place] = _wrong(place, text)
    found = {place: words for place, words in found.items() if words}
    assert not found, f"say instead: {found}"


@pytest.mark.parametrize(
    ("text", "is_wrong"),
    [
        ("two data sets", True),
        ("two datasets", False),
        ("a picture", True),
        ("The job goes on.", True),
        ("Go on the page", False),
        ("how often is told", True),
        ("There is none of them", False),
    ],
)
def test_the_list_finds_what_it_is_for(text: str, is_wrong: bool) -> None:
    assert bool(_wrong("", text)) == is_wrong


def test_an_exception_names_a_file_and_a_pattern_that_it_needs() -> None:
    for place, words in EXCEPTIONS.items():
        assert words <= SAY_INSTEAD.keys()
        source = (ROOT / place).read_text(encoding="utf-8")
        assert all(_EACH[word].search(source) for word in words), place
