"""report.html of the kept reports: whole in itself, accessible, and with every figure of report.json."""

import base64
import copy
import hashlib
import itertools
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from cleanclip.face.markdown import text as markdown_text
from cleanclip.vocabulary.jobspec import REPORT_HTML_HEAD
from cleanclip.vocabulary.policy import Policy, PolicySource
from cleanclip.vocabulary.recipe import parse, parse_recipe, to_json
from cleanclip.vocabulary.recommended import RecipeSource
from cleanclip.vocabulary.remarks import remarks
from cleanclip.vocabulary.report import load_json
from cleanclip.vocabulary.report_inputs import WHAT_DANGEROUS_MEANS
from cleanclip.vocabulary.uar_recipe import UARRecipe
from cleanclip.vocabulary.untested import not_tested
from sanitizer.audits.statistics import wilson
from tests.fixtures.html_page import Element, Page
from tests.fixtures.kept_reports import FOLDER, NAMES, OTHERS, document, drawn, drawn_from, markdown_from

MAX_BYTES = 5_000_000
ROOT = Path(__file__).resolve().parents[4]
CSS = (ROOT / "cleanclip/face/templates/report.css").read_text()
every_report = pytest.mark.parametrize("name", NAMES)


def test_every_kind_of_report_is_kept() -> None:
    assert set(NAMES) == {"cleaned", *OTHERS}


@every_report
def test_a_page_loads_nothing_and_runs_nothing(name: str) -> None:
    source, _ = drawn(name)
    assert source.startswith(REPORT_HTML_HEAD)
    assert len(source.encode()) < MAX_BYTES
    page = Page(source)
    tags = {one.tag for one in page.elements}
    assert not tags & {"script", "iframe", "object", "embed", "link", "image", "base", "form", "audio"}
    for element in page.elements:
        for attribute, value in element.attributes.items():
            assert not attribute.startswith("on")
            if (element.tag, attribute) == ("img", "src"):
                assert re.match("data:image/(png|jpeg);base64,[A-Za-z0-9+/]+={0,2}$", value)
            elif attribute in {"href", "src", "xlink:href", "action", "data", "srcset", "poster"}:
                assert value.startswith("#"), (element.tag, attribute)
            assert "url(" not in value.replace("url(#", "")
    assert "url(" not in CSS
    assert "@import" not in CSS


@every_report
def test_a_page_is_accessible(name: str) -> None:
    page = Page(drawn(name)[0])
    assert page.all("html")[0].attributes["lang"] == "en"
    assert len(page.all("title")[0].text) > 10
    levels = [int(one.tag[1]) for one in page.elements if re.fullmatch("h[1-6]", one.tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(following <= level + 1 for level, following in itertools.pairwise(levels))
    for cell in page.all("th"):
        assert cell.attributes["scope"] in {"col", "row"}
        assert cell.text.strip()
    for table in page.all("table"):
        assert table.children[0].tag == "caption"
        columns = len(table.all("thead")[0].all("th"))
        assert all(len(row.children) == columns for row in table.all("tr"))
    ids = [one.attributes["id"] for one in page.elements if "id" in one.attributes]
    assert len(set(ids)) == len(ids)
    for element in page.elements:
        labels = element.attributes.get("aria-labelledby", "").split()
        links = [element.attributes["href"][1:]] if "href" in element.attributes else []
        assert {*labels, *links} <= set(ids)
    for picture in page.all("img"):
        assert len(picture.attributes["alt"]) > 30
        assert picture.attributes["width"] == picture.attributes["height"]
    for plot in page.all("svg"):
        assert plot.attributes["role"] == "img"
        assert [child.tag for child in plot.children[:2]] == ["title", "desc"]
        assert len(plot.children[1].text) > 40
    assert len(page.all("svg")) == (1 if name.startswith("audit") else 3 if name == "rebound" else 2)


def colours(block: str) -> dict[str, str]:
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block))


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_stands_out_from_what_it_stands_on(scheme: str) -> None:
    light, dark = CSS.split("@media screen and (prefers-color-scheme: dark)")
    found = colours(light) | (colours(dark) if scheme == "dark" else {})
    on_paper = ("ink", "quiet", "before", "after", "limit")
    pairs = [(name, "paper") for name in on_paper] + [("ink", "soft")]
    pairs.append(("bad", "paper"))
    for mood in ("good", "bad", "open"):
        pairs += [(mood, f"{mood}-soft"), ("ink", f"{mood}-soft"), ("quiet", f"{mood}-soft")]
    for text, ground in pairs:
        high, low = sorted((luminance(found[text]), luminance(found[ground])), reverse=True)
        assert (high + 0.05) / (low + 0.05) >= 4.5, (text, ground)


def test_print_is_light_on_any_screen() -> None:
    for query in re.findall(r"@media ([^{]*prefers-color-scheme[^{]*)", CSS):
        assert query.startswith("screen and")


def estimates(value: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every measured share and difference of a report, with its path."""
    if isinstance(value, dict):
        if value.get("method") in {"wilson", "newcombe_paired", "order_statistics", "student_t"}:
            yield path, value
        else:
            for key, inner in value.items():
                yield from estimates(inner, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from estimates(inner, f"{path}.{number}")


def answers(written: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """What was said of every example, with its path."""
    for place, one in enumerate((written.get("examples") or {"examples": []})["examples"]):
        path = f"examples.examples.{place}"
        pictures = [(f"{path}.clean", one["clean"])]
        pictures += [
            (f"{path}.triggered.{number}", reported) for number, reported in enumerate(one["triggered"])
        ]
        for where, picture in pictures:
            yield from ((f"{where}.{side}", picture[side]) for side in ("before", "after") if picture[side])


def as_printed(path: str, value: float) -> float:
    """Shares in per cent, distances with four decimals, counts and places as they are."""
    if path.startswith("drift."):
        return round(value, 4)
    is_share = path.endswith((".value", ".low", ".high", ".probability")) and "target_rank" not in path
    return round(100 * value, 2) if is_share else value


IN_WORDS = re.compile(
    r"^architecture\.|^rebound\.relearned\.|\.towards_now\.|\.ca_per_class\.|^control\..*\.without\."
)
"""Told in sentences or summed up, held against `towards`, and of many classes only the worst."""


@every_report
def test_every_figure_of_the_report_stands_in_the_page_exactly(name: str) -> None:
    page = Page(drawn(name)[0])
    shown: dict[str, list[Any]] = {}
    for one in page.all("data"):
        shown.setdefault(one.attributes["data-figure"], []).append(one)
    expected = {
        f"{path}.{part}": value
        for path, estimate in estimates(document(name))
        for part, value in estimate.items()
        if part not in {"both", "confidence", "method"}
    } | {f"{path}.probability": said["probability"] for path, said in answers(document(name))}
    assert [path for path in expected.keys() - shown.keys() if not IN_WORDS.search(path)] == []
    assert [path for path in shown.keys() - expected.keys() if not path.startswith("rebound.")] == []
    for path in expected.keys() & shown.keys():
        value = expected[path]
        for element in shown[path]:
            assert json.loads(element.attributes["value"]) == value
            assert float(element.text.removesuffix(" %")) == as_printed(path, value)


@every_report
def test_beside_every_figure_stand_its_interval_and_its_n(name: str) -> None:
    page = Page(drawn(name)[0])
    for one in page.all("data"):
        path, _, part = one.attributes["data-figure"].rpartition(".")
        if part in {"value", "median"}:
            cell = one.parent
            while cell is not None and cell.tag not in {"td", "th", "p"}:
                cell = cell.parent
            assert cell is not None
            beside = {other.attributes["data-figure"] for other in cell.all("data")}
            assert {f"{path}.low", f"{path}.high", f"{path}.n"} <= beside
            assert "95 %" in cell.text


NOTHING_FOUND = "Nothing found with the 3 triggers tested: inconclusive"
CLEANED = "Cleaned, as far as tested: pass"
VERDICTS = {
    "cleaned": (CLEANED, "The trigger badnet no longer works beyond the limit"),
    "not_cleaned": ("Not cleaned: fail", "the attack success rate is still over the limit: badnet."),
    "too_dear": ("Not cleaned: fail", "Clean accuracy fell by more than the limit."),
    "several_targets": (CLEANED, "The trigger badnet no longer works beyond the limit"),
    "par": ("Too few test images: undecided", "More images would decide: clean accuracy."),
    "examples": ("Too few test images: undecided", "More images would decide: clean accuracy."),
    "rebound": (CLEANED, "Benign fine-tuning did not bring them back."),
    "retrieval": (CLEANED, "The trigger badnet no longer works beyond the limit"),
    "undecided": ("Too few test images: undecided", "More images would decide: badnet."),
    "inconclusive": (NOTHING_FOUND, "so the cleaning shows nothing"),
    "audit": (
        "A trigger works on this model: fail",
        "go to one class more often than the gate or the limit allows: badnet.",
    ),
    "audit_inconclusive": (
        NOTHING_FOUND,
        "None of the triggers tested reaches the gate. The model may still have a backdoor",
    ),
}


@every_report
def test_the_first_page_says_question_verdict_and_what_was_not_tested(name: str) -> None:
    source, markdown = drawn(name)
    first = Page(source).all("section")[0]
    headings = [one.text for one in first.all("h2")]
    assert headings == ["The question", "The verdict", "The three figures", "What was not tested", "Decision"]
    label, sentence = VERDICTS[name]
    written = document(name)
    (box,) = (one for one in first.all("div") if "verdict" in one.attributes.get("class", ""))
    assert box.all("p")[0].text == label
    assert sentence in box.text
    assert written["verdict"]["reason"] not in box.text  # the sentence says it, once
    assert written["verdict"]["reason"] not in markdown
    assert label in markdown
    assert [words for words in written["warnings"] if markdown_text(words) not in markdown] == []
    checkpoint, audit = written["checkpoint"], written["audit"]
    assert (checkpoint["upload_sha256"] or checkpoint["weights_sha256"]) in first.all("p")[1].text
    for target in filter(None, (audit["target"], *(attack.get("target") for attack in audit["attacks"]))):
        assert f"“{target}”" in first.all("p")[2].text
    (untested,) = (one.text for one in first.all("ul") if one.attributes.get("class") == "untested")
    for words in ("Any other trigger", "Structured triggers", "Any target class but", "another size"):
        assert words in untested
        assert words in markdown


def test_the_front_names_file_job_project_and_requester_and_has_room_to_sign() -> None:
    origin = {
        "filename": "clip <b>.pt",
        "source": {
            "ordered": "hf://openai/clip@main",
            "commit": "c0ffee" + "0" * 34,
            "path": "model.safetensors",
            "size_bytes": 1,
            "sha256": "1" * 64,
            "fetched_at": "2026-12-01T12:00:00+00:00",
        },
        "job_id": "job_01k00000000000000000000000",
        "job_name": "Release 7",
        "project": "research",
        "requested_by": "nightly key_01k00000000000000000000000",
    }
    page, text = drawn_from(document("cleaned") | {"origin": origin})[:2]
    assert f"Fetched from `hf://openai/clip@main`, commit `c0ffee{'0' * 34}`, file" in text
    first = Page(page).all("section")[0]
    facts = {one.all("dt")[0].text: one.all("dd")[0].text for one in first.all("dl")[0].all("div")}
    assert facts == {
        "Model file": "clip <b>.pt",
        "Fetched from": f"hf://openai/clip@main, commit c0ffee{'0' * 34}, file model.safetensors, "
        "at 2026-12-01T12:00:00+00:00",
        "Job": "Release 7, job_01k00000000000000000000000",
        "Project": "research",
        "Requested by": "nightly key_01k00000000000000000000000",
    }
    (sign_off,) = (one for one in first.all("table") if one.attributes.get("class") == "sign-off")
    assert [one.text for one in sign_off.all("thead")[0].all("th")] == [
        "Decision",
        "Name",
        "Date",
        "Signature",
    ]
    assert [one.text for one in sign_off.all("td")] == ["", "", ""]
    assert Page(drawn("audit")[0]).all("section")[0].all("dl") == [], "of a report that no service made"


@pytest.mark.parametrize("name", ["cleaned", "examples"])
def test_pages_name_the_command_that_checks_a_folder_where_a_service_made_it_alone(name: str) -> None:
    origin = {
        "filename": "clip.pt",
        "source": None,
        "job_id": "job_01k",
        "job_name": None,
        "project": "p",
        "requested_by": "m",
    }
    for page in drawn_from(document(name) | {"origin": origin}):
        assert "cleanclip verify FOLDER" in page
    for page in drawn_from(document(name) | {"origin": None}):
        assert "cleanclip verify" not in page
        assert "python -m sanitizer" in page
        assert "nobody vouches for" in page


def test_what_dangerous_means_here_stands_beside_a_scanner_that_says_it() -> None:
    changed = document("audit")
    assert WHAT_DANGEROUS_MEANS not in Page(drawn_from(changed)[0]).all("main")[0].text
    said = {
        "name": "picklescan",
        "version": "1.0.5",
        "verdict": "dangerous",
        "num_issues": 1,
        "issues": ["dangerous: posix.system"],
    }
    changed["checkpoint"]["scanners"] = [said]
    assert WHAT_DANGEROUS_MEANS in Page(drawn_from(changed)[0]).all("main")[0].text


@every_report
def test_remarks_on_figures_that_no_limit_judges_stand_below_them(name: str) -> None:
    report = load_json(json.dumps(document(name)))
    expected = [*remarks(report.before, report.after, report.verdict), *report.warnings]
    page, markdown = drawn(name)
    first = Page(page).all("section")[0]
    shown = [one for one in first.all("ul") if one.attributes.get("class") == "remarks"]
    assert [one.text for ul in shown for one in ul.all("li")] == expected
    assert [one for one in expected if markdown_text(one) not in markdown] == []


@every_report
def test_nothing_is_said_to_be_removed_or_clean(name: str) -> None:
    words = " ".join(drawn(name)).lower()
    for claim in ("removed", "is clean.", "backdoor-free", "is safe"):
        assert claim not in words
    if "inconclusive" in name:
        assert "cleaned, " not in words
        assert "no longer work" not in words


def test_an_attack_that_was_inconclusive_is_named_among_what_was_not_tested() -> None:
    first = Page(drawn("cleaned")[0]).all("section")[0]
    assert "blended, sig: inconclusive. It did not work before cleaning, so nothing is shown" in first.text


def test_a_triggers_picture_stands_in_no_page_but_its_size_and_digest_do() -> None:
    changed, data = copy.deepcopy(document("cleaned")), b"a picture" * 3000
    text = base64.b64encode(data).decode()
    changed["audit"]["attacks"][1] = {"attack": "custom_patch", "image": text}
    for audit in (changed["before"], changed["after"]):
        audit["attacks"][1]["options"] = changed["audit"]["attacks"][1]
    page, markdown = drawn_from(changed)
    assert text[:100] not in page + markdown
    assert page.count(hashlib.sha256(data).hexdigest()) == 2
    assert page.count("image_bytes") == page.count("27000") == 2
    assert "audit.json is the object" in page
    assert "an image that was sent with the order, as a patch" in page


def test_limits_of_their_own_their_name_and_the_options_given_stand_in_the_page() -> None:
    changed = copy.deepcopy(document("cleaned"))
    limits = {"asr_at_most": 0.05, "asr_at_most_for": {"paper": 0.2, "badnet": 0.06}, "ca_lost_at_most": 0.03}
    kept = PolicySource.of(parse(Policy, limits), name="release")
    recipe = parse_recipe(changed["recipe"])
    page, markdown = drawn_from(
        changed
        | {
            "policy": limits,
            "policy_source": asdict(kept),
            "recipe_source": asdict(RecipeSource.of(recipe, ("epochs", "learning_rate"), None)),
        }
    )
    assert "to 5 % or less (paper 20 %, badnet 6 %) without costing" in page
    assert "(paper 20 %, badnet 6 %)" in markdown
    assert (
        "The limits are those that the policy “release” had when the job was ordered "
        f"(SHA-256 {kept.sha256})."
    ) in page
    assert "The order gave epochs, learning_rate. All others are the method&#39;s defaults" in page
    assert "limit of each" in page
    assert "limit of each" not in drawn_from(changed)[0]


def repeating(page: str) -> Element:
    (found,) = (one for one in Page(page).all("section") if one.attributes["aria-labelledby"] == "repeat")
    return found


def test_the_appendix_gives_the_policy_where_limits_were_given() -> None:
    changed = document("cleaned")
    source = PolicySource.of(parse(Policy, changed["policy"]))
    reported = repeating(drawn_from(changed | {"policy_source": asdict(source)})[0])
    assert [one.text for one in reported.all("h3")] == [
        "audit.json",
        "policy.json",
        "recipe.json",
        "declared.json",
    ]
    assert "--policy policy.json" in reported.text
    for name in ("cleaned", "audit"):
        assert document(name)["policy_source"]["given"] == "default"
        assert "policy" not in repeating(drawn(name)[0]).all("pre")[0].text


def test_the_appendix_takes_the_triggers_of_a_scan_from_its_report() -> None:
    changed = document("cleaned")
    section = section_of_scan(changed, num_known=2)
    reported = repeating(drawn_from(changed | {"scan": section})[0])
    assert "--attacks-from-scan SCAN_REPORT" in reported.all("pre")[0].text
    assert len(json.loads(reported.all("pre")[1].text)["attacks"]) == 2
    assert "--attacks-from-scan" not in repeating(drawn("cleaned")[0]).text


def section_of_scan(changed: dict[str, Any], num_known: int) -> dict[str, Any]:
    return {
        "report_sha256": "0" * 64,
        "weights_sha256": changed["before"]["weights_sha256"],
        "p_value": 0.01,
        "significance": 0.05,
        "families": ["patch"],
        "num_known": num_known,
        "only_suites": False,
        "found": [],
    }


def test_the_short_form_of_a_rebound_has_accuracy_beside_the_asr_relearning_and_the_way_back() -> None:
    written = document("rebound")
    markdown = drawn("rebound")[1]
    assert "| | highest ASR | without trigger there | CA there | after updates | verdict |" in markdown
    lowest = min(point["ca"]["value"] for one in written["rebound"]["curves"] for point in one["points"])
    assert f"The lowest CA of all measurements is {100 * lowest:.2f} % (95 % interval" in markdown
    assert "| badnet | not within 100 (ASR" in markdown.partition("Relearning: updates until ASR is 50 %")[2]
    assert "Back towards the input model" not in markdown
    between = [{**point, "share": share} for point, share in zip(points(written), (0.0, 1.0), strict=False)]
    for point in between:
        del point["step"]
    written["rebound"]["interpolation"] = {"points": between}
    reported = markdown_from(written).partition("Back towards the input model")[2]
    assert f"| badnet | not reached | {100 * between[1]['attacks'][0]['asr']['value']:.2f} %" in reported


def points(written: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = written["rebound"]["curves"][0]["points"]
    return found


def test_structured_triggers_that_were_tested_are_not_among_those_that_were_not() -> None:
    changed = copy.deepcopy(document("cleaned"))
    assert "Blended-Triangles" in Page(drawn_from(changed)[0]).all("section")[0].text
    changed["audit"]["attacks"][1] = {"attack": "blended", "pattern": "triangles"}
    untested = Page(drawn_from(changed)[0]).all("section")[0].text
    assert "Blended-Triangles" not in untested
    assert "Blended-Stripes" in untested


def untested_of(written: dict[str, Any]) -> str:
    return markdown_from(written).partition("**What was not tested**")[2].partition("**Digests**")[0]


def test_what_is_known_to_stay_is_that_of_the_method_that_made_the_model() -> None:
    fails = {
        "cleaned": "CleanCLIP is known to fail",
        "par": "PAR was published for structured triggers only",
        "audit": None,
    }
    for name, words in fails.items():
        reported = untested_of(document(name))
        assert [one for one in fails.values() if one and one in reported] == ([words] if words else [])
    by_uar = not_tested(replace(load_json(json.dumps(document("cleaned"))), recipe=UARRecipe()))
    assert "it left a semantic trigger almost whole, and a part of WaNet" in " ".join(by_uar)


def test_with_many_triggers_the_first_page_shows_the_worst_and_says_how_many_follow() -> None:
    written = document("audit")
    written["audit"]["attacks"] += written["audit"]["attacks"][2:] * 6
    written["before"]["attacks"] += written["before"]["attacks"][2:] * 6
    written["verdict"]["attacks"] += [written["verdict"]["attacks"][2]] * 6
    first = Page(drawn_from(written)[0]).all("section")[0]
    rows = [one.all("th")[0].all("bdi")[0].text for one in first.all("tbody")[0].all("tr")]
    assert rows[:2] == ["CA", "ASR badnet"]
    assert len(rows) == 7
    assert "the worst of 9 triggers; the other 6 follow below" in first.text


def with_classes(written: dict[str, Any], num_classes: int) -> dict[str, Any]:
    """`ca_per_class` for a report of 3,000 images: all that CA counts as wrong is in the last classes."""
    n = 3000 // num_classes
    for side in ("before", "after"):
        audit = written[side]
        if audit is None:
            continue
        assert audit["ca"]["n"] == n * num_classes
        wrong = audit["ca"]["n"] - audit["ca"]["successes"]
        reported = []
        for number in reversed(range(num_classes)):
            here = min(wrong, n)
            wrong -= here
            reported.append({"class_name": f"class {number}", "accuracy": to_json(wilson(n - here, n))})
        audit["ca_per_class"] = reported[::-1]
    return written


@pytest.mark.parametrize(("name", "num_classes"), [("cleaned", 1000), ("audit", 8), ("cleaned", 1)])
def test_the_ten_classes_of_lowest_accuracy_stand_in_the_page(name: str, num_classes: int) -> None:
    written = with_classes(document(name), num_classes)
    source, _ = drawn_from(written)
    assert len(source.encode()) < MAX_BYTES
    page = Page(source)
    (table,) = [
        one for one in page.all("table") if one.children[0].text == "Classes with the lowest clean accuracy"
    ]
    judged = (written["after"] or written["before"])["ca_per_class"]
    expected = sorted(range(num_classes), key=lambda place: (judged[place]["accuracy"]["value"], place))[:10]
    rows = table.all("tbody")[0].all("tr")
    assert [row.all("bdi")[0].text for row in rows] == [f"class {place}" for place in expected]
    shown = {one.attributes["data-figure"]: one.attributes["value"] for one in table.all("data")}
    for side in ("before", "after") if written["after"] else ("before",):
        for place in expected:
            accuracy = written[side]["ca_per_class"][place]["accuracy"]
            for part in ("value", "low", "high", "n", "successes"):
                assert float(shown[f"{side}.ca_per_class.{place}.accuracy.{part}"]) == accuracy[part]
    assert f"{len(expected)} of {num_classes} classes" in source
    assert "Classes with the lowest" not in drawn(name)[0], "nor where they are too many to be listed"


def test_the_page_names_the_libraries_and_the_commit_where_it_is_known() -> None:
    changed = document("audit")
    versions = {"numpy": "2.9.1", "pillow": "99.1", "torchvision": "0.99"}
    assert "Its commit" not in drawn("audit")[0]
    changed["environment"] |= {**versions, "code_commit": "c0de" * 10}
    page = Page(drawn_from(changed)[0])
    rows = {row.children[0].text: row.children[1].text for row in page.all("tr")}
    assert rows["NumPy, Pillow, torchvision"] == "2.9.1, 99.1, 0.99"
    assert rows["Its commit"] == "c0de" * 10


def test_the_markdown_holds_verdict_figures_digests_and_what_was_not_tested() -> None:
    _, markdown = drawn("cleaned")
    assert len(markdown) < 6_500
    assert (
        "| ASR badnet | 99.49 % (95 % interval 99.17 to 99.69 %, n = 2965) | 0.94 % (95 % interval"
        in markdown
    )
    written = document("cleaned")
    for digest in (written["checkpoint"]["upload_sha256"], written["after"]["weights_sha256"]):
        assert f"`{digest}`" in markdown
    assert "The class that lost" not in drawn("audit")[1]
    worst = document("par")["classes_lost"][0]
    reported = f"`{worst['class_name']}`, {100 * worst['lost']['value']:.2f} points (95 % interval"
    assert f"The class that lost the most: {reported}" in drawn("par")[1]


def test_another_process_draws_the_same_bytes_without_torch(tmp_path: Path) -> None:
    """And without a home, in the smallest environment that a Python starts in."""
    code = (
        "import sys; from sanitizer.__main__ import main; "
        f"report = {str(FOLDER / 'cleaned.json')!r}; "
        "code = main(['report', report, '--html', 'a.html', '--markdown', 'a.md']); "
        "sys.exit(code or 9 * ('torch' in sys.modules))"
    )
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "PYTHONHASHSEED": "7",
    }
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=False)
    assert done.returncode == 0
    assert ((tmp_path / "a.html").read_text(), (tmp_path / "a.md").read_text()) == drawn("cleaned")


def test_the_example_in_the_documentation_is_what_the_command_draws() -> None:
    kept = Page((ROOT / "docs/example-report.html").read_text())
    now = Page(drawn("examples")[0])
    for tag in ("section", "title", "style"):
        assert [one.text for one in kept.all(tag)] == [one.text for one in now.all(tag)]
    assert [one.attributes for one in kept.all("img")] == [one.attributes for one in now.all("img")]
