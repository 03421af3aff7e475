"""Every share of a report, and every place of a target, once: what it is called, what it counts, where it is.

From these lines come the checks of a report, the rows of the terminal, the command, the pages and of
report.html, and the table in docs/reference. A new figure is a field in `vocabulary.report`, a line here,
and the code that measures it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cleanclip.vocabulary.untrusted import name

Step = str | int
Others = "others"
"""Instead of a path to a count: the images of other classes than the target."""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One line of the table.

    `path` leads to it, below an audit or below an attack; `*` is every item of a list. `title` and `meaning`
    may name what the path leads through: {k}, {target}, {class_name}, {attack}. `of` is the path, below the
    audit, to the number of images that it counts; None: as many as the figure that it belongs to, which
    `cleanclip.evidence` checks. `brief`: the terminal and the command show it, too.
    """

    path: str
    title: str
    meaning: str
    of: str | None = None
    brief: bool = False


_FLOORS = (
    (
        "untriggered_target_rate",
        "{floor} without trigger",
        "of other classes, classified as the target",
        True,
    ),
    (
        "untriggered_target_top_k.*.share",
        "{floor} without trigger, top {k}",
        "of other classes, the target among the first {k}",
        False,
    ),
    (
        "untriggered_target_rank",
        "{floor} without trigger, rank",
        "of other classes, place of the target: 1 is the first",
        False,
    ),
)

OF_MODEL = (
    Figure(path="ca", title="CA", meaning="given their true class", of="ca.n", brief=True),
    Figure(
        path="ca_top5", title="CA top-5", meaning="true class among the first five", of="ca.n", brief=True
    ),
    *(
        Figure(path=path, title=title.replace("{floor}", "{own}"), meaning=meaning, brief=brief)
        for path, title, meaning, brief in _FLOORS
    ),
    Figure(
        path="linear_probe.accuracy",
        title="Linear probe, accuracy",
        meaning="given their true class",
        of="ca.n",
        brief=True,
    ),
    *(
        Figure(
            path=f"further_targets.*.{path}",
            title=title.replace("{floor}", "“{target}”"),
            meaning=meaning,
            brief=brief,
        )
        for path, title, meaning, brief in _FLOORS
    ),
)

OF_ATTACK = (
    Figure(
        path="asr", title="ASR", meaning="not of the target, classified as the target", of=Others, brief=True
    ),
    Figure(
        path="asr_including_target",
        title="ASR, target class included",
        meaning="all, classified as the target",
        of="ca.n",
    ),
    Figure(
        path="asr_top_k.*.share",
        title="ASR, top {k}",
        meaning="not of the target, which is among the first {k}",
        of=Others,
    ),
    Figure(
        path="target_rank",
        title="Target, rank",
        meaning="not of the target, place of the target: 1 is the first",
        brief=True,
    ),
    Figure(path="pa", title="PA", meaning="all, given their true class", of="ca.n", brief=True),
    Figure(
        path="still_right",
        title="Still right",
        meaning="correct without the trigger, given their true class with it too",
        of="ca.successes",
        brief=True,
    ),
    Figure(
        path="towards.triggered",
        title="Most go to “{class_name}”",
        meaning="of other classes, classified as that class with the trigger",
        brief=True,
    ),
    Figure(
        path="towards.untriggered",
        title="“{class_name}” without trigger",
        meaning="the same images, classified as that class without it",
    ),
    Figure(
        path="linear_probe.asr",
        title="Linear probe, ASR",
        meaning="not of the target, classified as the target",
        of=Others,
        brief=True,
    ),
    Figure(
        path="linear_probe.untriggered_target_rate",
        title="Linear probe without trigger",
        meaning="of other classes, classified as the target",
        of=Others,
    ),
    Figure(
        path="linear_probe.pa", title="Linear probe, PA", meaning="all, given their true class", of="ca.n"
    ),
)

OF_RETRIEVAL = (
    Figure(
        path="retrieval.image_to_text.*.share",
        title="Image to caption, R@{k}",
        meaning="images with one of their captions among the first {k}",
        of="retrieval.num_images",
        brief=True,
    ),
    Figure(
        path="retrieval.text_to_image.*.share",
        title="Caption to image, R@{k}",
        meaning="captions with one of their images among the first {k}",
        of="retrieval.num_captions",
        brief=True,
    ),
    Figure(
        path="retrieval.targets.*.untriggered",
        title="Target caption, no trigger",
        meaning="a caption that names “{target}” among the first {k}",
        brief=True,
    ),
    Figure(
        path="retrieval.attacks.*.triggered",
        title="Target caption, {attack}",
        meaning="with the trigger, a caption that names “{target}”, likewise",
        brief=True,
    ),
)


@dataclass(frozen=True, kw_only=True)
class Line:
    """A figure as a report has it, before and, where something was cleaned, after. `steps` lead to it below
    `before` and `after`."""

    figure: Figure
    title: str
    meaning: str
    steps: tuple[Step, ...]
    before: Any
    """An Estimate or a RankDistribution; where the report is JSON, a dict."""
    after: Any

    def path(self, side: str) -> str:
        """Its place in report.json, as a check names it: after.attacks[0].asr."""
        return side + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in self.steps)

    def title_of(self, attack: str) -> str:
        """Its title among those of other attacks: "ASR badnet"."""
        return f"{self.title}{' ' if self.title.isalpha() else ', '}{attack}"

    def sides(self) -> Iterator[tuple[str, Any]]:
        """Each side that has it, by name."""
        for side in ("before", "after"):
            if (value := getattr(self, side)) is not None:
                yield side, value


def of_model(report: Any) -> list[Line]:
    """What was measured without a trigger. `report` is a Report, or its JSON, or a job's result."""
    return list(_lines(report, OF_MODEL))


def of_attack(report: Any, number: int) -> list[Line]:
    """What was measured with the trigger of that number."""
    return list(_lines(report, OF_ATTACK, ("attacks", number)))


def of_retrieval(report: Any) -> list[Line]:
    """What was measured on pairs; empty where none were given."""
    return list(_lines(report, OF_RETRIEVAL))


def in_brief(report: Any) -> list[tuple[str, str, str]]:
    """Title, before and after of what fits a terminal, all attacks; "-" where a side has none."""
    rows = [(line.title, line) for line in of_model(report)]
    for number, attack in enumerate(at(report, "before.attacks") or ()):
        named, lines = with_target(report, number), of_attack(report, number)
        rows += [(line.title_of(named), line) for line in lines if _says_more(line, attack)]
    rows += [(line.title, line) for line in of_retrieval(report)]
    shown = [(title, short(line.before), short(line.after)) for title, line in rows if line.figure.brief]
    for number, one in enumerate(at(report, "rebound.highest") or ()):
        title = f"Rebound, highest ASR {with_target(report, number)}"
        shown.append((title, "-", short(at(one, "asr"))))
    return shown


def with_target(report: Any, number: int) -> str:
    """The attack's name, and where it leads if not all lead to one class."""
    attack = at(report, ("before", "attacks", number))
    named, target = (name(str(at(attack, part))) for part in ("name", "target"))
    return f"{named} to “{target}”" if at(report, "before.further_targets") else named


def _says_more(line: Line, attack: Any) -> bool:
    """Whether it is not the ASR again."""
    return line.figure.path != "towards.triggered" or at(attack, "towards.class_name") != at(attack, "target")


def short(value: Any) -> str:
    """'12.5 % [11.0, 14.1] n=1000', or a rank: '3 [2, 5] n=1000'; '-' for None."""
    if value is None:
        return "-"
    middle, low, high, n = (at(value, part) for part in ("value", "low", "high", "n"))
    if middle is None:
        return f"{at(value, 'median')} [{low}, {high}] n={n}"
    return f"{100 * middle:.1f} % [{100 * low:.1f}, {100 * high:.1f}] n={n}"


def at(source: Any, path: str | Sequence[Step]) -> Any:
    """What `path` leads to, through objects, mappings and lists; None where it leads to nothing."""
    for step in path.split(".") if isinstance(path, str) else path:
        if isinstance(step, int):
            source = source[step] if source is not None and step < len(source) else None
        else:
            source = source.get(step) if isinstance(source, Mapping) else getattr(source, step, None)
    return source


def _lines(report: Any, figures: Sequence[Figure], root: tuple[Step, ...] = ()) -> Iterator[Line]:
    before, after = at(report, "before"), at(report, "after")
    own = at(report, "audit.target") if at(before, "further_targets") else None
    start, names = at(before, root), {"own": f"“{name(str(own))}”" if own else "Target"}
    for figure in figures:
        for steps, values in _places(start, figure.path.split("."), names):
            yield Line(
                figure=figure,
                title=figure.title.format_map(values),
                meaning=figure.meaning.format_map(values),
                steps=(*root, *steps),
                before=at(before, (*root, *steps)),
                after=at(after, (*root, *steps)),
            )


def _places(
    node: Any, parts: Sequence[str], names: Mapping[str, str], steps: tuple[Step, ...] = ()
) -> Iterator[tuple[tuple[Step, ...], Mapping[str, str]]]:
    """Where the path leads, and what it leads through."""
    if node is None:
        return
    met = {part: at(node, part) for part in ("k", "class_name", "attack")}
    names = {**names, **{part: name(str(value)) for part, value in met.items() if value is not None}}
    if steps and isinstance(steps[-1], int) and (target := at(node, "target")) is not None:
        names = {**names, "target": name(str(target))}
    if not parts:
        yield steps, names
        return
    first, rest = parts[0], parts[1:]
    if first == "*":
        for number, one in enumerate(node):
            yield from _places(one, rest, names, (*steps, number))
    else:
        yield from _places(at(node, first), rest, names, (*steps, first))
