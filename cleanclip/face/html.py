"""report.html: one file, styles and plots inside, no script, nothing loaded from anywhere.

Every value that a template prints goes through `untrusted.shown` and is then escaped, without the template
asking for it; only our own SVG is put in as it is.
"""

import json
from collections.abc import Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from cleanclip.face import examples, figures, plots, rebound, retrieval, sentences
from cleanclip.face.drawn import Drawn
from cleanclip.face.table_rows import points
from cleanclip.vocabulary import control, untested
from cleanclip.vocabulary.attack_options import AttackOptions, without_image
from cleanclip.vocabulary.jobspec import REPORT_HTML_HEAD
from cleanclip.vocabulary.plain_images import data_uri
from cleanclip.vocabulary.progress import rate_words
from cleanclip.vocabulary.recipe import to_json
from cleanclip.vocabulary.report import Report
from cleanclip.vocabulary.report_inputs import WHAT_DANGEROUS_MEANS, scanner_words
from cleanclip.vocabulary.sections import sections_of
from cleanclip.vocabulary.untrusted import name, rows, shown
from cleanclip.vocabulary.verdict_texts import percent, share

SHEET = Path(__file__).parent / "templates" / "sections.css"
"""The looks of `sections` and of plots, for a page that has them."""
_MADE_WITH = ("cleanclip-service", "jinja2")


def render_html(report: Report) -> str:
    """The page. `report` has been checked: see `checked_report`."""
    page = (
        environment()
        .get_template("report.html.j2")
        .render(
            report=report,
            created=sentences.time(report.created_at),
            question=sentences.question(report),
            headline=sentences.headline(report),
            front=front(report),
            remarks=report.remarks,
            not_tested=untested.not_tested(report),
            sections=sections(report),
            made_with=made_with(),
        )
    )
    return REPORT_HTML_HEAD + page.lstrip()


def front(report: Report) -> Drawn:
    """CA, ASR and PA, also on withheld images: on its job's page and in report.html. As `render_html`."""
    rows, num_left_out = figures.front(report)
    return Drawn(
        environment()
        .get_template("front.html.j2")
        .render(
            report=report,
            rows=rows,
            num_left_out=num_left_out,
            num_triggers=len(report.before.attacks),
            on_withheld=figures.on_withheld(report),
            withheld=sentences.withheld(report),
        )
    )


def sections(report: Report) -> Drawn:
    """What it holds, part by part, each folded: on its job's page and in report.html. As `render_html`."""
    return Drawn(
        environment()
        .get_template("sections.html.j2")
        .render(
            report=report,
            withholds=report.withheld is not None,
            targets=untested.quoted(untested.targets_of(report.audit)),
            without_trigger=figures.without_trigger(report),
            attacks=figures.attacks(report),
            lowest_classes=figures.lowest_classes(report),
            cards=examples.cards(report),
            recall=retrieval.recall(report),
            recall_lost=retrieval.lost(report),
            captions=retrieval.captions(report),
            says_dangerous=any(one.verdict == "dangerous" for one in report.checkpoint.scanners),
            what_dangerous_means=WHAT_DANGEROUS_MEANS,
            kinds=untested.KINDS,
            architecture=rows(report.checkpoint.architecture),
            settled=sentences.settled(report),
            declared=[row for row in rows(to_json(report.checkpoint.declared)) if row[1] != "not set"],
            recipe=rows(to_json(report.recipe)) if report.recipe else [],
            other_limits=sentences.other_limits(report),
            whose_limits=sentences.whose_limits(report),
            whose_options=sentences.whose_options(report),
            method_name=sentences.METHODS[report.recipe.method] if report.recipe else None,
            documents=_documents(report),
            training_files=_training_files(report),
            has_policy=report.policy_source.given != "default",
            has_found=len(_named_attacks(report)) < len(report.audit.attacks),
            has_images=any(hasattr(attack, "image") for attack in _named_attacks(report)),
            rates_plot=plots.rates(report),
            control=control.table(report.control.families) if report.control else None,
            highest=rebound.highest(report),
            rebound_tables=rebound.tables(report),
            relearned=rebound.relearned(report),
            way_back=rebound.way_back(report),
            rebound_plot=plots.rebound(report),
            loss_plot=plots.loss(report.training.curve if report.training else ()),
        )
    )


def made_with() -> str:
    """What made the page, with versions: another version may draw other bytes."""
    return ", ".join(f"{package} {_version(package)}" for package in _MADE_WITH)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"


def _documents(report: Report) -> list[tuple[str, Markup]]:
    """What `python -m sanitizer` needs to do the same again, as files: (name, JSON in ASCII).

    But for images, which would fill the page: with one, audit.json is to be taken from report.json.
    """
    attacks = [without_image(to_json(attack)) for attack in _named_attacks(report)]
    found = {"audit.json": {**to_json(report.audit), "attacks": attacks}}
    if report.policy_source.given != "default":
        found["policy.json"] = to_json(report.policy)
    if report.recipe is not None:
        found["recipe.json"] = to_json(report.recipe)
    declared = {key: value for key, value in to_json(report.checkpoint.declared).items() if value is not None}
    if declared:
        found["declared.json"] = declared
    return [(file, escape(_compact(document))) for file, document in found.items()]


def _named_attacks(report: Report) -> Sequence[AttackOptions]:
    """Attacks of the audit without those of a scan, which the command takes from the scan's report."""
    attacks = report.audit.attacks
    return attacks if report.scan is None else attacks[: report.scan.num_known]


def _training_files(report: Report) -> str:
    """The option that names the training data; "" of an audit."""
    if report.recipe is None:
        return ""
    return " --pairs PAIRS" if report.recipe.training_data == "pairs" else " --training IMAGES"


def _compact(document: dict[str, Any]) -> str:
    """JSON in ASCII, one line for each entry of the outermost object."""
    lines = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in document.items()]
    return "{" + ",\n ".join(lines) + "}"


@cache
def environment() -> Environment:
    """Of every page's template."""
    made = Environment(
        loader=PackageLoader("cleanclip.face"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalized,
    )
    made.filters["name"] = name
    made.filters["percent"] = percent
    made.filters["share"] = share
    made.filters["rate"] = rate_words
    made.filters["listed"] = sentences.listed
    made.filters["image"] = lambda image: escape(data_uri(image))  # longer than any text that a page shows
    made.globals["points"] = points
    made.globals["sections_of"] = sections_of
    made.globals["scanner_words"] = scanner_words
    return made


def _finalized(value: Any) -> Any:
    """Of whatever a template prints: untrusted text is made visible before it is escaped."""
    return shown(value) if isinstance(value, str) and not hasattr(value, "__html__") else value
