"""What one would type to order the same job again: the command's line, and the API's request by curl.

Exact: the order that comes of it holds the same options (tests/browser/test_command_line.py orders both and
compares). What the command has no option for goes into files that are written first.
"""

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, fields, replace
from typing import Any

from app.db.models.job import Job
from app.domain.states import JobKind
from cleanclip.kinds.catalogue import KINDS
from cleanclip.vocabulary.attack_options import SUITES, USUAL, AttackOptions
from cleanclip.vocabulary.found_attacks import BOTH_SUITES, TARGET_OF_SCAN
from cleanclip.vocabulary.policy import Policy
from cleanclip.vocabulary.recipe import AuditOptions, Recipe, parse, parse_recipe, to_json

_NAMED = {
    "epochs": "--epochs",
    "learning_rate": "--lr",
    "lambda1": "--lambda1",
    "lambda2": "--lambda2",
    "threshold": "--threshold",
    "batch_size": "--batch-size",
    "warmup_steps": "--warmup-steps",
}
_END = "END"


def command_line(job: Job) -> str:
    """Lines for a POSIX shell."""
    files: dict[str, Any] = {}
    if job.kind in _SEARCHES:
        return _search_line(job, files)
    words = ["cleanclip", KINDS[job.kind].command, *_pair("--checkpoint", job.checkpoint_id)]
    recipe = parse_recipe(job.spec["recipe"]) if job.spec.get("recipe") else None
    if recipe is not None:
        words += _pair("--pairs" if recipe.training_data == "pairs" else "--training", job.dataset_id)
    words += _pair("--labelled", job.labelled_dataset_id)
    words += _pair("--retrieval", job.retrieval_dataset_id)
    audit = parse(AuditOptions, {"target": TARGET_OF_SCAN} | ordered_audit(job.spec))
    words += _audit(audit, files, usual=USUAL if job.spec.get("scan") is None else BOTH_SUITES)
    words += _first_scan(job, files)
    if recipe is not None:
        words += _recipe(recipe)
    for one in (job.spec.get("exclude") or {}).values():
        words += _pair("--exclude", one["job_id"])
    words += _policy(job, files)
    words += _pair("--seed", str(job.seed))
    if job.spec.get("output_layout") not in (None, "open_clip"):
        words += _pair("--output-layout", job.spec["output_layout"])
    for name, value in job.job_metadata.items():
        words += _pair("--metadata", f"{name}={value}")
    return "\n".join([*_written(files), _folded(words)])


def curl_line(job: Job, base_url: str) -> str:
    """The same as one request; the key comes from the environment."""
    body = json.dumps(_body(job), ensure_ascii=False)
    return " \\\n  ".join(
        (
            f"curl --fail-with-body {shlex.quote(f'{base_url}/v1/jobs')}",
            '--header "Authorization: Bearer $CLEANCLIP_API_KEY"',
            "--header 'Content-Type: application/json'",
            f"--data {shlex.quote(body)}",
        )
    )


def has_images(job: Job) -> bool:
    """Whether the order carries images, which make a line very long."""
    return "audit" in job.spec and any("image" in one for one in ordered_audit(job.spec)["attacks"])


def ordered_audit(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The audit as it was ordered, without what a scan of the job's own has found."""
    audit = dict((spec.get("scanned") or spec)["audit"])
    if audit["target"] == TARGET_OF_SCAN:
        del audit["target"]
    return audit


def _body(job: Job) -> dict[str, Any]:
    spec = job.spec
    if job.kind in _SEARCHES:
        part = KINDS[job.kind].option_part
        return _with_ids(job, {part: _search_options(job, job.kind) | _null(job)}) | _about(job)
    body = _with_ids(job, {"audit": ordered_audit(spec)})
    if spec.get("recipe"):
        body |= {"recipe": spec["recipe"], "output_layout": spec.get("output_layout") or "open_clip"}
    if spec.get("scan") is not None:
        body["scan"] = _first_scan_options(job)
    if lists := spec.get("exclude"):
        body["exclude"] = [one["job_id"] for one in lists.values()]
    source = spec["policy_source"]
    if source["given"] == "kept":
        body["policy_name"] = source["name"]
    elif source["given"] == "order":
        body["policy"] = spec["policy"]
    return body | _about(job)


def _with_ids(job: Job, body: dict[str, Any]) -> dict[str, Any]:
    """With its kind, and with what it reads, where the order named it."""
    for one in KINDS[job.kind].inputs:
        *part, name = one.place
        if (its_id := getattr(job, one.column)) is not None or not part:
            (body[part[0]] if part else body)[name] = its_id
    return {"kind": job.kind.value} | body


def _about(job: Job) -> dict[str, Any]:
    return {"seed": job.seed, "max_attempts": job.max_attempts, "metadata": job.job_metadata}


def _first_scan_options(job: Job) -> dict[str, Any]:
    return _search_options(job, JobKind.SCAN) | _null(job)


def _first_scan(job: Job, files: dict[str, Any]) -> list[str]:
    """Of a cleaning that scans first."""
    if job.spec.get("scan") is None:
        return []
    files["scan.json"] = _first_scan_options(job)
    return ["--scan-options", "scan.json"]


_SEARCHES = {name: kind for name, kind in KINDS.items() if not kind.has_limits}
"""Kinds whose order is options of their own: figures are held to no limits of a policy."""


def _null(job: Job) -> dict[str, str]:
    return {"null": _null_name(job)} if "null" in job.spec else {}


def _search_line(job: Job, files: dict[str, Any]) -> str:
    part = KINDS[job.kind].option_part
    words = ["cleanclip", KINDS[job.kind].command]
    for one in KINDS[job.kind].inputs:
        is_main = one.folder is None and one.fact is None
        option = job.spec.get("data_kind", "labelled") if is_main else one.name
        words += _pair(f"--{option}", getattr(job, one.column))
    if options := _search_options(job, job.kind):
        files[f"{part}.json"] = options
        words += ["--options", f"{part}.json"]
    words += [*_pair("--null", _null(job).get("null")), *_pair("--seed", str(job.seed))]
    for name, value in job.job_metadata.items():
        words += _pair("--metadata", f"{name}={value}")
    return "\n".join([*_written(files), _folded(words)])


def _search_options(job: Job, kind: JobKind) -> dict[str, Any]:
    """Those that are not the defaults. An anchor changes the detectors that the command has by default."""
    options_of = KINDS[kind].options
    defaults = to_json(options_of())
    if job.anchor_checkpoint_id:
        defaults.pop("detectors", None)
    options = job.spec[KINDS[kind].option_part].items()
    return {name: value for name, value in options if name not in defaults or value != defaults[name]}


def _null_name(job: Job) -> str:
    null = job.spec.get("null")
    return "none" if null is None else str(null["name"])


def _pair(option: str, value: str | None) -> list[str]:
    """`--option value`; in one word where the value itself looks like an option."""
    if value is None:
        return []
    return [f"{option}={value}"] if value.startswith("-") else [option, value]


def _audit(audit: AuditOptions, files: dict[str, Any], *, usual: Sequence[AttackOptions]) -> list[str]:
    """Options where there are some for all of it, else a file. `usual`: the attacks where none are given."""
    plain = AuditOptions(target=audit.target, attacks=audit.attacks, examples=audit.examples)
    is_probed = audit.linear_probe is not None
    is_rebound = audit.rebound is not None
    switched: dict[str, Any] = {"linear_probe": {}} if is_probed else {}
    switched |= {"rebound": {}} if is_rebound else {}
    plain = parse(AuditOptions, to_json(plain) | switched)
    if audit != plain:
        options = to_json(audit)
        if audit.target == TARGET_OF_SCAN:
            del options["target"]
        files["audit.json"] = options
        return ["--audit", "audit.json"]
    words = [] if audit.target == TARGET_OF_SCAN else _pair("--target", audit.target)
    suite = next((name for name, attacks in SUITES.items() if attacks == audit.attacks), None)
    if suite is not None:
        words += ["--suite", suite]
    elif audit.attacks != usual:
        for attack in audit.attacks:
            words += _pair("--attack", _attack(attack))
    if audit.examples != AuditOptions(target=audit.target).examples:
        words += ["--examples", str(audit.examples)]
    return words + (["--linear-probe"] if is_probed else []) + (["--rebound"] if is_rebound else [])


def _attack(attack: Any) -> str:
    """Its name, where all else is the default; else JSON, which the command takes too."""
    kept = {
        field.name
        for field in fields(attack)
        if field.name == "attack" or field.default is MISSING or getattr(attack, field.name) != field.default
    }
    reported = {name: value for name, value in to_json(attack).items() if name in kept}
    return str(reported["attack"]) if len(reported) == 1 else json.dumps(reported, ensure_ascii=False)


def _recipe(recipe: Recipe) -> Iterator[str]:
    yield from ("--recipe", "defaults")  # this order, not what is recommended when it is repeated
    yield from ("--method", recipe.method)
    defaults = to_json(type(recipe)())
    for name, value in to_json(recipe).items():
        if value == defaults[name]:
            continue
        if name in _NAMED:
            yield from (_NAMED[name], str(value))
        else:
            yield from ("--set", f"{name}={value if isinstance(value, str) else json.dumps(value)}")


def _policy(job: Job, files: dict[str, Any]) -> list[str]:
    source: Mapping[str, Any] = job.spec["policy_source"]
    policy = parse(Policy, job.spec["policy"])
    if source["given"] == "kept":
        return ["--policy", str(source["name"])]
    if source["given"] == "default":
        return []
    others = replace(policy, asr_at_most=Policy.asr_at_most, ca_lost_at_most=Policy.ca_lost_at_most)
    if others != Policy():
        files["policy.json"] = to_json(policy)
        return ["--policy", "policy.json"]
    return ["--asr-at-most", f"{policy.asr_at_most}", "--ca-lost-at-most", f"{policy.ca_lost_at_most}"]


def _written(files: Mapping[str, Any]) -> Iterator[str]:
    for name, content in files.items():
        yield f"cat > {name} <<'{_END}'"
        yield json.dumps(content, indent=2, ensure_ascii=False)
        yield _END


def _folded(words: list[str]) -> str:
    """Quoted, an option with its value on each line."""
    lines, line = [], " ".join(words[:2])
    for word in words[2:]:
        if word.startswith("--"):
            lines.append(line)
            line = f"  {shlex.quote(word)}"
        else:
            line += f" {shlex.quote(word)}"
    return " \\\n".join([*lines, line])
