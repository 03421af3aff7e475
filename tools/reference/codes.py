"""Error codes: the API's table, and what the library and the workers refuse, read from their source.

A sentence that is put together while the program runs shows "…" for what it is put together of.
"""

import ast
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from app.edge.error_codes import ERROR_CODES
from cleanclip.vocabulary.skip_reasons import MEANINGS
from sanitizer.checkpoints import naming
from sanitizer.data import skipping
from tools.reference.markdown import Kept, Maker, code, table

ROOT = Path(__file__).resolve().parents[2]

KINDS: Mapping[str, frozenset[str]] = {
    "checkpoints": frozenset({"CheckpointRejected", "refusal"}),
    "datasets": frozenset({"DatasetRejected"}),
    "options": frozenset({"OptionsRejected", "null_refused"}),
    "training": frozenset({"TrainingDiverged", "Interrupted"}),
    "jobs": frozenset({"AttemptFailed", "_failed", "Excess"}),
    "reports": frozenset({"ReportRejected", "_rejected"}),
}
"""Section → what is called to refuse."""
PACKAGES = ("cleanclip/kinds", "cleanclip/vocabulary", "sanitizer", "worker")
_AGAIN = (
    "The job is retried automatically, from the beginning. If it fails for good, the end of its log says "
    "where it stopped."
)
_OPERATOR = "The job is retried automatically. If it keeps failing, ask the operator."
_SMALLER = "The job is retried automatically. If it fails for good, use smaller batches."
_BY_HAND: Mapping[str, tuple[str, str]] = {
    **dict.fromkeys(
        ("null_unreadable", "null_damaged", "null_version"),
        ("", "Give the file as `python -m sanitizer null build` wrote it, or build it again."),
    ),
    "out_of_memory": ("The job used more memory than it may.", _SMALLER),
    "bad_class_names": (
        "The list of class names cannot be used.",
        "Give one class name a line, line 1 for label 0.",
    ),
    "bad_template": (
        "A template of the labelled set or of the audit cannot be used.",
        "Write {c} once, where the class goes.",
    ),
    "config_unsupported": (
        "config.json asks for something that the supported CLIP models do not have.",
        "Upload a checkpoint of open_clip's CLIP class, OpenAI's CLIP, or Hugging Face's CLIPModel.",
    ),
    "child_crashed": ("The job's process ended by a signal or with an exit status.", _AGAIN),
    "child_killed": ("The job's process was killed. The most frequent cause is memory.", _AGAIN),
    "child_flood": ("The job's process wrote or sent more than any job does.", _OPERATOR),
    "child_nonsense": ("The job's process sent messages outside its protocol.", _OPERATOR),
    "child_stalled": ("The job's process has shown no sign of life for too long.", _SMALLER),
    "disk_allowance_used_up": ("The job wrote more files than it may.", _SMALLER),
    "too_many_open_files": ("The job's process opened more files than it may.", _SMALLER),
    "too_many_processes": ("The job's process started more processes than it may.", _SMALLER),
    "legacy_pickle": ("The file is a pickle that torch.save of today does not write.", ""),
    "no_class_names": ("The labelled set has no list of class names.", ""),
    "no_spec": ("The job folder's spec.json cannot be read.", ""),
    "position_ids_unusual": ("The position ids of a tower do not count 0, 1, 2, and so on.", ""),
    "not_a_state_dict": ("It holds no table of tensors by name.", ""),
    "pickle_malformed": ("The pickle breaks the pickle grammar.", ""),
    "policy_cannot_pass": (
        "The limit cannot be met with so few images.",
        "Give more images, or a higher limit; the message says how many are needed.",
    ),
    "rebound_without_clean_data": (
        "The rebound is measured by training a cleaned model further on the clean pairs or labelled images "
        "of its order. An audit has none, and with trained_on: images_of_pairs or labelled_images the "
        "captions or labels may be wrong.",
        "Leave audit.rebound out, or order a cleaning that trains on clean pairs or labels.",
    ),
    "report_inconsistent": ("", "Give an unmodified report.json."),
    "report_malformed": (
        "The report cannot be read.",
        "Give an unmodified report.json, or use a newer version of this program.",
    ),
    "report_too_large": ("", "Give an unmodified report.json."),
    "report_unreadable": ("", "Give an unmodified report.json."),
    "safetensors_header_invalid": ("The header of the safetensors file cannot be read.", ""),
    "unknown_format": ("The file format is not supported.", ""),
    "unknown_target": (
        "",
        "Write a class exactly as the labelled set has it; the message names the nearest.",
    ),
    "zip_layout_invalid": ("The archive is not laid out as torch writes it.", ""),
    "zip_truncated": ("The archive is cut off.", ""),
}
"""(What is wrong, what to do) where the source puts a sentence together; "": as the source has it."""
_FEWEST_LETTERS = 14
"""Of a sentence; one with fewer is put together while the program runs."""
REFUSALS = ROOT / "worker" / "refusals.json"
_OF_CHILDREN = ("checkpoints", "datasets", "options", "training", "reports")
"""Sections whose codes a job's process may refuse with."""
_OF_A_TABLE: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "checkpoints": {one: (what, naming.PLAIN_CLIP) for _, one, what in naming.FOREIGN},
    "datasets": {
        one: (f"Too many samples cannot be used. The most frequent reason: {MEANINGS[reason]}", remedy)
        for reason, (one, remedy) in skipping.CODE_OF_REASON.items()
    }
    | {skipping.ANY_REASON[0]: ("Too many samples cannot be used.", skipping.ANY_REASON[1])},
    "jobs": {name: _BY_HAND[name] for name in ("child_crashed", "child_killed")},
}
"""Codes that are kept beside what they are for, and raised from there."""
_DOMAIN = frozenset(
    {
        *("InvalidInput", "Unauthorized", "Forbidden", "NotFound", "Conflict", "TooLarge"),
        *("QuotaExceeded", "Unavailable", "_refuse", "_problem", "problem_response", "Problem"),
    }
)


@dataclass(frozen=True, kw_only=True)
class Raised:
    """One place that refuses."""

    code: str
    message: str
    remedy: str
    path: str


@cache
def _constants() -> dict[str, str]:
    """Texts that modules keep under a name, such as SAVE_AGAIN."""
    found = {}
    for _, tree in _modules("app", *PACKAGES):
        for node in tree.body:
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                text = _text(node.value, {})
                if text:
                    found[node.targets[0].id] = text
    return found


@cache
def _modules(*packages: str) -> list[tuple[str, ast.Module]]:
    paths = [path for package in packages for path in sorted((ROOT / package).rglob("*.py"))]
    return [(str(path.relative_to(ROOT)), ast.parse(path.read_text(encoding="utf-8"))) for path in paths]


def _text(node: ast.expr | None, constants: Mapping[str, str]) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part, constants) or "…" for part in node.values)
    if isinstance(node, ast.Name):
        return constants.get(node.id, "")
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _text(node.left, constants) + (_text(node.right, constants) or "…")
    return ""


def _arguments(call: ast.Call) -> tuple[ast.expr | None, ast.expr | None, ast.expr | None]:
    """Code, message, remedy, by place or by name."""
    named = {keyword.arg: keyword.value for keyword in call.keywords}
    placed = list(call.args[:3]) + [None] * 3
    one, two, three = (
        placed[number] or named.get(name) for number, name in enumerate(("code", "message", "remedy"))
    )
    return one, two, three


@cache
def _calls(*packages: str) -> list[tuple[str, str, ast.Call]]:
    """(name that is called, path, call) of every call: one walk, which takes seconds."""
    return [
        (node.func.id if isinstance(node.func, ast.Name) else node.func.attr, path, node)
        for path, tree in _modules(*packages)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute)
    ]


def raised(names: frozenset[str], *packages: str) -> Iterator[Raised]:
    """Every call of one of `names`; where the code is not a literal, with an empty one."""
    for name, path, call in _calls(*packages):
        if name in names:
            which, message, remedy = _arguments(call)
            for one in [which.body, which.orelse] if isinstance(which, ast.IfExp) else [which]:
                yield Raised(
                    code=_text(one, {}),
                    message=_text(message, _constants()),
                    remedy=_text(remedy, _constants()),
                    path=path,
                )


@cache
def of_the_library() -> dict[str, dict[str, tuple[str, str]]]:
    """Section → code → (what is wrong, what to do)."""
    found = {}
    for section, names in KINDS.items():
        known = dict(_OF_A_TABLE.get(section, {}))
        for one in raised(names, *PACKAGES):
            if one.code:
                by_hand = _BY_HAND.get(one.code, ("", ""))
                before = known.get(one.code, ("", ""))
                known[one.code] = (
                    before[0] or (one.message if _is_sentence(one.message) else by_hand[0]),
                    before[1] or one.remedy or by_hand[1],
                )
        found[section] = dict(sorted(known.items()))
    return found


def _is_sentence(text: str) -> bool:
    """Whether it says something before the program has put in what it found."""
    return sum(map(str.isalpha, text)) >= _FEWEST_LETTERS


def refusals() -> str:
    """What a worker may say for each code that a job's process refuses with, the first where no other fits;
    and the places that a refusal may name."""
    tables = of_the_library()
    named = frozenset().union(*(KINDS[section] for section in _OF_CHILDREN))
    places = {
        _text(keyword.value, {})
        for name, _, call in _calls(*PACKAGES)
        for keyword in call.keywords
        if name in named and keyword.arg == "where"
    }
    codes = {one: [text] for section in _OF_CHILDREN for one, text in tables[section].items()}
    for one in raised(named, *PACKAGES):
        if one.code and _is_sentence(one.message):
            text = (one.message, one.remedy or codes[one.code][0][1])
            codes[one.code] += [] if text in codes[one.code] else [text]
    lines = [f'"places": {json.dumps([one for one in sorted(places) if one and "…" not in one])}']
    lines += [f"{json.dumps(one)}: {json.dumps(codes[one], ensure_ascii=False)}" for one in sorted(codes)]
    return "{" + ",\n".join(lines) + "}\n"


def remedies_of_the_api() -> dict[str, str]:
    """Code → the first advice that goes with it."""
    found: dict[str, str] = {}
    for one in raised(_DOMAIN, "app"):
        if one.code and not found.get(one.code):
            found[one.code] = one.remedy
    return found


def of_the_api(kept: Kept) -> str:
    """`kept` is what to do, where no sentence of the source says it."""
    advice = remedies_of_the_api()
    rows = [
        (code(name), known.status, known.title, advice.get(name) or kept(name))
        for name, known in sorted(ERROR_CODES.items())
    ]
    return table(("code", "status", "title", "what to do"), rows)


def _section(name: str) -> Maker:
    def make(_: Kept) -> str:
        rows = [(code(one), *reported) for one, reported in of_the_library()[name].items()]
        return table(("code", "what is wrong", "what to do"), rows)

    return make


def _samples(_: Kept) -> str:
    return table(("reason", "meaning"), [(code(name), meaning) for name, meaning in MEANINGS.items()])


MAKERS: Mapping[str, Maker] = {
    "codes of the API": of_the_api,
    **{f"codes of {name}": _section(name) for name in KINDS},
    "reasons of samples": _samples,
}
